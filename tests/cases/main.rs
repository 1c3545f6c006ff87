//! What real users ran into, each kind with cases of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod agreeing_checks;
#[path = "../../quantizers/tests/torch_files/archive.rs"]
#[expect(dead_code, reason = "the tests of the reader use all of it")]
mod archive;
mod arguments;
mod budgets;
mod attentions;
mod caches;
mod class_numbers;
mod damage;
mod datasets;
mod early_checks;
mod encoders;
mod endings;
mod environment;
#[path = "../../calib/tests/hub/fake_hub.rs"]
#[expect(dead_code, reason = "the tests of the library use all of it")]
mod fake_hub;
#[path = "../../calib/tests/hub/http.rs"]
mod http;
mod experts;
mod foreign_forms;
mod incomplete_data;
mod flavours;
mod generation;
mod integer_rows;
mod kept_tokens;
mod messages;
mod mutations;
mod outputs;
#[path = "../../quantizers/tests/torch_files/pickle.rs"]
#[expect(dead_code, reason = "the tests of the reader use all of it")]
mod pickle;
mod plans;
mod recipe_in_force;
mod rotations;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod serve_load;
#[cfg(feature = "serve")]
mod serve_refusals;
#[cfg(feature = "serve")]
mod server;
mod tied_heads;
mod towers;
mod torch_files;
mod unknown_architecture;
mod values;
mod vision;
mod workbench;
