//! Which side of a stored picture is up. As in Pillow, EXIF says it, or else XMP.

use super::Picture;

/// EXIF's Orientation, 1 to 8: how the stored picture lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    pub const UPRIGHT: Self = Self(1);

    /// From what a file says about itself: an EXIF block, with or without the `Exif\0\0` that JPEG puts before it, and an
    /// XMP packet. What is damaged or says nothing leaves the picture as it is.
    pub fn of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let value = exif.and_then(exif_value).or_else(|| xmp_value(xmp?));
        value.filter(|value| (1..=8).contains(value)).map_or(Self::UPRIGHT, |value| Self(value as u8))
    }

    /// The picture turned and mirrored so that it is upright.
    pub fn upright(self, picture: Picture) -> Picture {
        if self == Self::UPRIGHT {
            return picture;
        }
        let (width, height) = (picture.width as isize, picture.height as isize);
        let (right, bottom) = (width - 1, (height - 1) * width);
        // Where the first pixel lies, and how far it is from one to the next in a row and in a column.
        let (first, along, down) = match self.0 {
            2 => (right, -1, width),
            3 => (bottom + right, -1, -width),
            4 => (bottom, 1, -width),
            5 => (0, width, 1),
            6 => (bottom, -width, 1),
            7 => (bottom + right, -width, -1),
            _ => (right, width, -1),
        };
        let swapped = self.0 >= 5;
        let (width, height) = if swapped { (height, width) } else { (width, height) };
        let pixels = picture.rgb.as_chunks::<3>().0;
        let mut rgb = Vec::with_capacity(picture.rgb.len());
        for y in 0..height {
            let start = first + y * down;
            rgb.extend((0..width).flat_map(|x| pixels[(start + x * along) as usize]));
        }
        Picture { width: width as usize, height: height as usize, rgb }
    }
}

/// The Orientation in the first directory of an EXIF block, which is laid out as a TIFF file.
fn exif_value(exif: &[u8]) -> Option<u32> {
    const ORIENTATION: u32 = 0x0112;
    const ENTRY: usize = 12;
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, size: usize| {
        let bytes = tiff.get(at..at.checked_add(size)?)?;
        let add = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let directory = number(4, 4)? as usize;
    let entries = number(directory, 2)? as usize;
    for entry in (0..entries).map_while(|index| directory.checked_add(2 + ENTRY * index)) {
        if number(entry, 2)? == ORIENTATION {
            // SHORT or LONG, of which the first value counts; what does not fit into the entry lies where it points.
            let size = match number(entry + 2, 2)? {
                3 | 8 => 2,
                4 | 9 => 4,
                _ => return None,
            };
            let count = Some(number(entry + 4, 4)? as usize).filter(|count| *count > 0)?;
            let inside = count.checked_mul(size)? <= 4;
            return number(if inside { entry + 8 } else { number(entry + 8, 4)? as usize }, size);
        }
    }
    None
}

/// `tiff:Orientation` as an attribute or an element of an XMP packet.
fn xmp_value(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        let rest = &xmp[at + NAME.len()..];
        let digit = *rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::{Orientation, Picture};

    /// An EXIF block of one entry, in either byte order.
    fn exif(little: bool, kind: u16, count: u32, value: &[u8]) -> Vec<u8> {
        let order = |bytes: &[u8]| bytes.iter().copied().rev().collect::<Vec<u8>>();
        let number = |bytes: &[u8]| if little { order(bytes) } else { bytes.to_vec() };
        let mut block = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        block.extend(number(&8u32.to_be_bytes()));
        block.extend(number(&1u16.to_be_bytes()));
        block.extend(number(&0x0112u16.to_be_bytes()));
        block.extend(number(&kind.to_be_bytes()));
        block.extend(number(&count.to_be_bytes()));
        block.extend(value);
        block
    }

    #[test]
    fn exif_is_read_in_all_its_forms() {
        let of = |block: &[u8]| Orientation::of(Some(block), None).0;
        assert_eq!(of(&exif(true, 3, 1, &[6, 0, 0, 0])), 6);
        assert_eq!(of(&exif(false, 3, 1, &[0, 6, 0, 0])), 6);
        assert_eq!(of(&exif(true, 4, 1, &[8, 0, 0, 0])), 8);
        assert_eq!(of(&exif(false, 4, 1, &[0, 0, 0, 8])), 8);
        assert_eq!(of(&exif(true, 3, 2, &[5, 0, 1, 0])), 5);
        assert_eq!(of(&exif(true, 3, 3, &[22, 0, 0, 0, 7, 0, 1, 0, 1, 0])), 7, "values behind the directory");
        assert_eq!(of(&[b"Exif\0\0", &exif(true, 3, 1, &[6, 0, 0, 0])[..]].concat()), 6);
        for damaged in [&b""[..], b"Exif\0\0", b"II*\0\xff\xff\xff\xff", &exif(true, 3, 1, &[9, 0, 0, 0])] {
            assert_eq!(of(damaged), 1, "{damaged:?}");
        }
        assert_eq!(of(&exif(true, 2, 1, b"6\0\0\0")), 1, "text");
        assert_eq!(of(&exif(true, 3, 0, &[6, 0, 0, 0])), 1, "no value");
        assert_eq!(of(&exif(true, 3, u32::MAX, &[0xff; 4])), 1, "values beyond the end");
    }

    #[test]
    fn xmp_speaks_where_exif_does_not() {
        let of = |exif: Option<&[u8]>, xmp: &str| Orientation::of(exif, Some(xmp.as_bytes())).0;
        assert_eq!(of(None, r#"<rdf:Description tiff:Orientation="6"/>"#), 6);
        assert_eq!(of(None, "<tiff:Orientation>3</tiff:Orientation>"), 3);
        assert_eq!(of(None, r#"tiff:Orientation=6 tiff:Orientation="8""#), 8);
        assert_eq!(of(None, r#"tiff:Orientation="#), 1);
        assert_eq!(of(Some(&exif(true, 3, 1, &[1, 0, 0, 0])), r#"tiff:Orientation="6""#), 1, "EXIF comes first");
        assert_eq!(of(Some(b"II*\0\x08\0\0\0\0\0"), r#"tiff:Orientation="6""#), 6, "EXIF without the entry");
    }

    #[test]
    fn every_orientation_ends_upright() {
        // The numbers of the pixels of a 3x2 picture, by the row, once it is upright.
        let upright: [(&[u8], usize); 8] = [
            (&[0, 1, 2, 3, 4, 5], 3),
            (&[2, 1, 0, 5, 4, 3], 3),
            (&[5, 4, 3, 2, 1, 0], 3),
            (&[3, 4, 5, 0, 1, 2], 3),
            (&[0, 3, 1, 4, 2, 5], 2),
            (&[3, 0, 4, 1, 5, 2], 2),
            (&[5, 2, 4, 1, 3, 0], 2),
            (&[2, 5, 1, 4, 0, 3], 2),
        ];
        for (orientation, (expected, width)) in (1..).zip(upright) {
            let stored = Picture { width: 3, height: 2, rgb: (0..6).flat_map(|pixel| [pixel; 3]).collect() };
            let picture = Orientation(orientation).upright(stored);
            assert_eq!((picture.width, picture.height), (width, 6 / width));
            assert!(picture.rgb.iter().step_by(3).eq(expected), "{orientation}: {:?}", picture.rgb);
        }
    }
}
