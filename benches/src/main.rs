//! `llava-bench`: the benches on this machine's GPU. `cargo xtask bench --native` picks the driver and runs it.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    match native::main() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::error::Error;

    use futures_lite::future::block_on;
    use llava_bench::{Options, report};
    use serde_json::json;

    const USAGE: &str = "\
usage: llava-bench [--only a,b,c] [--filter TEXT,...] [--seven-b] [--tiny] [--json]

  --only     sections: a ceilings, b kernels, c models
  --filter   only kernels and models whose line contains one of these
  --seven-b  also the whole of LLaVA-1.5-7B (5 GB of GPU memory)
  --tiny     sizes that show only that everything runs
  --json     one JSON object at the end instead of a table";

    pub fn main() -> Result<(), Box<dyn Error>> {
        let mut args = pico_args::Arguments::from_env();
        if args.contains("--help") {
            println!("{USAGE}");
            return Ok(());
        }
        let list = |text: Option<String>| -> Vec<String> {
            text.iter().flat_map(|text| text.split(',')).map(str::to_string).collect()
        };
        let options = Options {
            only: list(args.opt_value_from_str("--only")?),
            filter: list(args.opt_value_from_str("--filter")?),
            seven_b: args.contains("--seven-b"),
            tiny: args.contains("--tiny"),
        };
        let json = args.contains("--json");
        let rest = args.finish();
        if let Some(unknown) = rest.first() {
            return Err(format!("unknown argument {}\n\n{USAGE}", unknown.to_string_lossy()).into());
        }
        let environment = block_on(llava_bench::environment())?;
        if !json {
            println!("{environment}");
        }
        let mut results = Vec::new();
        let mut section = String::new();
        block_on(llava_bench::run(&options, &mut |result| {
            if json {
                results.push(result);
            } else {
                println!("{}", report::lines(&result, &mut section));
            }
        }))?;
        if json {
            println!("{}", json!({ "environment": environment, "results": results }));
        }
        Ok(())
    }
}
