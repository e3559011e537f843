//! What shaders must know of a weight.

use super::*;
use crate::quant::CHUNK;

impl WeightLayout {
    /// Every format, four columns at a time, and one at a time where `cols` may be no multiple of four.
    pub fn kinds() -> impl Iterator<Item = (Format, bool)> {
        let fits = |(format, quads): &(Format, bool)| *quads || format.fits(1);
        [true, false].into_iter().flat_map(|quads| Format::ALL.iter().map(move |format| (*format, quads))).filter(fits)
    }

    pub fn quads(&self) -> bool {
        self.cols.is_multiple_of(4)
    }

    /// The constants `shared/weight.wgsl` and `shared/rows.wgsl` choose by. `words`: the weight is bound word by word.
    pub fn constants(format: Format, quads: bool, words: bool) -> Vec<(&'static str, u32)> {
        vec![
            ("FORMAT", format as u32),
            ("BLOCK", format.block() as u32),
            ("CHUNKED", format.is_chunked() as u32),
            ("CHUNK", CHUNK as u32),
            ("CHUNK_QUADS", CHUNK as u32 / 4),
            ("WORDS", words as u32),
            ("QUADS", quads as u32),
        ]
    }
}
