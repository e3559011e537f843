//! `llava-bench`: the benches on this machine's GPU or CPU. `cargo xtask bench --native` picks the driver and runs it.

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
    use std::time::{Instant, SystemTime};

    use futures_lite::future::block_on;
    use llava_bench::{Options, report};
    use llava_web::bundle::FolderSource;
    use llava_web::device;
    use llava_web::engine::{Engine, Input, LoadOptions};
    use llava_web::kernels::KvFormat;
    use serde_json::{Value, json};

    const USAGE: &str = "\
usage: llava-bench [--options JSON] [--json | --quiet] [--out FILE] [--commit ID]
       llava-bench --answer BUNDLE --prompt TEXT --context-length N

  --options  what to run, as `Options` of the library: {\"only\":[\"a\"],\"filter\":[\"mat-vec\"],\"seven_b\":false,\"tiny\":false,\"cpu\":false}
  --json     one JSON object at the end instead of a table
  --quiet    neither
  --out      write the JSON object to a file as well
  --commit   what to name as the commit in it
  --answer   print instead what the bundle in a folder makes of a raw prompt, four tokens of it, as JSON";

    pub fn main() -> Result<(), Box<dyn Error>> {
        let mut args = pico_args::Arguments::from_env();
        if args.contains("--help") {
            println!("{USAGE}");
            return Ok(());
        }
        if let Some(bundle) = args.opt_value_from_str::<_, String>("--answer")? {
            let (prompt, context) = (args.value_from_str("--prompt")?, args.value_from_str("--context-length")?);
            println!("{}", block_on(answer(&bundle, prompt, context))?);
            return Ok(());
        }
        let options: Option<String> = args.opt_value_from_str("--options")?;
        let options: Options = serde_json::from_str(options.as_deref().unwrap_or("{}"))?;
        let commit: Option<String> = args.opt_value_from_str("--commit")?;
        let out: Option<String> = args.opt_value_from_str("--out")?;
        let (json, quiet) = (args.contains("--json"), args.contains("--quiet"));
        if let Some(unknown) = args.finish().first() {
            return Err(format!("unknown argument {}\n\n{USAGE}", unknown.to_string_lossy()).into());
        }
        let mut environment = block_on(llava_bench::environment(&options))?;
        environment["commit"] = commit.into();
        environment["date"] = today().into();
        let shown = !json && !quiet;
        if shown {
            println!("{environment}");
        }
        let mut results = Vec::new();
        let mut section = String::new();
        block_on(llava_bench::run(&options, &mut |result| {
            if shown {
                println!("{}", report::lines(&result, &mut section));
            }
            results.push(result);
        }))?;
        let all = json!({ "environment": environment, "results": results }).to_string();
        if json {
            println!("{all}");
        }
        if let Some(file) = out {
            std::fs::write(file, all)?;
        }
        Ok(())
    }

    /// What the bundle in `folder` makes of a raw prompt, and how long loading it took.
    async fn answer(folder: &str, prompt: String, context_length: usize) -> Result<Value, Box<dyn Error>> {
        let start = Instant::now();
        let source = FolderSource::open(folder)?;
        let context_length = Some(context_length);
        let options = LoadOptions { context_length, kv_cache: Some(KvFormat::F16), ..LoadOptions::default() };
        let tokenizer = source.tokenizer()?;
        let mut engine = Engine::load(device::open().await?, &source, &tokenizer, options).await?;
        let load_s = start.elapsed().as_secs_f64();
        let input = Input { prompt: Some(prompt.clone()), raw: true, max_tokens: Some(4), ..Input::default() };
        let output = engine.generate(None, &input, &mut |_, _| true).await?;
        Ok(json!({ "prompt": prompt, "token_ids": output.token_ids, "load_s": load_s, "timings": output.timings }))
    }

    /// The date in UTC, as year-month-day.
    fn today() -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Howard Hinnant's `civil_from_days`, for days since 1970.
        let days = now.as_secs() / 86400 + 719468;
        let (era, day_of_era) = (days / 146097, days % 146097);
        let year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        format!("{}-{month:02}-{day:02}", year + era * 400 + u64::from(month <= 2))
    }
}
