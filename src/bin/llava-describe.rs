//! Command-line answers on this machine's GPU, without a browser: `llava-describe <bundle> <inputs.jsonl>`, see
//! [`native::HELP`].

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
    use llava_web::device;
    use llava_web::engine::{Engine, Input, LoadOptions};
    use llava_web::image::Source;
    use pico_args::Arguments;
    use serde::Deserialize;

    const HELP: &str = "\
Answers the questions of a file with a bundle, as `cargo xtask caption --batch` does in a browser.

    llava-describe <bundle> <inputs.jsonl>

Each line is an input object, with the picture as the path `image`, from here or from the file's folder. Prints one
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
        let words: Vec<PathBuf> = args.finish().into_iter().map(PathBuf::from).collect();
        let [bundle, inputs] = &words[..] else { return Err(format!("two paths are wanted\n\n{HELP}").into()) };
        let text = fs::read_to_string(inputs).map_err(|error| format!("{}: {error}", inputs.display()))?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let read = |(line, number)| {
            serde_json::from_str(line).map_err(|error| format!("{}, line {number}: {error}", inputs.display()))
        };
        let lines: Vec<Line> = lines.map(read).collect::<Result<_, _>>()?;
        block_on(answer(bundle, &lines, inputs.parent().unwrap_or(Path::new("."))))
    }

    async fn answer(bundle: &Path, lines: &[Line], folder: &Path) -> Result<(), Box<dyn Error>> {
        let source = FolderSource::open(bundle)?;
        let gpu = device::open().await?;
        let mut engine = Engine::load(gpu, &source, &source.tokenizer()?, LoadOptions::default()).await?;
        for Line { image, input } in lines {
            let picture = match image {
                None => None,
                Some(path) => {
                    let file = if path.exists() { path.clone() } else { folder.join(path) };
                    let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                    Some(Source::Encoded(bytes))
                }
            };
            let output = engine.generate(picture.as_ref(), input, &mut |_, _| true).await?;
            writeln!(stdout(), "{}", serde_json::to_string(&output)?)?;
        }
        Ok(())
    }
}
