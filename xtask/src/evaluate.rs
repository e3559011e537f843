//! `cargo xtask evaluate`: the default model's scores, through the real engine on this machine's GPU or in software.

use crate::paths::Paths;
use crate::setup;
use crate::shell::{self, say};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What `training/evaluate.py score` imports, in the versions of `training/requirements.txt`.
const SCORING: &[&str] = &["numpy==2.4.6", "pillow==13.0.0", "skia-python==144.1"];

/// The default model as one bundle, as the package has it.
fn default_model(paths: &Paths) -> Result<PathBuf> {
    let out = paths.target.join("default-model");
    let mut pair = crate::cargo_run(paths, "llava-convert");
    shell::run(pair.arg("pair").arg(paths.root.join("models/default.json")).arg(&out).arg("--force"))?;
    Ok(out)
}

/// Writes the answers beside the set's inputs, `outputs-native.jsonl`, and has them scored.
pub fn run(paths: &Paths, args: Vec<OsString>) -> Result<()> {
    let mut args = pico_args::Arguments::from_vec(args);
    let path = |text: &std::ffi::OsStr| Ok::<_, String>(PathBuf::from(text));
    let model = args.opt_value_from_os_str("--model", path)?;
    let model = match model {
        Some(model) => model,
        None => default_model(paths)?,
    };
    let set: PathBuf = args.free_from_os_str(path).context("which set? see training/README.md")?;
    if let [unknown, ..] = &args.finish()[..] {
        bail!("`{}` is not known here", unknown.to_string_lossy());
    }
    let inputs = set.join("inputs.jsonl");
    if !inputs.is_file() {
        bail!("no {}: `training/evaluate.py inputs` makes it, see training/README.md", inputs.display());
    }
    let python = setup::python(&paths.cache.join("evaluate"), &[SCORING])?;
    let outputs = set.join("outputs-native.jsonl");
    let mut describe = crate::cargo_run(paths, "llava-describe");
    if let Some(driver) = setup::software_driver_wanted() {
        describe.env("VK_ICD_FILENAMES", driver);
    }
    describe.arg(&model).arg(&inputs);
    say(format!("answering {} with {}", inputs.display(), model.display()));
    let answers = File::create(&outputs).with_context(|| outputs.display().to_string())?;
    let status = shell::start(describe.stdin(Stdio::null()).stdout(answers))?.wait()?;
    if !status.success() {
        bail!("the answers end early: {status}");
    }
    let evaluate = paths.root.join("training/evaluate.py");
    shell::run_shown(Command::new(python).arg(evaluate).arg("score").arg(&set).arg(&outputs))
}
