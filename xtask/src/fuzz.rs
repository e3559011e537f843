//! `cargo xtask fuzz`: hands damaged files to every parser of foreign bytes, steered by the branches they take.

use crate::paths::Paths;
use crate::setup;
use crate::shell::{self, say};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// Seconds for each target where none are asked for.
const SECONDS: u32 = 60;
/// Seconds that one input may take.
const SLOWEST: u32 = 10;

/// `[target ...] [--seconds N]`: all targets when none is named.
pub fn run(paths: &Paths, args: &[OsString]) -> Result<()> {
    let mut args = pico_args::Arguments::from_vec(args.to_vec());
    let seconds = args.opt_value_from_str("--seconds")?.unwrap_or(SECONDS);
    let named = args.finish().into_iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let all = targets(paths)?;
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target `{unknown}`: there are {}", all.join(", "));
    }
    let chosen = if named.is_empty() { all } else { named };
    let found = findings(paths, &chosen, seconds)?;
    if !found.is_empty() {
        bail!(
            "the fuzzer has findings for {}; the input that `Test unit written to` names shows each",
            found.join(", ")
        );
    }
    Ok(())
}

/// The names of all targets.
pub fn targets(paths: &Paths) -> Result<Vec<String>> {
    let folder = paths.root.join("fuzz/corpus");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Runs each target on its stored inputs and then, for `seconds`, on what libFuzzer makes of them; returns those with
/// findings. Inputs that take new branches are kept in the build folder, and the next run starts from them too.
pub fn findings(paths: &Paths, targets: &[String], seconds: u32) -> Result<Vec<String>> {
    setup::cpp_compiler()?;
    say("compiling the fuzz targets");
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["build", "--release", "--package", "llava-web-fuzz", "--bins"]);
    cargo.env("CARGO_TARGET_DIR", &paths.target);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", paths.root.join("fuzz/rustc-with-coverage"));
    shell::run(&mut cargo)?;
    let mut found = Vec::new();
    for target in targets {
        let (kept, written) = (paths.target.join("fuzz/kept").join(target), paths.target.join("fuzz/findings"));
        fs::create_dir_all(&kept)?;
        fs::create_dir_all(&written)?;
        say(format!("fuzzing {target} for {seconds} s"));
        let mut fuzzer = Command::new(paths.target.join(format!("release/fuzz-{target}")));
        fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={SLOWEST}"));
        fuzzer.args(["-verbosity=0", "-print_final_stats=1"]);
        fuzzer.arg(format!("-artifact_prefix={}/{target}-", written.display()));
        let dictionary = paths.root.join("fuzz/dictionaries").join(target);
        if dictionary.exists() {
            fuzzer.arg(format!("-dict={}", dictionary.display()));
        }
        fuzzer.arg(kept).arg(paths.root.join("fuzz/corpus").join(target));
        if let Err(error) = shell::run(&mut fuzzer) {
            say(format!("{error:#}"));
            found.push(target.clone());
        }
    }
    Ok(found)
}
