//! JSON as Python's `json` module writes it: with NaN, Infinity and -Infinity, which JSON does not have.

use serde_json::{Error, Value};

/// Reads it. A number that JSON does not have becomes a text, so that a field that is used is refused and others do no harm.
pub fn from_slice(json: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(json).or_else(|error| serde_json::from_slice(&quoted(json)).map_err(|_| error))
}

/// `json` with quotes about these words wherever they stand outside of texts.
fn quoted(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut at, mut in_text) = (0, false);
    while at < json.len() {
        let word = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| json[at..].starts_with(word));
        match (json[at], word) {
            (b'\\', _) if in_text => {
                out.extend_from_slice(&json[at..json.len().min(at + 2)]);
                at += 2;
                continue;
            }
            (b'"', _) => in_text = !in_text,
            (_, Some(word)) if !in_text => {
                out.extend([b"\"", word, b"\""].concat());
                at += word.len();
                continue;
            }
            _ => {}
        }
        out.push(json[at]);
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_that_json_does_not_have_become_texts() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN", "d\\": 1}"#;
        let expected = json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" NaN", "d\\": 1});
        assert_eq!(from_slice(text).unwrap(), expected);
        for damaged in ["{", "{\"a\": Nan}", "\"\\"] {
            let error = serde_json::from_slice::<Value>(damaged.as_bytes()).unwrap_err().to_string();
            assert_eq!(from_slice(damaged.as_bytes()).unwrap_err().to_string(), error);
        }
    }
}
