//! Command-line converter: `llava-convert <hf-folder> <out> --quant q4|q8|f16|f32`.

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

    use llava_web::convert::synthetic::Synthetic;
    use llava_web::convert::{Options, hf};
    use llava_web::progress::Progress;
    use llava_web::quant::Format;
    use pico_args::Arguments;

    const HELP: &str = "\
Turns a Hugging Face LLaVA folder into a bundle that the browser loads.

    llava-convert <hf-folder> <out> --quant q4|q8|f16|f32 [options]
    llava-convert synthetic <model> <out> [--quant q4|q8|f16|f32] [--seed N] [options]

    --quant FORMAT       decoder, embeddings and head; vision tower and projector are kept at 8 bits or more
    --chunk-bytes N      size of the chunk files, a multiple of 4 up to 16777216 (default 8388608)
    --name NAME          the model's name (default: the folder's)
    --license LICENSE    the model's licence, for the manifest
    --force              replace a bundle that is already in <out>

The second form makes a model of random weights, to try what a model of that size needs: <model> is llava-1.5-7b,
llava-1.5-13b or the path of a config.json. With --quant it is a bundle, without a Hugging Face folder in f16.
    --seed N             other weights (default 0)";

    pub fn run() -> Result<(), Box<dyn std::error::Error>> {
        let mut args = Arguments::from_env();
        if args.contains(["-h", "--help"]) {
            println!("{HELP}");
            return Ok(());
        }
        let format = args.opt_value_from_fn("--quant", |name| {
            Format::from_name(name).ok_or_else(|| format!("`{name}` is not one of q4, q8, f16, f32"))
        })?;
        let seed: Option<u64> = args.opt_value_from_str("--seed")?;
        let mut options = Options { report, ..Options::new(format.unwrap_or(Format::F16)) };
        options.chunk_bytes = args.opt_value_from_str("--chunk-bytes")?.unwrap_or(options.chunk_bytes);
        options.name = args.opt_value_from_str("--name")?;
        options.license = args.opt_value_from_str("--license")?;
        options.force = args.contains("--force");
        let words = args.finish();
        if let Some(option) = words.iter().find(|word| word.to_string_lossy().starts_with("--")) {
            return Err(format!("unknown option {}; --help lists them", option.to_string_lossy()).into());
        }
        let words: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
        let summary = match (&words[..], format) {
            ([first, model, out], format) if first.as_os_str() == "synthetic" => {
                let model = Synthetic::new(&model.to_string_lossy(), seed.unwrap_or(0))?;
                if format.is_none() {
                    model.folder(out, report)?;
                    return Ok(());
                }
                model.bundle(out, &options)?
            }
            (_, _) if seed.is_some() => return Err("--seed goes with `synthetic`".into()),
            ([folder, out], Some(_)) => hf::convert(folder, out, &options)?,
            ([_, _], None) => return Err("--quant is missing: one of q4, q8, f16, f32".into()),
            (rest, _) => {
                return Err(format!("expected <hf-folder> <out> and the options of --help, not {rest:?}").into());
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
