//! How many rows are many.

use super::{attention, linear};

/// From this many rows on every operation goes a way where a row's results are the same bits whatever rows run
/// beside it.
pub const MANY_ROWS: usize = match linear::MIN_FEW_ROWS > attention::MAX_DECODE_QUERIES {
    true => linear::MIN_FEW_ROWS,
    false => attention::MAX_DECODE_QUERIES + 1,
};
