//! Running other programs. Everything said on the way goes to stderr: stdout belongs to results (`caption --json`).

use anyhow::{Context, Result, bail};
use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says what is about to be done.
pub fn say(line: impl AsRef<str>) {
    eprintln!("==> {}", line.as_ref());
}

/// Starts a program; the error names it.
pub fn start(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{}`: is it installed?", shown(command)))
}

/// Runs a program to its end, its output on stderr.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("    {}", shown(command));
    command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr()));
    let status = start(command)?.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a program to its end, its output where it belongs.
pub fn run_shown(command: &mut Command) -> Result<()> {
    let status = start(command.stdin(Stdio::null()))?.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Like [`run`], but gives up (and ends the program) after `limit`.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    eprintln!("    {}", shown(command));
    command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr()));
    let mut child = start(command)?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("`{}` failed: {status}", shown(command));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("`{}` gave no result in {} s", shown(command), limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a program prints, trimmed; `None` when it is missing or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// The first of `names` that is a file in one of PATH's folders.
pub fn in_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        let name = format!("{name}{}", env::consts::EXE_SUFFIX);
        folders.iter().map(|folder| folder.join(&name)).find(|file| file.is_file())
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
