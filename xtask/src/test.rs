//! `cargo xtask test`: suites of tests, their output passed on as it comes; at the end what failed, once more, and the counts,
//! added up in the last line.

use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{bench, fuzz, package, setup, wasm};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What a suite's runner reported.
#[derive(Default)]
struct Report {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// What it printed about the failed tests.
    failures: Vec<String>,
    /// It is still printing that.
    telling: bool,
    /// Why tests were left out that this machine cannot run.
    left_out: Vec<String>,
}

type Suite = fn(&Paths) -> Result<Report>;
/// What runs where no suite is named.
const SUITES: [(&str, Suite); 7] = [
    ("native", native),
    ("web", web),
    ("node", node),
    ("e2e", e2e),
    ("browsers", browsers),
    ("package", package_quickly),
    ("fuzz", fuzz),
];
/// What runs only where it is named, or in full only then: it takes long, downloads a model, has been seen to hang (headless
/// Firefox), or needs a driver that few machines have (Dawn).
const NAMED: [(&str, Suite); 4] = [("firefox", firefox), ("dawn", dawn), ("package", package), ("--real", real)];
/// Seconds for each fuzz target.
const FUZZ_SECONDS: u32 = 10;
/// Lines about a suite's failed tests that are printed again at the end.
const MOST_LINES: usize = 80;

/// Runs the named suites, or those that always run when none is named. The last line printed is `N passed, N failed`.
pub fn run(paths: &Paths, names: &[OsString]) -> Result<ExitCode> {
    let (mut passed, mut failed) = (0, 0);
    let (mut counts, mut failures) = (String::new(), String::new());
    for (name, suite) in suites(names)? {
        say(format!("suite: {name}"));
        let mut report = suite(paths).unwrap_or_else(|error| Report::failure(format!("error: {error:#}")));
        if report.passed + report.failed == 0 && report.left_out.is_empty() {
            report = Report::failure("no test ran, which proves nothing".into());
        }
        passed += report.passed;
        failed += report.failed;
        counts += &format!("{name}: {} passed, {} failed, {} skipped\n", report.passed, report.failed, report.skipped);
        for why in &report.left_out {
            counts += &format!("{name}: SKIPPED: {why}\n");
        }
        for line in report.failures.iter().take(MOST_LINES) {
            failures += &format!("{name}: {line}\n");
        }
    }
    if !failures.is_empty() {
        print!("\n{failures}");
    }
    print!("\n{counts}");
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The suites of these names in the order of the tables.
fn suites(names: &[OsString]) -> Result<Vec<(&'static str, Suite)>> {
    if names.is_empty() {
        return Ok(SUITES.to_vec());
    }
    let in_full = |name: &str| NAMED.iter().any(|(named, _)| *named == name);
    let mut known: Vec<_> = SUITES.into_iter().filter(|(name, _)| !in_full(name)).chain(NAMED).collect();
    if let Some(unknown) = names.iter().find(|name| !known.iter().any(|(suite, _)| *name == suite)) {
        let there: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        bail!("no test suite `{}`: there are {}", unknown.to_string_lossy(), there.join(", "));
    }
    known.retain(|(suite, _)| names.iter().any(|name| name == suite));
    Ok(known)
}

/// Bits of the vectors in which lavapipe shall run shaders besides those it takes by itself (256): subgroups of 4 and 16 lanes.
const OTHER_WIDTHS: [&str; 2] = ["128", "512"];

/// Unit, kernel, golden and documentation tests on this machine's GPU, or on the software driver where it has none; then the kernels'
/// once more on the software driver, in subgroups of other sizes, and through the compiler of GPUs that are not here.
fn native(paths: &Paths) -> Result<Report> {
    let mut report = count(native_tests(paths, setup::software_driver_wanted()).arg("--no-fail-fast"))?;
    match setup::software_vulkan() {
        Some(driver) => {
            for width in OTHER_WIDTHS {
                say(format!("kernels in vectors of {width} bits"));
                let mut cargo = native_tests(paths, Some(driver.clone()));
                cargo.args(["--test", "kernels", "--", "--include-ignored"]).env("LP_NATIVE_VECTOR_WIDTH", width);
                report.add_all(count(&mut cargo)?);
            }
        }
        None => report.leave_out(
            "kernels in subgroups of other sizes: no software Vulkan driver (Debian: mesa-vulkan-drivers)".into(),
        ),
    }
    match setup::amd_vulkan() {
        Some(driver) => {
            say("kernels through the compiler of AMD GPUs");
            let mut cargo = native_tests(paths, Some(driver));
            cargo.args(["--test", "compilers", "--", "--include-ignored"]);
            report.add_all(count(&mut cargo)?);
        }
        None => report.leave_out(
            "kernels through the compiler of AMD GPUs: no Vulkan driver for these (Debian: mesa-vulkan-drivers)".into(),
        ),
    }
    Ok(report)
}

/// A real model, compared with llama.cpp.
fn real(paths: &Paths) -> Result<Report> {
    let folder = crate::real::folder(paths)?;
    let mut cargo = native_tests(paths, setup::software_driver_wanted());
    count(cargo.args(["--test", "real", "--", "--ignored", "--nocapture"]).env("LLAVA_REAL", folder))
}

/// `cargo test` for this machine, on that Vulkan driver if one is given.
fn native_tests(paths: &Paths, driver: Option<PathBuf>) -> Command {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["test", "--release", "--workspace"]).env("CARGO_TARGET_DIR", &paths.target);
    if let Some(driver) = driver {
        cargo.env("VK_ICD_FILENAMES", driver);
    }
    cargo
}

