//! Functions onto grids that differ between channels.

use super::checks::{checked, refuse, usable};
use super::elementwise::{Function, nearest};
use crate::integer::kernels::exact::ChannelTables;
use crate::nonlinear::{ApproximationError, Compiled, Grid, Request};

/// Most places of a table.
const LONGEST: i64 = 1 << 12;
/// Most tables: each is as long as the input grid has codes.
const MOST_TABLES: usize = 16;

impl Function {
    /// A table for each scale of the output grid, if that has one for each channel.
    pub(super) fn by_channel(
        &self,
        request: &Request,
    ) -> Option<Result<Compiled, ApproximationError>> {
        let output = request.output.as_ref()?;
        (output.scales.len() > 1 && output.scales.len() == request.width)
            .then(|| self.channel_tables(request, output))
    }

    fn channel_tables(
        &self,
        request: &Request,
        output: &Grid,
    ) -> Result<Compiled, ApproximationError> {
        let input = &request.input;
        usable(self.replaces, input)?;
        usable(self.replaces, output)?;
        let codes = i64::from(input.high) - i64::from(input.low) + 1;
        if input.scales.len() != 1 || codes > LONGEST {
            let found = format!("{} scales and {codes} codes", input.scales.len());
            let expected = format!("one input scale and at most {LONGEST} codes");
            return Err(refuse(self.replaces, expected, found));
        }
        let mut scales: Vec<f64> = Vec::new();
        let mut table_of = Vec::with_capacity(request.width);
        for scale in &output.scales {
            let known = scales
                .iter()
                .position(|known| known.to_bits() == scale.to_bits());
            let table = known.unwrap_or_else(|| {
                scales.push(*scale);
                scales.len() - 1
            });
            if table >= MOST_TABLES {
                let expected = format!("at most {MOST_TABLES} different output scales");
                return Err(refuse(self.replaces, expected, "more".to_owned()));
            }
            table_of.push(u8::try_from(table).unwrap_or(0));
        }
        let all = scales.iter().flat_map(|&scale| {
            let grid = Grid {
                scales: vec![scale],
                ..output.clone()
            };
            let codes = input.low..=input.high;
            codes.map(move |code| nearest((self.exact)(input.value(code, 0)), &grid))
        });
        let kernel = ChannelTables {
            first: input.low,
            length: usize::try_from(codes).unwrap_or(0),
            codes: all.collect(),
            table_of,
        };
        checked(self.replaces, request, Box::new(kernel), output.clone())
    }
}
