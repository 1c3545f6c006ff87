//! Recipes compiled into the program; they are files of `recipes/` and read like any other.

use super::{Origin, Recipe, RecipeError};

/// A recipe that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinRecipe {
    /// Name on the command line.
    pub name: &'static str,
    /// Names it had before, under which it is still found.
    pub aliases: &'static [&'static str],
    /// Its text.
    pub text: &'static str,
}

/// The file `recipes/NAME.toml`.
macro_rules! recipe {
    ($name:literal $(, was $alias:literal)*) => {
        BuiltinRecipe {
            name: $name,
            aliases: &[$($alias),*],
            text: include_str!(concat!("../../recipes/", $name, ".toml")),
        }
    };
}

/// Every built-in recipe, in the order `quench list recipes` prints them.
pub static BUILTIN: &[BuiltinRecipe] = &[
    recipe!("q8", was "w8"),
    recipe!("q6"),
    recipe!("q5"),
    recipe!("q4", was "w4"),
    recipe!("q3"),
    recipe!("q2"),
    recipe!("best-4"),
    recipe!("best-3"),
    recipe!("best-2"),
    recipe!("budget-3.5"),
    recipe!("budget-2.5"),
    recipe!("w4-awq"),
    recipe!("w3"),
    recipe!("w8a8"),
    recipe!("squeeze-4"),
    recipe!("squeeze-3"),
    recipe!("squeeze-3-sparse"),
    recipe!("squeeze-2-sparse"),
    recipe!("int8-integer-only"),
    recipe!("w4a8-integer-only"),
];

impl BuiltinRecipe {
    /// The first line of the header, and the names it had before.
    pub fn summary(&self) -> String {
        let first = self.text.lines().next().unwrap_or_default();
        let mut summary = first.trim_start_matches('#').trim().to_owned();
        for alias in self.aliases {
            summary = format!("{} (also `{alias}`).", summary.trim_end_matches('.'));
        }
        summary
    }

    /// Parses it.
    ///
    /// # Errors
    /// None, unless the file in `recipes/` is wrong; a test reads every one.
    pub fn recipe(&self) -> Result<Recipe, RecipeError> {
        Recipe::parse(self.text, Origin::Builtin, None)
    }

    /// Every name it is found under.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }
}

/// The built-in recipe called `name`, now or before.
pub fn find(name: &str) -> Option<&'static BuiltinRecipe> {
    BUILTIN
        .iter()
        .find(|recipe| recipe.names().any(|own| own == name))
}

/// Every name a built-in recipe is found under.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().flat_map(BuiltinRecipe::names)
}
