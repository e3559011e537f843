//! Command-line converter: `llava-convert <hf-folder | model.gguf | bundle> <out>`, see [`native::HELP`].

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    match native::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llava-convert: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::io::IsTerminal;
    use std::path::PathBuf;

    use llava_web::bundle::{MANIFEST_FILE, pair};
    use llava_web::convert::synthetic::Synthetic;
    use llava_web::convert::{Options, bundle, gguf, hf};
    use llava_web::progress::Progress;
    use llava_web::quant::Format;
    use pico_args::Arguments;

    const HELP: &str = r#"Turns a LLaVA-1.5 or FastVLM checkpoint, or a LLaMA decoder alone, into a bundle that the browser loads.

    llava-convert <hf-folder> <out> --quant FORMAT [options]
    llava-convert <model.gguf> <out> [--mmproj <mmproj.gguf>] [--quant FORMAT] [options]
    llava-convert <bundle> <out> --quant FORMAT [options]
    llava-convert synthetic <model> <out> [--quant FORMAT] [--seed N] [options]
    llava-convert pair <pair.json> <out> [--force]

A Hugging Face folder holds config.json, tokenizer.json and *.safetensors. A GGUF is llama.cpp's, of LLaMA architecture:
with --mmproj a LLaVA-1.5, without it a decoder that answers text prompts. Types read: F32, F16, BF16, Q4_0, Q4_1, Q5_0,
Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.

    --quant FORMAT       {formats}: of decoder, embeddings and head; vision tower and projector are kept at 8 bits or more.
                         Without it a GGUF's matrices keep their format: Q4_0 and Q4_1 become q4, Q8_0 q8, Q4_K q4k, Q5_K q5k
                         and Q6_K q6k block by block, not quantized a second time; Q5_0 and Q5_1 become q8. Those already in the
                         format asked for are carried over likewise. Columns that are no multiple of 256 become q4 instead of
                         q4k, and q8 instead of q5k and q6k; such as are none of 32 f16.
    --head FORMAT        of embeddings and head, where not the same: they choose the words
    --mmproj FILE        the GGUF with vision tower and projector
    --chunk-bytes N      size of the chunk files, a multiple of 4 up to 16777216 (default 4194304)
    --name NAME          the model's name (default: the folder's or file's)
    --license LICENSE    the model's licence, for the manifest
    --force              replace a bundle that is already in <out>

The third form stores a bundle in another format; what its own format lost stays lost.

The fourth form makes a model of random weights, to try what a model of that size needs: <model> is llava-1.5-7b,
llava-1.5-13b or the path of a config.json. With --quant it is a bundle, without a Hugging Face folder in f16.
    --seed N             other weights (default 0)

The fifth form makes one bundle of two, for pictures of two kinds. The file says which (their folders, relative to its own), what
the first one is asked about each picture, and for which answer the second one answers in its place:
{ "first": "photos", "second": "drawings", "question": "What is in this picture?", "answer": "a drawing" }"#;

    pub fn run() -> Result<(), Box<dyn std::error::Error>> {
        let mut args = Arguments::from_env();
        if args.contains(["-h", "--help"]) {
            println!("{}", HELP.replace("{formats}", &Format::names(", ")));
            return Ok(());
        }
        let by_name = |name: &str| {
            Format::from_name(name).ok_or_else(|| format!("`{name}` is not one of {}", Format::names(", ")))
        };
        let format = args.opt_value_from_fn("--quant", by_name)?;
        let seed: Option<u64> = args.opt_value_from_str("--seed")?;
        let mut options = Options { report, ..Options::new(format) };
        options.head = args.opt_value_from_fn("--head", by_name)?;
        options.chunk_bytes = args.opt_value_from_str("--chunk-bytes")?.unwrap_or(options.chunk_bytes);
        options.name = args.opt_value_from_str("--name")?;
        options.license = args.opt_value_from_str("--license")?;
        options.force = args.contains("--force");
        let mmproj: Option<PathBuf> = args.opt_value_from_os_str("--mmproj", |path| Ok::<_, String>(path.into()))?;
        let words = args.finish();
        if let Some(option) = words.iter().find(|word| word.to_string_lossy().starts_with("--")) {
            return Err(format!("unknown option {}; --help lists them", option.to_string_lossy()).into());
        }
        let words: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
        let summary = match &words[..] {
            [form, description, out] if form.as_os_str() == "pair" => {
                let changes =
                    [format.is_some(), options.head.is_some(), options.name.is_some(), options.license.is_some()];
                if changes.contains(&true) {
                    let problem =
                        "`pair` takes both bundles as they are, without --quant, --head, --name and --license";
                    return Err(problem.into());
                }
                let manifest = pair(description, out, options.force)?;
                let other = manifest.second.as_ref().map_or("", |second| &second.manifest.model.name);
                println!("{} and {other} are in {}", manifest.model.name, out.display());
                return Ok(());
            }
            [first, model, out] if first.as_os_str() == "synthetic" => {
                let model = Synthetic::new(&model.to_string_lossy(), seed.unwrap_or(0))?;
                if format.is_none() {
                    if options.head.is_some() {
                        return Err("--head goes with --quant: without it a folder in f16 is made".into());
                    }
                    model.folder(out, report)?;
                    return Ok(());
                }
                model.bundle(out, &options)?
            }
            _ if seed.is_some() => return Err("--seed goes with `synthetic`".into()),
            [file, out] if file.is_file() || file.extension().is_some_and(|extension| extension == "gguf") => {
                gguf::convert(file, mmproj.as_deref(), out, &options)?
            }
            _ if mmproj.is_some() => return Err("--mmproj goes with a GGUF file, not with a folder".into()),
            [folder, out] if folder.join(MANIFEST_FILE).is_file() => bundle::convert(folder, out, &options)?,
            [folder, out] => hf::convert(folder, out, &options)?,
            rest => {
                let expected = "<hf-folder | model.gguf | bundle> <out> and the options of --help";
                return Err(format!("expected {expected}, not {rest:?}").into());
            }
        };
        println!("{summary}");
        Ok(())
    }

    /// One line that is written over, for people only.
    fn report(progress: Progress) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let Progress { stage, done, total, .. } = progress;
        let gb = |bytes: usize| bytes as f64 / 1e9;
        let (rate, left) = (progress.rate() / 1e6, progress.left().map_or(0, |left| left.as_secs()));
        let (minutes, seconds) = (left / 60, left % 60);
        let percent = 100 * done / total.max(1);
        let bar = "#".repeat(percent / 5);
        let (done_gb, total_gb) = (gb(done), gb(total));
        eprint!(
            "\r{stage:<8} [{bar:<20}] {percent:>3}%  {done_gb:.2} of {total_gb:.2} GB, {rate:.0} MB/s, {minutes}:{seconds:02} left "
        );
        if done == total {
            eprintln!();
        }
    }
}
