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

/// Every built-in recipe, in the order `quench list recipes` prints them.
pub static BUILTIN: &[BuiltinRecipe] = &[
    BuiltinRecipe {
        name: "w8",
        text: include_str!("../../recipes/w8.toml"),
    },
    BuiltinRecipe {
        name: "w4",
        text: include_str!("../../recipes/w4.toml"),
    },
    BuiltinRecipe {
        name: "w4-awq",
        text: include_str!("../../recipes/w4-awq.toml"),
    },
    BuiltinRecipe {
        name: "w3",
        text: include_str!("../../recipes/w3.toml"),
    },
    BuiltinRecipe {
        name: "squeeze-4",
        text: include_str!("../../recipes/squeeze-4.toml"),
    },
    BuiltinRecipe {
        name: "squeeze-3",
        text: include_str!("../../recipes/squeeze-3.toml"),
    },
    BuiltinRecipe {
        name: "squeeze-3-sparse",
        text: include_str!("../../recipes/squeeze-3-sparse.toml"),
    },
    BuiltinRecipe {
        name: "squeeze-2-sparse",
        text: include_str!("../../recipes/squeeze-2-sparse.toml"),
    },
    BuiltinRecipe {
        name: "int8-integer-only",
        text: include_str!("../../recipes/int8-integer-only.toml"),
    },
    BuiltinRecipe {
        name: "w4a8-integer-only",
        text: include_str!("../../recipes/w4a8-integer-only.toml"),
    },
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
