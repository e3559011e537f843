//! Command-line answers on this machine, without a browser: `llava-describe <bundle> <inputs.jsonl>`, see [`native::HELP`].

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    match native::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llava-describe: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::error::Error;
    use std::fs;
    use std::io::{Write, stdout};
    use std::path::{Path, PathBuf};

    use futures_lite::future::block_on;
    use llava_web::bundle::FolderSource;
    use llava_web::device::{self, Opened};
    use llava_web::engine::{Input, LoadOptions, Models};
    use llava_web::image::Source;
    use pico_args::Arguments;
    use serde::Deserialize;

    const HELP: &str = "\
Answers the questions of a file with a bundle, as `cargo xtask caption --batch` does in a browser.

    llava-describe <bundle> <inputs.jsonl> [--device auto|gpu|cpu]

It runs on the GPU, or where there is none but software on the CPU. Each line is an input object, with the picture as the path `image`, from here or from the file's folder. Prints one
object a line, in order: description, token_ids, prompt_tokens, timings and the rest. The first error ends it.";

    #[derive(Deserialize)]
    struct Line {
        image: Option<PathBuf>,
        #[serde(flatten)]
        input: Input,
    }

    pub fn run() -> Result<(), Box<dyn Error>> {
        let mut args = Arguments::from_env();
        if args.contains(["-h", "--help"]) {
            println!("{HELP}");
            return Ok(());
        }
        let device: Option<String> = args.opt_value_from_str("--device")?;
        let words: Vec<PathBuf> = args.finish().into_iter().map(PathBuf::from).collect();
        let [bundle, inputs] = &words[..] else { return Err(format!("two paths are wanted\n\n{HELP}").into()) };
        let text = fs::read_to_string(inputs).map_err(|error| format!("{}: {error}", inputs.display()))?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let read = |(line, number)| {
            serde_json::from_str(&well_formed(line))
                .map_err(|error| format!("{}, line {number}: {error}", inputs.display()))
        };
        let lines: Vec<Line> = lines.map(read).collect::<Result<_, _>>()?;
        let opened = match device.as_deref() {
            None | Some("auto") => block_on(device::open_auto()),
            Some("gpu") => block_on(device::open()),
            Some("cpu") => block_on(device::open_cpu()),
            Some(other) => return Err(format!("--device {other}: it is auto, gpu or cpu").into()),
        };
        block_on(answer(opened?, bundle, &lines, inputs.parent().unwrap_or(Path::new("."))))
    }

    async fn answer(opened: Opened, bundle: &Path, lines: &[Line], folder: &Path) -> Result<(), Box<dyn Error>> {
        let source = FolderSource::open(bundle)?;
        let mut models = Models::load(opened, &source, &source.tokenizers()?, LoadOptions::default()).await?;
        for Line { image, input } in lines {
            let picture = match image {
                None => None,
                Some(path) => {
                    let file = if path.exists() { path.clone() } else { folder.join(path) };
                    let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                    Some(Source::Encoded(bytes))
                }
            };
            let output = models.generate(picture.as_ref(), input, &mut |_, _| true).await?;
            writeln!(stdout(), "{}", serde_json::to_string(&output)?)?;
        }
        Ok(())
    }
    /// JSON with U+FFFD for every half of a character, as a text has that was cut through an emoji: a text in Rust has whole ones only.
    fn well_formed(json: &str) -> String {
        let mut out = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            out.push_str(before);
            let [first, second] = [0, 6].map(|at| half(escape.get(at..).unwrap_or_default()));
            let len = match (first, second) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (Some(0xd800..0xe000), _) => {
                    out.push_str("\\ufffd");
                    rest = &escape[6..];
                    continue;
                }
                // A backslash and what it stands before.
                _ => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
            };
            out.push_str(&escape[..len]);
            rest = &escape[len..];
        }
        out + rest
    }

    /// The unit of UTF-16 that `text` begins with as an escape.
    fn half(text: &str) -> Option<u32> {
        u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn halves_of_characters_are_replaced_and_all_else_stays() {
            for (json, expected) in [
                (r#"{"a":"cut \ud83d"}"#, r#"{"a":"cut \ufffd"}"#),
                (
                    r#"["\udc00", "\ud83d\ud83d\ude00", "\uD83D\uDE00"]"#,
                    r#"["\ufffd", "\ufffd\ud83d\ude00", "\uD83D\uDE00"]"#,
                ),
                (r#""\\ud83d \n \u00e9 é \"""#, r#""\\ud83d \n \u00e9 é \"""#),
                (r#"no \ufoo \"#, r#"no \ufoo \"#),
            ] {
                assert_eq!(super::well_formed(json), expected);
            }
        }
    }
}
