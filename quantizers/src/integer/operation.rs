//! What an operation of a program is.

use super::arithmetic::{Arithmetic, ArithmeticError, Checked, Wrapping};
use super::bounds::Bounds;
use super::error::OperationError;
use super::frame::Frame;
use super::kernel::{Mode, RowKernel};
use super::kernels;
use super::weights::Weights;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Deref;

/// One step of a program.
pub trait Operation: Debug + Send + Sync {
    /// Registry name.
    fn kind(&self) -> &'static str;
    /// Its constants, as JSON of integers.
    fn constants(&self) -> Value;
    /// Layers whose weights it reads.
    fn layers(&self) -> Vec<&str>;
    /// Buffers it reads.
    fn inputs(&self) -> Vec<usize>;
    /// Buffers it writes.
    fn outputs(&self) -> Vec<usize>;
    /// Checks shapes against buffers and weights and propagates intervals.
    ///
    /// # Errors
    /// Constants that do not fit, or a value that could overflow.
    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError>;
    /// The operation made ready to run over the weights of its program.
    fn prepare(&self, weights: &BTreeMap<String, Weights>) -> Box<dyn Step>;
    /// One line about it for people.
    fn describe(&self) -> String;
}

/// One kind of operation.
pub struct OperationKind {
    /// Name in a program.
    pub kind: &'static str,
    /// One line for `quench inspect`.
    pub summary: &'static str,
    /// Reads the constants.
    pub read: fn(Value) -> Result<Box<dyn Operation>, serde_json::Error>,
}

impl OperationKind {
    /// The kind of the operations that have the constants `T`.
    pub const fn of<T: OperationConstants>() -> Self {
        Self {
            kind: T::KIND,
            summary: T::SUMMARY,
            read: |constants| Ok(Box::new(serde_json::from_value::<T>(constants)?)),
        }
    }
}

/// The constants of one kind of operation, which are its stored form; every such type is an
/// [`Operation`].
pub trait OperationConstants:
    Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Name in a program.
    const KIND: &'static str;
    /// One line for `quench inspect`.
    const SUMMARY: &'static str;
    /// See [`Operation::layers`].
    fn layers(&self) -> Vec<&str> {
        Vec::new()
    }
    /// See [`Operation::inputs`].
    fn inputs(&self) -> Vec<usize>;
    /// See [`Operation::outputs`].
    fn outputs(&self) -> Vec<usize>;
    /// See [`Operation::bounds`].
    ///
    /// # Errors
    /// Constants that do not fit, or a value that could overflow.
    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError>;
    /// See [`Operation::prepare`].
    fn prepare(&self, weights: &BTreeMap<String, Weights>) -> Box<dyn Step>;
    /// See [`Operation::describe`].
    fn describe(&self) -> String {
        String::new()
    }
}

impl<T: OperationConstants> Operation for T {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn constants(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn layers(&self) -> Vec<&str> {
        OperationConstants::layers(self)
    }

    fn inputs(&self) -> Vec<usize> {
        OperationConstants::inputs(self)
    }

    fn outputs(&self) -> Vec<usize> {
        OperationConstants::outputs(self)
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        OperationConstants::bounds(self, bounds)
    }

    fn prepare(&self, weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        OperationConstants::prepare(self, weights)
    }

    fn describe(&self) -> String {
        OperationConstants::describe(self)
    }
}

/// An operation with its weights at hand.
pub trait Step: Send + Sync {
    /// Runs on the buffers of one sequence.
    ///
    /// # Errors
    /// In [`Mode::Checked`], the first fault.
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError>;
}

/// A computation that is written once and run in either arithmetic.
pub(super) trait Generic {
    /// Runs over the buffers of `frame`.
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame);
}

impl<G: Generic + Send + Sync> Step for G {
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError> {
        run_generic(self, mode, frame)
    }
}

/// Runs `body` in the arithmetic of `mode`.
pub(super) fn run_generic<G: Generic>(
    body: &G,
    mode: Mode,
    frame: &mut Frame,
) -> Result<(), ArithmeticError> {
    match mode {
        Mode::Fast => {
            body.compute(&Wrapping, frame);
            Ok(())
        }
        Mode::Checked => {
            let checked = Checked::default();
            body.compute(&checked, frame);
            checked.outcome()
        }
    }
}

/// A kernel inside the constants of an operation.
#[derive(Debug)]
pub struct Kernel(pub Box<dyn RowKernel>);

impl Deref for Kernel {
    type Target = dyn RowKernel;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl Clone for Kernel {
    fn clone(&self) -> Self {
        let value = self.0.constants();
        match kernels::read(self.0.kind(), &value) {
            Ok(kernel) => Self(kernel),
            Err(error) => unreachable!("a kernel reads its own constants: {error}"),
        }
    }
}

impl Serialize for Kernel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({ "kind": self.0.kind(), "constants": self.0.constants() }).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Entry {
            kind: String,
            constants: Value,
        }
        let entry = Entry::deserialize(deserializer)?;
        let kernel = kernels::read(&entry.kind, &entry.constants);
        kernel.map(Self).map_err(serde::de::Error::custom)
    }
}
