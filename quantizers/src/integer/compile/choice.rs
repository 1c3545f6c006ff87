//! Which approximation a slot gets: every candidate is compiled to the operation that would run, with
//! the grids and factors it would run with, and that operation is run on calibration samples.
//!
//! Kim et al. take the candidate whose output loses least against its own input; that prefers coarse
//! inputs, whose loss is already made, so here all are measured from the same float input: the
//! largest output SQNR wins, if by more than a margin over those named before it, and both figures
//! are reported.

use super::error::CompileError;
use super::measure::Sqnr;
use super::source::{Candidate, Choice, Options, Slot};
use crate::integer::ArithmeticError;
use crate::nonlinear::{self, Approximation, Compiled, Nonlinearity, Request};

/// By how much a family has to beat one named before it. Differences below are of the order of what
/// rounding to 8 bits does by luck, and ours, which is named first, runs on vectors.
const MARGIN_DB: f64 = 1.0;

/// One slot being decided; `T` is a candidate as it would run.
pub(super) struct Selection<'a, T> {
    /// Name in the report.
    pub(super) slot: &'a str,
    /// The function.
    pub(super) function: Nonlinearity,
    /// Compiles a candidate; [`CompileError::Approximation`] where it cannot take the slot.
    pub(super) compile: &'a dyn Fn(&'static dyn Approximation) -> Result<T, CompileError>,
    /// Runs it on samples.
    pub(super) measure: &'a dyn Fn(&T) -> Result<Sqnr, ArithmeticError>,
}

impl<T> Selection<'_, T> {
    /// The candidate that the slot gets, and why.
    ///
    /// # Errors
    /// A family that is named and cannot take the slot, or none that can.
    pub(super) fn choose(&self, options: &Options) -> Result<(T, Slot), CompileError> {
        let choice = options.choice(self.function);
        let (families, named) = match &choice {
            Choice::Named(family) => (std::slice::from_ref(family), true),
            Choice::Auto(families) => (families.as_slice(), false),
        };
        let mut best: Option<(f64, &'static str, T)> = None;
        let mut candidates = Vec::new();
        for family in families {
            let Some(approximation) = nonlinear::find(self.function, family) else {
                if named {
                    return Err(CompileError::Unknown {
                        family: family.clone(),
                        function: self.function.name(),
                    });
                }
                // A family need not replace every function.
                continue;
            };
            let mut candidate = Candidate {
                name: family.clone(),
                input_sqnr_db: None,
                output_sqnr_db: None,
                refused: None,
            };
            match (self.compile)(approximation) {
                Err(CompileError::Approximation { source, .. }) if !named => {
                    candidate.refused = Some(source.to_string());
                }
                Err(error) => return Err(error),
                Ok(compiled) => {
                    let sqnr =
                        (self.measure)(&compiled).map_err(|source| CompileError::Arithmetic {
                            slot: self.slot.to_owned(),
                            source,
                        })?;
                    candidate.input_sqnr_db = Some(sqnr.input_db);
                    candidate.output_sqnr_db = Some(sqnr.output_db);
                    let better = best
                        .as_ref()
                        .is_none_or(|(most, ..)| sqnr.output_db > most + MARGIN_DB);
                    if better {
                        best = Some((sqnr.output_db, approximation.name(), compiled));
                    }
                }
            }
            candidates.push(candidate);
        }
        let Some((_, chosen, compiled)) = best else {
            let reasons = candidates.into_iter().filter_map(|c| c.refused);
            return Err(CompileError::NoCandidate {
                slot: self.slot.to_owned(),
                families: families.join(", "),
                reasons: reasons.collect::<Vec<_>>().join("; "),
            });
        };
        let slot = Slot {
            name: self.slot.to_owned(),
            function: self.function.name(),
            chosen: chosen.to_owned(),
            candidates,
        };
        Ok((compiled, slot))
    }
}

impl Options {
    /// Which approximations a slot of `function` may get.
    fn choice(&self, function: Nonlinearity) -> Choice {
        match function {
            Nonlinearity::Gelu => self.gelu.clone(),
            Nonlinearity::Softmax => self.softmax.clone(),
            Nonlinearity::LayerNorm => self.layernorm.clone(),
            Nonlinearity::GeluTanh
            | Nonlinearity::Relu
            | Nonlinearity::Silu
            | Nonlinearity::Tanh
            | Nonlinearity::RmsNorm => Choice::Named("exact".to_owned()),
        }
    }
}

/// `approximation` for `request`, in the slot called `slot`.
///
/// # Errors
/// [`CompileError::Approximation`].
pub(super) fn compiled(
    approximation: &dyn Approximation,
    request: &Request,
    slot: &str,
) -> Result<Compiled, CompileError> {
    approximation
        .compile(request)
        .map_err(|source| CompileError::Approximation {
            slot: slot.to_owned(),
            source,
        })
}
