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
    use std::path::PathBuf;

    use llava_web::convert::{Options, hf};
    use llava_web::quant::Format;
    use pico_args::Arguments;

    const HELP: &str = "\
Turns a Hugging Face LLaVA folder into a bundle that the browser loads.

    llava-convert <hf-folder> <out> --quant q4|q8|f16|f32 [options]

    --quant FORMAT       decoder, embeddings and head; vision tower and projector are kept at 8 bits or more
    --chunk-bytes N      size of the chunk files, a multiple of 4 up to 16777216 (default 8388608)
    --name NAME          the model's name (default: the folder's)
    --license LICENSE    the model's licence, for the manifest
    --force              replace a bundle that is already in <out>";

    pub fn run() -> Result<(), Box<dyn std::error::Error>> {
        let mut args = Arguments::from_env();
        if args.contains(["-h", "--help"]) {
            println!("{HELP}");
            return Ok(());
        }
        let format = args.value_from_fn("--quant", |name| {
            Format::from_name(name).ok_or_else(|| format!("`{name}` is not one of q4, q8, f16, f32"))
        })?;
        let mut options = Options::new(format);
        options.chunk_bytes = args.opt_value_from_str("--chunk-bytes")?.unwrap_or(options.chunk_bytes);
        options.name = args.opt_value_from_str("--name")?;
        options.license = args.opt_value_from_str("--license")?;
        options.force = args.contains("--force");
        let paths = args.finish();
        let [folder, out] = <[_; 2]>::try_from(paths)
            .map_err(|rest| format!("expected <hf-folder> <out> and the options of --help, not {rest:?}"))?;
        println!("{}", hf::convert(&PathBuf::from(folder), &PathBuf::from(out), &options)?);
        Ok(())
    }
}