/// The wasm-bindgen tests, in headless Chromium.
fn web(paths: &Paths) -> Result<Report> {
    count(in_chromium(&mut wasm_tests(paths, "web", &wasm::GPU.features)?)?)
}

/// Wasm-bindgen tests, where they are not for browsers alone, in headless Chromium.
fn in_chromium(tests: &mut Command) -> Result<&mut Command> {
    let tests = tests.args(["--", "--nocapture"]).env("CHROMEDRIVER", setup::chromedriver()?);
    Ok(tests.env("WASM_BINDGEN_USE_BROWSER", "1").env("WASM_BINDGEN_TEST_TIMEOUT", "600"))
}

/// `cargo test` of the wasm-bindgen tests; `wasm-bindgen-test-runner` is in its PATH.
fn wasm_tests(paths: &Paths, test: &str, features: &[&str]) -> Result<Command> {
    setup::wasm_bindgen(paths)?;
    let mut cargo = setup::wasm_toolchain(paths)?.cargo(paths, "test");
    let mut path = vec![paths.tools.join("bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    cargo.args(features).args(["--test", test]).env("PATH", std::env::join_paths(path)?);
    Ok(cargo)
}

/// In Node: the kernels of the CPU, then the tarball, installed.
fn node(paths: &Paths) -> Result<Report> {
    let mut report = count(&mut wasm_tests(paths, "cpu", &wasm::CPU.features)?)?;
    let tarball = package::build(paths)?;
    let mut tests = node_tests(paths, "tests/node", |_| true)?;
    report.add_all(count(tests.env("LLAVA_TARBALL", tarball).env("LLAVA_CONVERT", converter(paths)?))?);
    Ok(report)
}

/// The file of `llava-convert`.
fn converter(paths: &Paths) -> Result<OsString> {
    Ok(bench::program(paths, "llava-web", "llava-convert")?.get_program().to_owned())
}

/// The package's code in headless Chromium.
fn e2e(paths: &Paths) -> Result<Report> {
    package::build(paths)?;
    count(&mut browser_tests(paths, "tests/e2e", |_| true)?)
}

/// Of `tests/e2e`, what Firefox runs too: the whole way with the default model, variants that fail, its own store, its own decoders.
const FIREFOX_E2E: [&str; 4] = ["caption", "formats", "loader", "variants"];

/// The same tests of the kernels and part of those of the package in Firefox: another compiler of shaders, another driver.
fn firefox(paths: &Paths) -> Result<Report> {
    let firefox = &setup::firefox()?;
    let runner = format!("node {}", paths.root.join("tests/firefox/runner.mjs").display());
    let mut kernels = wasm_tests(paths, "web", &wasm::GPU.features)?;
    kernels.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    package::build(paths)?;
    let named = |file: &Path| FIREFOX_E2E.iter().any(|name| file.ends_with(format!("{name}.test.mjs")));
    let mut e2e = browser_tests(paths, "tests/e2e", named)?;
    let mut report = Report::default();
    for tests in [&mut kernels, e2e.env("LLAVA_BROWSER", "firefox")] {
        tests.env("LLAVA_FIREFOX", firefox);
        if let Some(driver) = setup::software_driver_wanted() {
            tests.env("VK_ICD_FILENAMES", driver);
        }
        if let Some(options) = setup::node_options_for_websocket() {
            tests.env("NODE_OPTIONS", options);
        }
        report.add_all(count(tests)?);
    }
    Ok(report)
}

/// The same tests of the kernels in Node on Dawn: with what Chromium keeps back so far, on drivers that it refuses.
fn dawn(paths: &Paths) -> Result<Report> {
    let runner = format!("node {}", paths.root.join("tests/dawn/runner.mjs").display());
    let mut kernels = wasm_tests(paths, "web", &wasm::GPU.features)?;
    kernels.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner).env("LLAVA_DAWN", setup::dawn(paths)?);
    count(&mut kernels)
}

/// The kernels of the CPU in headless Chromium; the demo in browsers as visitors have them, without a GPU; and what the CPU's engine makes
/// of checkpoints there.
fn browsers(paths: &Paths) -> Result<Report> {
    let mut report = count(in_chromium(&mut wasm_tests(paths, "cpu", &wasm::CPU.features)?)?)?;
    package::build(paths)?;
    let mut tests = browser_tests(paths, "tests/browsers", |_| true)?;
    tests.env("LLAVA_CONVERT", converter(paths)?);
    let mut missing = Vec::new();
    match setup::firefox() {
        Ok(firefox) => _ = tests.env("LLAVA_FIREFOX", firefox),
        Err(error) => missing.push(("Firefox", error)),
    }
    if let Err(error) = setup::webkit() {
        missing.push(("WebKit", error));
    }
    for (name, error) in &missing {
        say(format!("{name} is left out: {error:#}"));
    }
    let missing: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    tests.env("LLAVA_MISSING_BROWSERS", missing.join(","));
    if let Some(options) = setup::node_options_for_websocket() {
        tests.env("NODE_OPTIONS", options);
    }
    report.add_all(count(&mut tests)?);
    Ok(report)
}

/// The tarball, installed in apps: those that belong to every run.
fn package_quickly(paths: &Paths) -> Result<Report> {
    let tarball = package::build(paths)?;
    package::weigh(paths)?;
    count(browser_tests(paths, "tests/package", |_| true)?.env("LLAVA_TARBALL", tarball))
}

/// The tarball, installed in apps of every kind.
fn package(paths: &Paths) -> Result<Report> {
    let tarball = package::build(paths)?;
    count(
        browser_tests(paths, "tests/package", |_| true)?
            .env("LLAVA_TARBALL", tarball)
            .env("LLAVA_PACKAGE_TESTS", "everything"),
    )
}

/// Node's test runner on those tests of a folder that are `wanted`.
fn node_tests(paths: &Paths, folder: &str, wanted: impl Fn(&Path) -> bool) -> Result<Command> {
    let entries = fs::read_dir(paths.root.join(folder)).context(folder.to_owned())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs") && wanted(file));
    files.sort();
    if files.is_empty() {
        bail!("no {folder}/*.test.mjs");
    }
    let mut node = Command::new("node");
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]).args(files);
    node.current_dir(&paths.root);
    Ok(node)
}

