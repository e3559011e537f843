//! The statistics of the kernels: `cargo xtask isa`.

use std::path::PathBuf;
use std::process::ExitCode;

use llava_isa::{Checks, Result, hot, measure, statistics, table};

const USAGE: &str = "\
cargo xtask isa [options]: what AMD's compiler of Mesa makes of the kernels, without a GPU

  --filter LIST   only kernels whose names contain one of these
  --json          print JSON instead of a table
  --wgsl FOLDER   instead of all this: write the kernels there, for other compilers";

fn main() -> ExitCode {
    match run(pico_args::Arguments::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: pico_args::Arguments) -> Result<()> {
    if args.contains(["-h", "--help"]) {
        println!("{USAGE}");
        return Ok(());
    }
    let filter: Option<String> = args.opt_value_from_str("--filter")?;
    let filter: Vec<String> = filter.iter().flat_map(|list| list.split(',')).map(str::to_string).collect();
    let folder: Option<PathBuf> = args.opt_value_from_str("--wgsl")?;
    let driver: Option<PathBuf> = args.opt_value_from_str("--driver")?;
    let checks: Option<String> = args.opt_value_from_str("--compile")?;
    let json = args.contains("--json");
    let names: Vec<String> = args.finish().into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if let Some(checks) = checks {
        let kernels: Vec<_> = hot().into_iter().filter(|kernel| names.contains(&kernel.name)).collect();
        let checks = Checks::from_name(&checks).ok_or("--compile takes `unchecked` or `clamped`")?;
        println!("{}", serde_json::to_string(&statistics(&kernels, checks)?)?);
        return Ok(());
    }
    if let Some(unknown) = names.first() {
        return Err(format!("`{unknown}` is not known here\n\n{USAGE}").into());
    }
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder)?;
        for kernel in hot() {
            std::fs::write(folder.join(format!("{}.wgsl", kernel.name)), kernel.wgsl)?;
        }
        return Ok(());
    }
    let all = measure(
        &std::env::current_exe()?,
        &driver.ok_or("no Vulkan driver for AMD GPUs (Debian: mesa-vulkan-drivers)")?,
        &filter,
    )?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&all)?),
        false => print!("{}", table(&all)),
    }
    Ok(())
}
