//! What real users ran into, each kind with cases of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod arguments;
mod damage;
mod endings;
mod environment;
#[path = "../../calib/tests/hub/fake_hub.rs"]
#[expect(dead_code, reason = "the tests of the library use all of it")]
mod fake_hub;
#[path = "../../calib/tests/hub/http.rs"]
mod http;
mod integer_rows;
mod messages;
mod mutations;
mod outputs;
mod recipe_in_force;
mod tied_heads;
mod values;
mod workbench;