/// The same with a browser for them.
fn browser_tests(paths: &Paths, folder: &str, wanted: impl Fn(&Path) -> bool) -> Result<Command> {
    let mut node = node_tests(paths, folder, wanted)?;
    node.env("LLAVA_CHROMIUM", setup::browser()?);
    Ok(node)
}

/// The fuzz targets, briefly: one test each.
fn fuzz(paths: &Paths) -> Result<Report> {
    let targets = fuzz::targets(paths)?;
    let found = fuzz::findings(paths, &targets, FUZZ_SECONDS)?;
    let failed = found.len() as u64;
    Ok(Report { passed: targets.len() as u64 - failed, failed, failures: found, ..Report::default() })
}

/// Runs a test runner, passing on what it prints, and adds up the counts in it. A runner that ends badly without
/// having reported a failure (it did not compile, it crashed) counts as one.
fn count(runner: &mut Command) -> Result<Report> {
    let mut child = shell::start(runner.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = child.stdout.take().context("the runner has no output")?;
    let mut report = Report::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        report.add_line(&line);
    }
    let status = child.wait()?;
    if !status.success() && report.failed == 0 {
        report.failed = 1;
        report.failures.push(format!("the runner ended with {status}"));
    }
    Ok(report)
}

impl Report {
    fn failure(why: String) -> Self {
        Self { failed: 1, failures: vec![why], ..Self::default() }
    }

