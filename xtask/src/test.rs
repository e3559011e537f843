//! `cargo xtask test`: four suites, and one more on demand, their output passed on as it comes, their counts added up in the last line.

use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{fuzz, setup, wasm};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// What a suite's runner reported.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

type Suite = fn(&Paths) -> Result<Counts>;
const SUITES: [(&str, Suite); 4] = [("native", native), ("web", web), ("e2e", e2e), ("fuzz", fuzz)];
/// Seconds for each fuzz target.
const FUZZ_SECONDS: u32 = 10;
/// Runs only where it is asked for: it downloads a model.
const REAL: (&str, Suite) = ("--real", real);

/// Runs the named suites (all but the one on demand when none is named). The last line printed is `N passed, N failed`.
pub fn run(paths: &Paths, names: &[OsString]) -> Result<ExitCode> {
    let known = || SUITES.iter().chain([&REAL]);
    if let Some(unknown) = names.iter().find(|name| !known().any(|(suite, _)| *name == suite)) {
        bail!("no test suite `{}`: there are native, web, e2e, fuzz and --real", unknown.to_string_lossy());
    }
    let mut total = Counts::default();
    let mut lines = Vec::new();
    let asked = |suite: &&(&str, Suite)| match names.is_empty() {
        true => suite.0 != REAL.0,
        false => names.iter().any(|name| name == suite.0),
    };
    for (name, suite) in known().filter(asked) {
        say(format!("suite: {name}"));
        let counts = suite(paths).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Counts::default()
        });
        let mut line =
            format!("{name}: {} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
        total.passed += counts.passed;
        total.failed += counts.failed;
        if counts.passed + counts.failed == 0 {
            // A suite that ran nothing proves nothing.
            line += " (ran no test: counted as one failure)";
            total.failed += 1;
        }
        lines.push(line);
    }
    println!("\n{}", lines.join("\n"));
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(ExitCode::from(u8::from(total.failed > 0)))
}

/// Unit, kernel, golden and documentation tests on this machine's GPU, or on the software driver where it has none.
fn native(paths: &Paths) -> Result<Counts> {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["test", "--release", "--workspace", "--no-fail-fast"]);
    cargo.env("CARGO_TARGET_DIR", &paths.target);
    if let Some(driver) = setup::software_driver_wanted() {
        cargo.env("VK_ICD_FILENAMES", driver);
    }
    count(&mut cargo)
}

/// A real model, compared with llama.cpp.
fn real(paths: &Paths) -> Result<Counts> {
    let folder = crate::real::folder(paths)?;
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["test", "--release", "--test", "real", "--", "--ignored", "--nocapture"]);
    cargo.env("CARGO_TARGET_DIR", &paths.target).env("LLAVA_REAL", folder);
    if let Some(driver) = setup::software_driver_wanted() {
        cargo.env("VK_ICD_FILENAMES", driver);
    }
    count(&mut cargo)
}

/// The wasm-bindgen tests, in headless Chromium.
fn web(paths: &Paths) -> Result<Counts> {
    setup::wasm_bindgen(paths)?;
    let chromedriver = setup::chromedriver()?;
    let mut cargo = setup::wasm_toolchain(paths)?.cargo(paths, "test");
    let mut path = vec![paths.tools.join("bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    cargo
        .args(["--test", "web", "--", "--nocapture"])
        .env("PATH", std::env::join_paths(path)?)
        .env("CHROMEDRIVER", chromedriver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "600");
    count(&mut cargo)
}

/// The built package in headless Chromium.
fn e2e(paths: &Paths) -> Result<Counts> {
    wasm::build(paths)?;
    let entries = fs::read_dir(paths.root.join("tests/e2e")).context("tests/e2e")?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    if files.is_empty() {
        bail!("no tests/e2e/*.test.mjs");
    }
    let mut node = Command::new("node");
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]).args(files);
    count(node.current_dir(&paths.root).env("LLAVA_CHROMIUM", setup::browser()?))
}

/// The fuzz targets, briefly: one test each.
fn fuzz(paths: &Paths) -> Result<Counts> {
    let targets = fuzz::targets(paths)?;
    let found = fuzz::findings(paths, &targets, FUZZ_SECONDS)?.len() as u64;
    Ok(Counts { passed: targets.len() as u64 - found, failed: found, skipped: 0 })
}

/// Runs a test runner, passing on what it prints, and adds up the counts in it. A runner that ends badly without
/// having reported a failure (it did not compile, it crashed) counts as one.
fn count(runner: &mut Command) -> Result<Counts> {
    let mut child = shell::start(runner.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = child.stdout.take().context("the runner has no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.add_line(&line);
    }
    if !child.wait()?.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

impl Counts {
    /// Takes in one line of output: libtest's and wasm-bindgen-test's `test result: ...`, or node's `ℹ pass 3`.
    fn add_line(&mut self, line: &str) {
        let line = line.trim();
        if let Some((_, result)) = line.strip_prefix("test result: ").and_then(|result| result.split_once(". ")) {
            for part in result.split(';') {
                if let Some((number, what)) = part.trim().split_once(' ') {
                    self.add(what, number);
                }
            }
        } else if let Some((what, number)) = line.strip_prefix("ℹ ").and_then(|summary| summary.split_once(' ')) {
            self.add(what, number);
        }
    }

    fn add(&mut self, what: &str, number: &str) {
        let Ok(number) = number.parse::<u64>() else { return };
        match what {
            "passed" | "pass" => self.passed += number,
            "failed" | "fail" | "cancelled" => self.failed += number,
            "ignored" | "skipped" => self.skipped += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn counts(output: &str) -> [u64; 3] {
        let mut counts = Counts::default();
        output.lines().for_each(|line| counts.add_line(line));
        [counts.passed, counts.failed, counts.skipped]
    }

    #[test]
    fn libtest_binaries_add_up() {
        let output = "running 3 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.10s\n";
        assert_eq!(counts(output), [15, 2, 1]);
    }

    #[test]
    fn node_summaries_are_read_and_other_lines_are_not() {
        let output = "✔ pass 7 things (3ms)\nℹ tests 5\nℹ suites 0\nℹ pass 3\nℹ fail 1\nℹ cancelled 1\nℹ skipped 0\n";
        assert_eq!(counts(output), [3, 2, 0]);
    }
}
