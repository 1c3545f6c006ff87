//! Normalisation of every row, to one or more grids at once: a kernel for each output.

use crate::integer::arithmetic::ArithmeticError;
use crate::integer::bounds::Bounds;
use crate::integer::buffer::Storage;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::kernel::Mode;
use crate::integer::kernels::exact;
use crate::integer::operation::{Kernel, OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormOutput {
    /// Buffer `[rows, width]`.
    pub buffer: usize,
    /// From input codes to codes of this output.
    pub kernel: Kernel,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// Buffer `[rows, width]`.
    pub input: usize,
    /// Each on a grid of its own.
    pub outputs: Vec<NormOutput>,
}

impl OperationConstants for Norm {
    const KIND: &'static str = "norm";
    const SUMMARY: &'static str = "normalisation of each row, a kernel for each output grid";

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        self.outputs.iter().map(|output| output.buffer).collect()
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = bounds.buffer(self.input)?.width;
        let input = bounds.interval(self.input)?;
        for output in &self.outputs {
            let codes = output.kernel.bounds(input, width)?;
            bounds.write(output.buffer, width, codes)?;
        }
        Ok(())
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }

    fn describe(&self) -> String {
        let kinds: Vec<&str> = self.outputs.iter().map(|o| o.kernel.kind()).collect();
        kinds.join(" + ")
    }
}

impl Step for Norm {
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError> {
        if mode == Mode::Fast && self.run_rows(frame) {
            return Ok(());
        }
        let (width, rows) = (frame.width(self.input), frame.rows(self.input));
        let mut row = vec![0; width];
        let mut codes = vec![0; width];
        for output in &self.outputs {
            let mut storage = frame.take(output.buffer, rows);
            for at in 0..rows {
                frame.buffer(self.input).read(at * width, &mut row);
                output.kernel.run(mode, &row, &mut codes)?;
                storage.write(at * width, &codes);
            }
            frame.put(output.buffer, storage);
        }
        Ok(())
    }
}

impl Norm {
    /// All outputs of exact kernels over one statistic, on vectors; false where they are others.
    fn run_rows(&self, frame: &mut Frame) -> bool {
        let exact: Option<Vec<&exact::Norm>> = self
            .outputs
            .iter()
            .map(|output| output.kernel.as_any().downcast_ref())
            .collect();
        let Some(exact) = exact else {
            return false;
        };
        let Some((first, others)) = exact.split_first() else {
            return false;
        };
        let (width, rows) = (frame.width(self.input), frame.rows(self.input));
        let known = self.outputs.iter().all(|output| {
            matches!(
                frame.buffer(output.buffer),
                Storage::U8(_) | Storage::I16(_)
            )
        });
        let words = matches!(frame.buffer(self.input), Storage::I16(_));
        if !known || !words || !others.iter().all(|other| other.same_values(first)) {
            return false;
        }
        let mut storages: Vec<Storage> = self
            .outputs
            .iter()
            .map(|output| frame.take(output.buffer, rows))
            .collect();
        let mut values = std::mem::take(&mut frame.scratch.wide);
        values.resize(width, 0);
        if let Storage::I16(codes) = frame.buffer(self.input) {
            for (at, row) in codes.chunks_exact(width).enumerate() {
                first.normalise(row, &mut values);
                let place = at * width..(at + 1) * width;
                for (norm, storage) in exact.iter().zip(&mut storages) {
                    match storage {
                        Storage::U8(out) => norm.affine.bytes(&values, &mut out[place.clone()]),
                        Storage::I16(out) => norm.affine.words(&values, &mut out[place.clone()]),
                        Storage::I8(_) | Storage::I32(_) => {}
                    }
                }
            }
        }
        frame.scratch.wide = values;
        for (output, storage) in self.outputs.iter().zip(storages) {
            frame.put(output.buffer, storage);
        }
        true
    }
}
