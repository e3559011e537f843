//! The text of shaders as it is compiled in: without comments, indentation and empty lines, which would be half of it.

/// The text of `shaders/<name>.wgsl`.
macro_rules! wgsl {
    ($name:literal) => {{
        const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl"));
        const BYTES: [u8; crate::wgsl::strip::<0>(TEXT).1] = crate::wgsl::strip(TEXT).0;
        const STRIPPED: &str = match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("not UTF-8 any more"),
        };
        STRIPPED
    }};
}

/// The first `N` bytes of what the lines of `text` hold beside comments and indentation, and how many bytes that are in all.
pub const fn strip<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut stripped, mut len) = ([0; N], 0);
    let mut start = 0;
    while start < text.len() {
        let mut end = start;
        while end < text.len() && text[end] != b'\n' && !(text[end] == b'/' && text[end + 1] == b'/') {
            end += 1;
        }
        let mut next = end;
        while next < text.len() && text[next] != b'\n' {
            next += 1;
        }
        while end > start && text[end - 1] == b' ' {
            end -= 1;
        }
        while start < end && text[start] == b' ' {
            start += 1;
        }
        // With the end of the line, unless nothing is left of it.
        let line_end = if end > start { end + 1 } else { end };
        while start < line_end {
            if len < N {
                stripped[len] = if start < end { text[start] } else { b'\n' };
            }
            len += 1;
            start += 1;
        }
        start = next + 1;
    }
    (stripped, len)
}

#[cfg(test)]
mod tests {
    #[test]
    fn comments_indentation_and_empty_lines_are_left_out() {
        let text = "// what it does\n\nlet a = b / c; // why\n    // é\n  #if X\n};";
        let kept = "let a = b / c;\n#if X\n};\n";
        let (stripped, len) = super::strip::<100>(text);
        assert_eq!((std::str::from_utf8(&stripped[..len]).unwrap(), len), (kept, kept.len()));
    }
}
