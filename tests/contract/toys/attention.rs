//! A toy attention: every query looks at its own token and at no other.

use quantizers::attentions::measure::compare;
use quantizers::attentions::{
    Attended, Attention, AttentionError, GroupShape, HeadGroup, Seen, SparseAttention,
};
use quantizers::{Matrix, MatrixRef, ParamError};

struct Own;

impl Attention for Own {
    fn name(&self) -> &'static str {
        "own"
    }

    fn summary(&self) -> &'static str {
        "every token attends to itself"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn configure(&self, _table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        Ok(Box::new(Self))
    }
}

impl SparseAttention for Own {
    fn plan(&self, _shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        Ok(Vec::new())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        mut seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        group.check()?;
        let mut outputs = Vec::new();
        for head in 0..group.queries.len() {
            let mut output = Matrix::zeros(group.tokens(), group.values.cols());
            for (token, position) in (0..group.tokens()).zip(0_u32..) {
                output
                    .row_mut(token)
                    .copy_from_slice(group.values.row(token));
                if let Some(seen) = &mut seen
                    && seen.wants(token)
                {
                    seen.saw(head, token, &[position], &[1.0]);
                }
            }
            outputs.push(output);
        }
        Ok(Attended {
            outputs,
            score_evaluations: 0,
            kept_keys_max: 1,
        })
    }
}

#[test]
fn an_attention_is_one_file() {
    let method = Own.configure(&toml::Table::new()).unwrap();
    // Token 1 attends to both keys alike.
    let keys = [1.0, 0.0, 1.0, 0.0];
    let values = [3.0, 5.0];
    let keys = MatrixRef::new(&keys, 2, 2).unwrap();
    let group = HeadGroup {
        queries: &[keys],
        keys,
        values: MatrixRef::new(&values, 2, 1).unwrap(),
        scale: 1.0,
        causal: true,
        layer: 0,
        layers: 1,
        head: 0,
        rotary: None,
    };
    assert_eq!(
        method.attend(&group, None).unwrap().outputs[0].row(1),
        [5.0]
    );
    // It is measured by what was written without knowing it: token 0 is right, token 1 sees half and is off by 1 of 4.
    let found = compare(&group, method.as_ref(), 2, 2).unwrap();
    assert!((found.recall.mean - 0.75).abs() < 1e-6 && (found.mass.worst - 0.5).abs() < 1e-6);
    assert!((found.relative_l2.worst - 0.25).abs() < 1e-6);
}
