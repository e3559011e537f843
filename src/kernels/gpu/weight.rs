//! What shaders must know of a weight.

use super::*;
use crate::quant::CHUNK;

/// How many neighbouring columns of a row a kernel may take at once, as the row's length is a multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Columns {
    One,
    Four,
    /// Those of a [`Reading::piece`].
    Piece,
}

/// How a kernel reads numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// From a buffer that is bound word by word.
    Words,
    /// From vectors of four words.
    Vectors,
    /// From vectors, and pieces of one chunk, where formats have larger ones.
    Chunks,
    /// From vectors, and those of pieces as f16 without a conversion.
    Halves,
    /// From vectors, four quads of columns at once.
    Fours,
}

impl Reading {
    /// Neighbouring columns of `format` that it takes at once where rows are whole ones.
    fn piece(self, format: Format) -> usize {
        match (self, format.chunk()) {
            (Self::Chunks, Some(chunk)) => format.piece().min(chunk),
            (Self::Fours, None) => 16,
            _ => format.piece(),
        }
    }
}

impl WeightLayout {
    /// Every format with every [`WeightLayout::columns`] that it may have.
    pub(super) fn kinds() -> impl Iterator<Item = (Format, Columns)> {
        let occurs = |(format, columns): &(Format, Columns)| match columns {
            Columns::One => format.fits(1),
            Columns::Four => format.fits(4),
            Columns::Piece => true,
        };
        let all = [Columns::Piece, Columns::Four, Columns::One];
        all.into_iter().flat_map(|columns| Format::ALL.iter().map(move |format| (*format, columns))).filter(occurs)
    }

    /// As many columns at once as there may be.
    pub(super) fn columns(&self, reading: Reading) -> Columns {
        match self.cols {
            cols if cols.is_multiple_of(reading.piece(self.format)) => Columns::Piece,
            cols if cols.is_multiple_of(4) => Columns::Four,
            _ => Columns::One,
        }
    }

    /// The constants `shared/weight.wgsl` and `shared/rows.wgsl` choose by.
    pub(super) fn constants(format: Format, columns: Columns, reading: Reading) -> Vec<(&'static str, u32)> {
        let chunk = format.chunk().unwrap_or(CHUNK);
        let pieces = columns == Columns::Piece;
        let piece = reading.piece(format);
        let (quads, parts) = if pieces { (piece / 4, format.parts(piece)) } else { (1, 1) };
        vec![
            ("FORMAT", format as u32),
            ("BLOCK", format.block() as u32),
            ("CHUNKED", format.chunk().is_some() as u32),
            ("CHUNK", chunk as u32),
            ("WORDS", (reading == Reading::Words) as u32),
            ("AS_HALVES", (reading == Reading::Halves) as u32),
            ("QUADS", (columns >= Columns::Four) as u32),
            ("PIECES", pieces as u32),
            ("PIECE_QUADS", quads as u32),
            ("PARTS", parts as u32),
            ("PART_QUADS", (quads / parts) as u32),
        ]
    }
}
