//! The first tokens of a text, or some more of it: what is attended to is remembered.

use super::SelfAttention;
use crate::hidden::values;
use crate::key_value_store::NewTokens;
use crate::layers::attention::{attend, attend_from};
use crate::plain_cache::CacheFloats;
use crate::{KeyValueCache, NoTap, StageError};
use burn::tensor::{Tensor, TensorData};

impl SelfAttention {
    /// Whether [`Self::begin`] may be given a text piece by piece.
    pub fn takes_pieces(&self) -> bool {
        self.policy.is_none() && self.scores.bias.is_none()
    }

    /// The first tokens of a text, `[1, tokens, width]`, as [`Self::forward`] has them without distances, or those after
    /// the ones in `cache`, which remembers them.
    ///
    /// # Errors
    /// Those of the policy, where there is one.
    ///
    /// # Panics
    /// More than one text; a policy, and tokens in `cache`.
    pub fn begin(
        &self,
        input: Tensor<3>,
        cache: &mut KeyValueCache,
    ) -> Result<Tensor<3>, StageError> {
        let [texts, tokens, _] = input.dims();
        assert_eq!(texts, 1, "a cache is of one text");
        let [query, key, value] = self.projected(input, &mut NoTap);
        let past = cache.tokens();
        let tables = self.rope.as_ref().map(|rope| {
            let tables = rope.tables(past + tokens, past + tokens);
            tables.narrow(past, tokens)
        });
        let query = self.placed(query, self.query_norm.as_ref(), tables.as_ref());
        let key = self.before_rotation(key, self.key_norm.as_ref());
        let new = self.new_tokens(key, value, tables.as_ref());
        let [unrotated, key, value] = [&new.unrotated, &new.key, &new.value].map(rows_of);
        let added = NewTokens {
            tokens,
            unrotated: &unrotated,
            key: &key,
            value: &value,
        };
        let attended = match &self.policy {
            Some(policy) => {
                assert_eq!(past, 0, "a policy is given whole texts");
                cache.add(added);
                policy.attend(self.attending(query, new, tables))?
            }
            None if past > 0 => self.after_those_kept(query, added, cache),
            None => {
                cache.add(added);
                attend(query, new.key, new.value, &self.scores)
            }
        };
        Ok(self.joined(attended, &mut NoTap))
    }

    /// What `new` tokens attend to after those in `cache`, which they join.
    fn after_those_kept(
        &self,
        query: Tensor<4>,
        new: NewTokens<'_>,
        cache: &mut KeyValueCache,
    ) -> Tensor<4> {
        // The first of them sees a whole window.
        let seen = self.window().saturating_add(new.tokens - 1);
        let added = new.tokens;
        let kept = cache.with_key_value(new, seen, &|_| ());
        let heads = self.heads.key_value;
        let [key, value] = [&kept.keys, &kept.values]
            .map(|rows| self.heads_of(rows.values().into_owned(), [kept.tokens, heads]));
        attend_from(kept.tokens - added, query, key, value, &self.scores)
    }

    /// `[1, heads, tokens, dim]` of rows of tokens.
    pub(super) fn heads_of(&self, rows: Vec<f32>, [tokens, heads]: [usize; 2]) -> Tensor<4> {
        let dim = rows.len() / (tokens * heads);
        let data = TensorData::new(rows, [1, tokens, heads, dim]);
        Tensor::from_data(data, &self.device).swap_dims(1, 2)
    }

    /// An empty cache of the kind the policy wants, or of `floats`.
    ///
    /// # Errors
    /// A policy that sees whole sequences only.
    pub fn cache(&self, floats: CacheFloats) -> Result<KeyValueCache, StageError> {
        let store = match &self.policy {
            Some(policy) => policy.store(self.block)?,
            None => None,
        };
        Ok(store.map_or_else(|| KeyValueCache::of_floats(floats), KeyValueCache::of))
    }
}

/// `[1, heads, tokens, dim]` as rows of tokens.
fn rows_of(x: &Tensor<4>) -> Vec<f32> {
    values(x.clone().swap_dims(1, 2))
}
