//! An image to rows of square patches: `[patches, channels * patch * patch]`, no arithmetic.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::buffer::{Element, Storage};
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interface::ProgramInput;
use crate::integer::interval::Interval;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// Buffer `[patches, channels * patch * patch]`.
    pub output: usize,
    /// `[channels, height, width]`.
    pub image: [usize; 3],
    /// Side of a patch; divides height and width.
    pub patch: usize,
}

impl OperationConstants for Patches {
    const KIND: &'static str = "patches";
    const SUMMARY: &'static str = "pixel codes cut into square patches, one row each";

    fn inputs(&self) -> Vec<usize> {
        Vec::new()
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let [channels, height, width] = self.image;
        let image = match bounds.input {
            ProgramInput::Pixels { image, .. } => *image,
            ProgramInput::Tokens { .. } => [0; 3],
        };
        for (at, side) in ["channels", "height", "width"].iter().enumerate() {
            expect(side, image[at], self.image[at])?;
        }
        let whole =
            self.patch > 0 && height.is_multiple_of(self.patch) && width.is_multiple_of(self.patch);
        require("whole patches", whole)?;
        bounds.typed(self.output, Element::U8)?;
        bounds.max_rows = 1 + (height / self.patch) * (width / self.patch);
        let row = channels * self.patch * self.patch;
        bounds.write(self.output, row, Interval::of_bits(8, false))
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }

    fn describe(&self) -> String {
        format!("{:?} in patches of {}", self.image, self.patch)
    }
}

impl Generic for Patches {
    fn compute<A: Arithmetic>(&self, _arithmetic: &A, frame: &mut Frame) {
        let [channels, height, width] = self.image;
        let side = self.patch;
        let (down, across) = (height / side, width / side);
        let mut output = frame.take(self.output, down * across);
        if let Storage::U8(codes) = &mut output {
            let mut lines = codes.chunks_exact_mut(side);
            for top in 0..down {
                for left in 0..across {
                    for channel in 0..channels {
                        for y in 0..side {
                            let start = (channel * height + top * side + y) * width + left * side;
                            if let Some(line) = lines.next() {
                                line.copy_from_slice(&frame.pixels[start..start + side]);
                            }
                        }
                    }
                }
            }
        }
        frame.put(self.output, output);
    }
}
