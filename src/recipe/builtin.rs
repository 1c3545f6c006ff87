//! Recipes compiled into the program; they are files of `recipes/` and read like any other.

use super::{Origin, Recipe, RecipeError};

/// A recipe that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinRecipe {
    /// Name on the command line.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The file `recipes/NAME.toml`.
macro_rules! recipe {
    ($name:literal) => {
        BuiltinRecipe {
            name: $name,
            text: include_str!(concat!("../../recipes/", $name, ".toml")),
        }
    };
}

/// Every built-in recipe, in the order `quench list recipes` prints them.
pub static BUILTIN: &[BuiltinRecipe] = &[
    recipe!("w8"),
    recipe!("w4"),
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
    /// The first line of the header.
    pub fn summary(&self) -> &'static str {
        self.text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches('#')
            .trim()
    }

    /// Parses it.
    ///
    /// # Errors
    /// None, unless the file in `recipes/` is wrong; a test reads every one.
    pub fn recipe(&self) -> Result<Recipe, RecipeError> {
        Recipe::parse(self.text, Origin::Builtin, None)
    }
}

/// The built-in recipe called `name`.
pub fn find(name: &str) -> Option<&'static BuiltinRecipe> {
    BUILTIN.iter().find(|recipe| recipe.name == name)
}
