//! Benches of llava-web: a GPU's ceilings, each kernel at LLaVA-1.5-7B's shapes, whole models on random weights.
//! `cargo xtask bench` runs the same code natively (`src/main.rs`) and in a browser ([`web`]).

mod ceilings;
mod clock;
mod kernels;
mod models;
mod random;
pub mod report;
mod step;
mod ways;
#[cfg(target_family = "wasm")]
pub mod web;

use llava_web::Result;
use llava_web::device::{self, Opened};
use serde::Deserialize;
use serde_json::{Value, json};

/// What to run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Sections: `a` ceilings, `b` kernels, `c` models; all where empty.
    pub only: Vec<String>,
    /// Only kernels and models whose line contains one of these; all where empty.
    pub filter: Vec<String>,
    /// Also the whole of LLaVA-1.5-7B: 5 GB of GPU memory.
    pub seven_b: bool,
    /// Sizes that show only that everything runs.
    pub tiny: bool,
    /// On the CPU, in a build that has other kinds of devices too.
    pub cpu: bool,
    /// What is multiplied with a token rounded as loads with `precision: "fast"` do; on the CPU alone.
    pub fast: bool,
}

/// What the benches share.
struct Bench<'a> {
    opened: Opened,
    options: &'a Options,
    on_result: &'a mut dyn FnMut(Value),
}

impl Bench<'_> {
    fn emit(&mut self, result: Value) {
        (self.on_result)(result);
    }

    fn on_cpu(&self) -> bool {
        self.opened.adapter.backend == "cpu"
    }

    fn runs(&self, section: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| only == section)
    }

    fn wants(&self, name: &str) -> bool {
        self.options.filter.is_empty() || self.options.filter.iter().any(|part| name.contains(part.as_str()))
    }

    fn round_ms(&self) -> f64 {
        if self.options.tiny { clock::TINY_ROUND_MS } else { clock::ROUND_MS }
    }

    /// A size, or the one that a trial run makes do with.
    fn size(&self, size: usize, tiny: usize) -> usize {
        if self.options.tiny { tiny } else { size }
    }
}

/// The device to run on.
async fn open(options: &Options) -> Result<Opened> {
    #[cfg(feature = "cpu")]
    if options.cpu {
        return device::open_cpu().await;
    }
    let _ = options;
    device::open().await
}

/// Runs the benches, handing over each result (a JSON object with `section`) as soon as it is there.
///
/// # Errors
/// There is no GPU, it was lost, or it has too little memory.
pub async fn run(options: &Options, on_result: &mut dyn FnMut(Value)) -> Result<()> {
    #[cfg(feature = "cpu")]
    {
        use llava_web::kernels::{Precision, cpu};
        cpu::set_precision(if options.fast { Precision::Fast } else { Precision::Exact });
    }
    let mut bench = Bench { opened: open(options).await?, options, on_result };
    // The kernels' fractions need the ceilings of this very run.
    let ceilings = match bench.runs("a") && !bench.on_cpu() {
        true => ceilings::run(&mut bench).await?,
        false => ceilings::Ceilings::default(),
    };
    if bench.runs("b") {
        kernels::run(&mut bench, ceilings).await?;
    }
    if bench.runs("c") {
        models::run(&mut bench).await?;
    }
    Ok(())
}

/// Adapter and versions, for the head of a report.
///
/// # Errors
/// There is no GPU.
pub async fn environment(options: &Options) -> Result<Value> {
    let adapter = open(options).await?.adapter;
    let lock = include_str!("../../Cargo.lock");
    let version = |package: &str| {
        let after_name = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
        after_name.split('"').next()
    };
    Ok(json!({
        "adapter": adapter.name,
        "backend": adapter.backend,
        "software": adapter.software,
        "features": {
            "subgroups": adapter.features.subgroups, "f16": adapter.features.f16,
            "packed_dot": adapter.features.packed_dot,
        },
        "versions": {
            "llava-web": version("llava-web"), "burn": version("burn"), "cubecl": version("cubecl"),
            "wgpu": version("wgpu"),
        },
    }))
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn everything_runs_and_is_reported() {
        for (cpu, sections) in [(false, &["ceiling", "kernel", "model"][..]), (true, &["kernel", "model"])] {
            all_run(&Options { tiny: true, cpu, ..Options::default() }, sections);
        }
    }

    fn all_run(options: &Options, sections: &[&str]) {
        let mut results = Vec::new();
        futures_lite::future::block_on(run(options, &mut |result| results.push(result))).unwrap();
        let (mut section, mut table) = (String::new(), String::new());
        for result in &results {
            let numbers = ["ms", "value"].map(|key| result[key].as_f64().unwrap_or(1.0));
            assert!(numbers.iter().all(|number| number.is_finite()), "{result}");
            table += &report::lines(result, &mut section);
        }
        for section in sections {
            assert!(results.iter().any(|result| result["section"] == *section), "no result of section {section}");
        }
        assert!(table.contains("decode@"), "{table}");
    }
}
