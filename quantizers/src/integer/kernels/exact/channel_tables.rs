//! A function of one code onto a grid that differs between channels: a table for each grid.

use crate::integer::kernel::KernelConstants;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `codes[table_of[c] length + q - first]`; codes outside a table take its ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTables {
    /// The code that the first place of every table is for.
    pub first: i32,
    /// Places in a table.
    pub length: usize,
    /// The tables, one after the other.
    pub codes: Vec<i32>,
    /// Which table a channel reads.
    pub table_of: Vec<u8>,
}

impl KernelConstants for ChannelTables {
    const KIND: &'static str = "channel-tables.exact";

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to places of the table"
    )]
    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let last = i64::try_from(self.length).unwrap_or(i64::MAX) - 1;
        let channels = input.iter().zip(&self.table_of);
        for (code, (value, table)) in output.iter_mut().zip(channels) {
            let place = arithmetic.sub(i64::from(*value), i64::from(self.first));
            let start = usize::from(*table) * self.length;
            *code = self.codes[start + place.clamp(0, last) as usize];
        }
    }

    fn bounds(&self, _input: Interval, width: usize) -> Result<Interval, WidthError> {
        // A row longer than the channels would leave outputs unwritten.
        let missing = width.saturating_sub(self.table_of.len());
        Interval::new(0, missing as i128).within(1, "channels without a table")?;
        let low = self.codes.iter().copied().min().unwrap_or(0);
        let high = self.codes.iter().copied().max().unwrap_or(0);
        Ok(Interval::new(low.into(), high.into()))
    }

    fn invalid(&self) -> Option<&'static str> {
        let tables = self.codes.len().checked_div(self.length).unwrap_or(0);
        let whole = tables > 0 && tables * self.length == self.codes.len();
        if !whole {
            Some("tables of another length than they say")
        } else if self
            .table_of
            .iter()
            .any(|&table| usize::from(table) >= tables)
        {
            Some("a channel of a table that is not there")
        } else {
            None
        }
    }
}