    /// Tests that this machine cannot run count as one that was skipped.
    fn leave_out(&mut self, why: String) {
        say(format!("SKIPPED: {why}"));
        self.skipped += 1;
        self.left_out.push(why);
    }

    /// Adds what another runner reported.
    fn add_all(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.left_out.extend(other.left_out);
    }

    /// Takes in one line of output: libtest's and wasm-bindgen-test's `test result: ...`, or node's `ℹ pass 3`, and
    /// what each prints between its list of failures' heading and its end.
    fn add_line(&mut self, line: &str) {
        let text = line.trim();
        if let Some((_, result)) = text.strip_prefix("test result: ").and_then(|result| result.split_once(". ")) {
            self.telling = false;
            for part in result.split(';') {
                if let Some((number, what)) = part.trim().split_once(' ') {
                    self.add(what, number);
                }
            }
        } else if let Some((what, number)) = text.strip_prefix("ℹ ").and_then(|summary| summary.split_once(' ')) {
            self.add(what, number);
        } else if ["failures:", "✖ failing tests:"].contains(&text) {
            self.telling = true;
        } else if self.telling && !text.is_empty() {
            self.failures.push(line.into());
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
    use super::{Report, package, package_quickly, suites};

    fn report(output: &str) -> Report {
        let mut report = Report::default();
        output.lines().for_each(|line| report.add_line(line));
        report
    }

    #[test]
    fn a_suite_that_is_named_runs_in_full() {
        let chosen = |names: &[&str]| suites(&names.iter().map(Into::into).collect::<Vec<_>>());
        let quick = chosen(&[]).unwrap();
        assert!(quick.iter().any(|(_, suite)| std::ptr::fn_addr_eq(*suite, package_quickly as super::Suite)));
        assert!(!quick.iter().any(|(name, _)| *name == "--real"));
        let [(name, suite)] = chosen(&["package"]).unwrap()[..] else { panic!("one suite") };
        assert!(name == "package" && std::ptr::fn_addr_eq(suite, package as super::Suite));
        assert_eq!(
            chosen(&["--real", "web"]).unwrap().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["web", "--real"]
        );
        assert!(
            chosen(&["wep"])
                .unwrap_err()
                .to_string()
                .ends_with("`wep`: there are native, web, node, e2e, browsers, fuzz, firefox, dawn, package, --real")
        );
    }

    #[test]
    fn what_cannot_run_here_is_skipped_and_said_never_passed() {
        let mut all = report("test result: ok. 2 passed; 0 failed; 0 ignored;\n");
        let mut missing = Report::default();
        missing.leave_out("no Firefox".into());
        all.add_all(missing);
        assert_eq!([all.passed, all.failed, all.skipped], [2, 0, 1]);
        assert_eq!(all.left_out, ["no Firefox"]);
    }

    #[test]
    fn libtest_binaries_add_up_and_their_failures_are_kept() {
        let report = report(
            "running 3 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
            test it ... FAILED\n\
            failures:\n\n---- it stdout ----\npanicked\n\n\nfailures:\n    it\n\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.10s\n\
            error: 1 target failed\n",
        );
        assert_eq!([report.passed, report.failed, report.skipped], [15, 2, 1]);
        assert_eq!(report.failures, ["---- it stdout ----", "panicked", "    it"]);
    }

    #[test]
    fn node_summaries_are_read_and_other_lines_are_not() {
        let report = report(
            "✔ pass 7 things (3ms)\nℹ tests 5\nℹ suites 0\nℹ pass 3\nℹ fail 1\nℹ cancelled 1\nℹ skipped 0\n\n\
            ✖ failing tests:\n\ntest at a.test.mjs:3:1\n✖ it (2ms)\n  AssertionError\n",
        );
        assert_eq!([report.passed, report.failed, report.skipped], [3, 2, 0]);
        assert_eq!(report.failures, ["test at a.test.mjs:3:1", "✖ it (2ms)", "  AssertionError"]);
    }
}
