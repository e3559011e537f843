//! `cargo xtask bench --load MODEL`: a model of full size with random weights, loaded by the built package in headless
//! Chromium, its answer beside the native build's.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::{chromium_swiftshader, program};
use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{package, setup};

const PROMPT: &str = "Hello";
/// Room for a picture's 576 positions and a few words: the cache must not hide what the weights take.
const CONTEXT_LENGTH: &str = "592";

pub fn run(paths: &Paths, args: &[OsString]) -> Result<ExitCode> {
    let mut args = pico_args::Arguments::from_vec(args.to_vec());
    let model: String = args.value_from_str("--load")?;
    let kills: String = args.opt_value_from_str("--kills")?.unwrap_or_else(|| "10".into());
    let (json, hardware) = (args.contains("--json"), args.contains("--hardware"));
    let context: String = args.opt_value_from_str("--context-length")?.unwrap_or_else(|| CONTEXT_LENGTH.into());
    if let Some(unknown) = args.finish().first() {
        let known = "--load MODEL goes with --kills N, --context-length N, --hardware and --json";
        bail!("unknown option {}: {known}", unknown.to_string_lossy());
    }
    let geometry = match model.as_str() {
        "7b" | "13b" => format!("llava-1.5-{model}"),
        _ => model,
    };
    let name = Path::new(&geometry).file_name().context("--load: which model?")?.to_string_lossy().into_owned();
    let folder = paths.cache.join("synthetic");
    let bundle = folder.join(format!("{name}-q4"));
    if !bundle.join("manifest.json").is_file() {
        say("making the model");
        fs::create_dir_all(&bundle)?;
        let mut convert = program(paths, "llava-web", "llava-convert")?;
        shell::run_shown(convert.args(["synthetic", &geometry]).arg(&bundle).args(["--quant", "q4"]))?;
    }
    package::build(paths)?;
    let mut native = program(paths, "llava-bench", "llava-bench")?;
    if !hardware {
        native.env("VK_ICD_FILENAMES", chromium_swiftshader()?);
    }
    say("asking the native build");
    native.arg("--answer").arg(&bundle).args(["--prompt", PROMPT, "--context-length", &context]);
    let answer = shell::output(&mut native).context("the native build gave no answer")?;
    say(format!("it says {answer}"));
    let tokens = folder.join(format!("{name}-q4-answer.json"));
    fs::write(&tokens, answer)?;
    let mut node = Command::new("node");
    node.arg(paths.root.join("benches/load.mjs")).env("LLAVA_CHROMIUM", setup::browser()?);
    node.arg("--bundle").arg(&bundle).arg("--tokens").arg(&tokens).args(["--kills", &kills]);
    node.args(["--context-length", &context]).args(json.then_some("--json")).args(hardware.then_some("--hardware"));
    crate::become_program(&mut node)
}
