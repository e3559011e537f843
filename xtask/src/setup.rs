//! What a bare machine lacks: a wasm standard library, wasm-bindgen, npm packages, a browser, a Vulkan driver.
//! Every function looks first, installs only what is missing, and ends in an error that names what to install by hand.

use crate::paths::Paths;
use crate::shell::{self, say};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Brings the machine to where every other command finds what it needs.
pub fn everything(paths: &Paths) -> Result<()> {
    let toolchain = wasm_toolchain(paths)?;
    say(format!("wasm32 standard library: {}", toolchain.description()));
    toolchain.with_threads();
    say(format!("wasm-bindgen {} in {}", wasm_bindgen(paths)?, paths.tools.display()));
    npm_packages(paths)?;
    say("npm packages: as in www/package-lock.json");
    say(format!("browser: {}", browser()?.display()));
    say(format!("WebDriver: {}", chromedriver()?.display()));
    match firefox() {
        Ok(firefox) => say(format!("second browser: {}", firefox.display())),
        Err(error) => say(format!("{error:#}")),
    }
    match webkit() {
        Ok(()) => say("third browser: WebKit"),
        Err(error) => say(format!("{error:#}")),
    }
    cpp_compiler()?;
    match software_vulkan() {
        Some(driver) => say(format!("software Vulkan driver: {}", driver.display())),
        None => say("no software Vulkan driver found: native tests need a GPU with a Vulkan, Metal or DX12 driver"),
    }
    say(format!("build folder: {}", paths.target.display()));
    Ok(())
}

// ---- the wasm32 standard library ----

