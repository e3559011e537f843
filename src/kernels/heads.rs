//! The heads of attention.

use serde::Serialize;

/// How query heads, key/value heads and their size divide a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// The largest head the attention shader keeps in its registers and workgroup memory.
    pub const MAX_HEAD_DIM: usize = 128;

    /// Whether the kernels can run heads of this size: multiples of 4 up to [`Self::MAX_HEAD_DIM`].
    pub fn fits(head_dim: usize) -> bool {
        head_dim.is_multiple_of(4) && (4..=Self::MAX_HEAD_DIM).contains(&head_dim)
    }

    pub(super) fn check(&self) {
        let Heads { heads, kv_heads, head_dim } = *self;
        assert!(kv_heads > 0 && heads % kv_heads == 0, "{heads} heads do not share {kv_heads} key/value heads evenly");
        assert!(Self::fits(head_dim), "head_dim {head_dim} is not 4..=128 by 4");
    }
}
