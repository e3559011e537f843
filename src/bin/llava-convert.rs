//! Command-line converter: `llava-convert <hf-folder | model.gguf> <out>`, see [`native::HELP`].

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

    use llava_web::convert::{Options, gguf, hf};
    use llava_web::quant::Format;
    use pico_args::Arguments;

    const HELP: &str = "\
Turns a LLaVA-1.5 checkpoint, or a LLaMA decoder alone, into a bundle that the browser loads.

    llava-convert <hf-folder> <out> --quant q4|q8|f16|f32 [options]
    llava-convert <model.gguf> <out> [--mmproj <mmproj.gguf>] [--quant q4|q8|f16|f32] [options]

A Hugging Face folder holds config.json, tokenizer.json and *.safetensors. A GGUF is llama.cpp's, of LLaMA architecture:
with --mmproj a LLaVA-1.5, without it a decoder that answers text prompts. Types read: F32, F16, BF16, Q4_0, Q4_1, Q5_0,
Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.

    --quant FORMAT       decoder, embeddings and head; vision tower and projector are kept at 8 bits or more.
                         Without it a GGUF's matrices keep their format: Q4_0, Q4_1 and Q4_K become q4 and Q8_0 q8 block by
                         block, not quantized a second time; Q5 and Q6 become q8. Those already in the format asked for
                         are carried over likewise.
    --mmproj FILE        the GGUF with vision tower and projector
    --chunk-bytes N      size of the chunk files, a multiple of 4 up to 16777216 (default 8388608)
    --name NAME          the model's name (default: the folder's or file's)
    --license LICENSE    the model's licence, for the manifest
    --force              replace a bundle that is already in <out>";

    pub fn run() -> Result<(), Box<dyn std::error::Error>> {
        let mut args = Arguments::from_env();
        if args.contains(["-h", "--help"]) {
            println!("{HELP}");
            return Ok(());
        }
        let format = args.opt_value_from_fn("--quant", |name| {
            Format::from_name(name).ok_or_else(|| format!("`{name}` is not one of q4, q8, f16, f32"))
        })?;
        let mut options = Options::new(format);
        options.chunk_bytes = args.opt_value_from_str("--chunk-bytes")?.unwrap_or(options.chunk_bytes);
        options.name = args.opt_value_from_str("--name")?;
        options.license = args.opt_value_from_str("--license")?;
        options.force = args.contains("--force");
        let mmproj: Option<PathBuf> = args.opt_value_from_os_str("--mmproj", |path| Ok::<_, String>(path.into()))?;
        let [model, out] = <[_; 2]>::try_from(args.finish())
            .map_err(|rest| format!("expected <hf-folder | model.gguf> <out> and the options of --help, not {rest:?}"))?
            .map(PathBuf::from);
        let is_gguf = model.is_file() || model.extension().is_some_and(|extension| extension == "gguf");
        let summary = match (is_gguf, mmproj) {
            (true, mmproj) => gguf::convert(&model, mmproj.as_deref(), &out, &options)?,
            (false, None) => hf::convert(&model, &out, &options)?,
            (false, Some(_)) => return Err("--mmproj goes with a GGUF file, not with a folder".into()),
        };
        println!("{summary}");
        Ok(())
    }
}