const WASM: &str = "wasm32-unknown-unknown";
/// Debian's Rust for the web; its LLVM's linker is a package of its own.
const DEBIAN_RUST: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// What compiles for wasm32.
pub struct WasmToolchain {
    compiler: Compiler,
    /// Whether threads share memory: the standard library is built for it, too.
    threads: bool,
    /// The build folder: one for each compiler and kind of memory, so that none throws away what another has built.
    target: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Compiler {
    /// The toolchain that runs this program: it has a wasm32 standard library.
    Own,
    /// Debian's rustc and cargo, which build the standard library from its sources.
    Debian,
}

/// For rustc: instructions that threads need, a memory that the page makes, of up to all that can be addressed, and what
/// wasm-bindgen asks for to start a thread.
const THREADS: &str = r#"target.wasm32-unknown-unknown.rustflags=["-Ctarget-feature=+atomics,+bulk-memory", "-Clink-args=--shared-memory --import-memory --max-memory=4294967296 --export=__wasm_init_tls --export=__tls_size --export=__tls_align --export=__tls_base --export=__heap_base"]"#;

impl WasmToolchain {
    /// `cargo <subcommand>` for wasm32 with the profile `wasm`, as this toolchain needs it.
    pub fn cargo(&self, paths: &Paths, subcommand: &str) -> Command {
        let debian = self.compiler == Compiler::Debian;
        let mut command = if debian { Command::new(DEBIAN_CARGO) } else { Command::new(cargo()) };
        command.current_dir(&paths.root).arg(subcommand).args(["--target", WASM, "--profile", "wasm"]);
        if debian || self.threads {
            // -Z on a release compiler.
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        if self.threads {
            // Of what std has in a fast and a small form, small: the engine sorts and prints little.
            command.args(["-Zbuild-std-features=optimize_for_size", "--config", THREADS]);
        }
        if debian {
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTDOC", "/usr/bin/rustdoc")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER)
                // `cargo run` pointed these at the other toolchain.
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("LD_LIBRARY_PATH");
        }
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Where cargo puts what it builds.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The same with threads, which take the standard library's sources, brought by rustup where they are missing; where they cannot be
    /// had, itself.
    pub fn with_threads(self) -> Self {
        if self.compiler == Compiler::Own && !own_sources() {
            say("asking rustup for the standard library's sources");
            let mut rustup = Command::new("rustup");
            let added = shell::run_within(rustup.args(["component", "add", "rust-src"]), Duration::from_secs(180));
            if added.is_err() || !own_sources() {
                say(
                    "they cannot be had: the CPU's engine does without threads (`rustup component add rust-src` brings them)",
                );
                return self;
            }
        }
        Self { threads: true, target: self.target.join("threads"), ..self }
    }

    fn description(&self) -> &'static str {
        match self.compiler {
            Compiler::Own => "the toolchain's own",
            Compiler::Debian => "built from Debian's rust-web-src",
        }
    }
}

/// A toolchain that can build for wasm32: the one in use, with rustup's help if need be; else Debian's.
/// `LLAVA_WASM_TOOLCHAIN` (`rustup` or `debian`) leaves only one of the two to choose.
pub fn wasm_toolchain(paths: &Paths) -> Result<WasmToolchain> {
    let wanted = env::var("LLAVA_WASM_TOOLCHAIN").ok();
    let allowed = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let own = || WasmToolchain { compiler: Compiler::Own, threads: false, target: paths.target.clone() };
    let debian = || WasmToolchain { compiler: Compiler::Debian, threads: false, target: paths.target.join("debian") };

    if allowed("rustup") && own_wasm_std() {
        return Ok(own());
    }
    if allowed("debian") && debian_rust_is_here() {
        return Ok(debian());
    }
    if allowed("rustup") && shell::in_path(&["rustup"]).is_some() {
        say("asking rustup for the wasm32 standard library");
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", WASM]);
        match shell::run_within(&mut rustup, Duration::from_secs(180)) {
            Ok(()) if own_wasm_std() => return Ok(own()),
            Ok(()) => say("rustup says it is done, but the toolchain in use still lacks it"),
            Err(error) => say(format!("rustup cannot: {error:#}")),
        }
    }
    if allowed("debian") && can_apt() {
        say("installing Debian's Rust for the web");
        apt_install(&DEBIAN_RUST)?;
        if debian_rust_is_here() {
            return Ok(debian());
        }
    }
    bail!(
        "no wasm32 standard library. Run `rustup target add {WASM}`, or on Debian as root `apt-get install {}`",
        DEBIAN_RUST.join(" ")
    )
}

/// The cargo that runs this program.
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn own_wasm_std() -> bool {
    in_own_sysroot(&format!("lib/rustlib/{WASM}/lib"))
}

fn own_sources() -> bool {
    in_own_sysroot("lib/rustlib/src/rust/library/std/Cargo.toml")
}

fn in_own_sysroot(path: &str) -> bool {
    shell::output(Command::new("rustc").args(["--print", "sysroot"]))
        .is_some_and(|sysroot| Path::new(&sysroot).join(path).exists())
}

fn debian_rust_is_here() -> bool {
    [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_SOURCES, DEBIAN_LINKER].iter().all(|file| Path::new(file).exists())
}

// ---- wasm-bindgen ----

/// Installs the wasm-bindgen CLI (with its test runner) of exactly the locked version; returns that version.
pub fn wasm_bindgen(paths: &Paths) -> Result<String> {
    let lock = fs::read_to_string(paths.root.join("Cargo.lock")).context("Cargo.lock")?;
    let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock does not name wasm-bindgen")?.to_string();
    let installed = shell::output(Command::new(paths.tools.join("bin/wasm-bindgen")).arg("--version"));
    if installed.as_deref() != Some(&format!("wasm-bindgen {version}")) {
        say(format!("installing wasm-bindgen {version} (about two minutes)"));
        // Not `--locked`: the lock file published with it has a dead entry.
        let mut install = Command::new(cargo());
        install.args(["install", "wasm-bindgen-cli", "--force", "--version", &version, "--root"]).arg(&paths.tools);
        shell::run(install.env("CARGO_TARGET_DIR", paths.tools.join("build")))?;
        fs::remove_dir_all(paths.tools.join("build"))?;
    }
    Ok(version)
}

/// The version of `package` in a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let after_name = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    after_name.split('"').next()
}

// ---- npm ----

/// Installs the JS package's development packages exactly as locked; does nothing when they are there.
pub fn npm_packages(paths: &Paths) -> Result<()> {
    let node =
        shell::output(Command::new("node").arg("--version")).context("Node.js is missing: install Node 20 or newer")?;
    let major: u32 = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < 20 {
        bail!("Node.js {node} is too old: install Node 20 or newer");
    }
    let lock = fs::read(paths.www.join("package-lock.json")).context("www/package-lock.json")?;
    let stamp = paths.www.join("node_modules/.installed-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("installing npm packages");
    // On Windows npm is a script, which only the shell finds.
    let mut npm = npm();
    shell::run(npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&paths.www))?;
    fs::write(&stamp, lock)?;
    Ok(())
}

/// Dawn for Node, which one suite of tests runs on: a hundred megabytes, so it is no package that all who build install.
pub fn dawn(paths: &Paths) -> Result<PathBuf> {
    const VERSION: &str = "0.6.2";
    let folder = paths.tools.join(format!("dawn-{VERSION}"));
    let file = folder.join("node_modules/webgpu/index.js");
    if !file.is_file() {
        say("installing Dawn");
        fs::create_dir_all(&folder)?;
        let package = format!("webgpu@{VERSION}");
        shell::run(
            npm()
                .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
                .arg(&folder)
                .arg(package),
        )?;
    }
    Ok(file)
}

/// `npm`, by the name the system knows it by.
pub fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

// ---- browser and Vulkan ----

/// A Chromium or Chrome: `LLAVA_CHROMIUM` or `CHROME`, else one in its usual place, else Debian's, installed.
pub fn browser() -> Result<PathBuf> {
    if let Some(file) = ["LLAVA_CHROMIUM", "CHROME"].iter().find_map(env::var_os) {
        let file = PathBuf::from(file);
        return if file.is_file() { Ok(file) } else { bail!("LLAVA_CHROMIUM or CHROME: no file {}", file.display()) };
    }
    installed_browser().or_else(|| install_browser().and_then(|()| installed_browser())).context(
        "no Chromium or Chrome: install one (on Debian `apt-get install chromium chromium-driver`), or set LLAVA_CHROMIUM",
    )
}

/// The WebDriver that belongs to the browser: `CHROMEDRIVER`, else the one in PATH, else Debian's, installed.
pub fn chromedriver() -> Result<PathBuf> {
    if let Some(file) = env::var_os("CHROMEDRIVER") {
        return Ok(file.into());
    }
    let installed = || shell::in_path(&["chromedriver"]);
    installed().or_else(|| install_browser().and_then(|()| installed())).context(
        "no chromedriver: install the one of your Chrome's version (on Debian `apt-get install chromium-driver`), or set CHROMEDRIVER",
    )
}

fn installed_browser() -> Option<PathBuf> {
    let usual = [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    ];
    shell::in_path(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"])
        .or_else(|| usual.iter().map(PathBuf::from).find(|file| file.is_file()))
}

fn install_browser() -> Option<()> {
    if !can_apt() {
        return None;
    }
    say("installing Chromium and its WebDriver");
    apt_install(&["chromium", "chromium-driver"]).map_err(|error| say(format!("{error:#}"))).ok()
}

/// A Firefox: `LLAVA_FIREFOX`, else one in its usual place, else Debian's, installed.
pub fn firefox() -> Result<PathBuf> {
    if let Some(file) = env::var_os("LLAVA_FIREFOX").map(PathBuf::from) {
        return if file.is_file() { Ok(file) } else { bail!("LLAVA_FIREFOX: no file {}", file.display()) };
    }
    let usual = ["/Applications/Firefox.app/Contents/MacOS/firefox", r"C:\Program Files\Mozilla Firefox\firefox.exe"];
    let installed = || {
        shell::in_path(&["firefox-esr", "firefox"])
            .or_else(|| usual.iter().map(PathBuf::from).find(|file| file.is_file()))
    };
    if installed().is_none() && can_apt() {
        say("installing Firefox");
        apt_install(&["firefox-esr"]).unwrap_or_else(|error| say(format!("{error:#}")));
    }
    installed().context(
        "no Firefox, which runs part of the tests: install it (on Debian `apt-get install firefox-esr`), or set LLAVA_FIREFOX",
    )
}

/// WebKit, Safari's engine, with what drives it and the screen that it needs.
pub fn webkit() -> Result<()> {
    let installed = || ["WebKitWebDriver", "Xvfb"].iter().all(|program| shell::in_path(&[program]).is_some());
    if !installed() && can_apt() {
        say("installing WebKit");
        apt_install(&["webkit2gtk-driver", "xvfb"]).unwrap_or_else(|error| say(format!("{error:#}")));
    }
    if !installed() {
        bail!("no WebKit with its driver: on Debian `apt-get install webkit2gtk-driver xvfb`");
    }
    Ok(())
}

/// What NODE_OPTIONS must hold for Node to have `WebSocket`: Node 20 has it on request only.
pub fn node_options_for_websocket() -> Option<&'static str> {
    let known = shell::output(Command::new("node").args(["-p", "typeof WebSocket"]));
    (known.as_deref() == Some("undefined")).then_some("--experimental-websocket")
}

/// Mesa's software Vulkan driver (lavapipe), installed where that is possible: the file the Vulkan loader reads.
pub fn software_vulkan() -> Option<PathBuf> {
    mesa_driver("lvp_icd")
}

/// Mesa's driver for AMD GPUs (RADV), which compiles without one: the same.
pub fn amd_vulkan() -> Option<PathBuf> {
    mesa_driver("radeon_icd")
}

fn mesa_driver(name: &str) -> Option<PathBuf> {
    let installed = || {
        let folder = fs::read_dir("/usr/share/vulkan/icd.d").ok()?;
        let files = folder.filter_map(|entry| Some(entry.ok()?.path()));
        files.into_iter().find(|file| file.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
    };
    if installed().is_none() && can_apt() {
        say("installing Mesa's Vulkan drivers");
        apt_install(&["mesa-vulkan-drivers", "libvulkan1"]).map_err(|error| say(format!("{error:#}"))).ok()?;
    }
    installed()
}

/// The software Vulkan driver, on a Linux machine that has no graphics device and whose user has not chosen a driver.
pub fn software_driver_wanted() -> Option<PathBuf> {
    let chosen = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"].iter().any(|name| env::var_os(name).is_some());
    let device = ["/dev/dri", "/dev/nvidia0"].iter().any(|device| Path::new(device).exists());
    if !cfg!(target_os = "linux") || chosen || device { None } else { software_vulkan() }
}

// ---- C++ ----

/// The C++ compiler that libFuzzer is built with, installed where that is possible.
pub fn cpp_compiler() -> Result<()> {
    let installed = || env::var_os("CXX").is_some() || shell::in_path(&["c++", "g++", "clang++"]).is_some();
    if !installed() && can_apt() {
        say("installing a C++ compiler");
        apt_install(&["g++"])?;
    }
    if !installed() {
        bail!("no C++ compiler, which the fuzzer needs: install g++ or clang, or set CXX");
    }
    Ok(())
}

// ---- Python ----

/// A Python in an environment of its own in `venv`, after a `pip install` of each of `packages`.
pub fn python(venv: &Path, packages: &[&[&str]]) -> Result<PathBuf> {
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let (stamp, wanted) = (venv.join(".packages"), packages.concat().join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    say(format!("installing for Python in {}: {wanted}", venv.display()));
    let made = || Command::new("python3").args(["-m", "venv"]).arg(venv).status().is_ok_and(|status| status.success());
    if !made() {
        if can_apt() {
            apt_install(&["python3-venv"])?;
        }
        if !made() {
            bail!("python3 with its venv module is missing (on Debian `apt-get install python3-venv`)");
        }
    }
    for packages in packages {
        shell::run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(*packages))?;
    }
    fs::write(stamp, wanted)?;
    Ok(python)
}

/// Does `work` unless it was done for a file of these very contents; `stamp` keeps them.
pub fn once(file: &Path, stamp: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let contents = fs::read(file).with_context(|| file.display().to_string())?;
    if fs::read(stamp).is_ok_and(|done| done == contents) {
        return Ok(());
    }
    work()?;
    fs::write(stamp, contents)?;
    Ok(())
}

// ---- apt ----

fn can_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists() && shell::output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let apt = |words: &[&str]| {
        let mut apt = Command::new("/usr/bin/apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=600"]).args(words);
        shell::run(&mut apt)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_locked_version_is_that_of_the_exact_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.80\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(super::locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(super::locked_version(lock, "wasm"), None);
    }
}
