//! The statistics of all kernels on all GPUs. RADV picks its GPU by the environment and crashes after some 500 pipelines, so
//! each part is another process: this program, called by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::{Checks, GPUS, Result, hot};

/// Most pipelines of one process.
const PART: usize = 400;

/// What became of a kernel on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub gpu: String,
    pub checks: String,
    pub kernel: String,
    /// Vector registers of an invocation.
    pub registers: u64,
    /// Registers, vector and scalar, that did not fit.
    pub spills: u64,
    /// Bytes of memory an invocation has for what registers cannot hold or be indexed as.
    pub scratch: u64,
    /// Bytes of workgroup memory.
    pub shared: u64,
    /// Waves of 64 invocations that a SIMD holds.
    pub waves: u64,
    pub instructions: u64,
}

/// Measures the kernels whose names contain one of `filter`, or all, with `program`, which is this one, on the driver of which
/// the Vulkan loader reads `driver`.
///
/// # Errors
/// The driver cannot be had, or refuses a kernel.
pub fn measure(program: &Path, driver: &Path, filter: &[String]) -> Result<Vec<Measured>> {
    let kernels: Vec<String> = hot().into_iter().map(|kernel| kernel.name).collect();
    let wanted = |name: &&String| filter.is_empty() || filter.iter().any(|part| name.contains(part));
    let kernels: Vec<&String> = kernels.iter().filter(wanted).collect();
    let cores = std::thread::available_parallelism()?.get();
    let part = kernels.len().div_ceil(cores).clamp(1, PART);
    let mut all = Vec::new();
    for checks in Checks::ALL {
        for (family, gpu) in GPUS {
            let started = kernels.chunks(part).map(|part| {
                let mut process = Command::new(program);
                process.arg("--compile").arg(checks.name()).args(part);
                process.env("VK_ICD_FILENAMES", driver).env_remove("VK_DRIVER_FILES");
                process.env("RADV_FORCE_FAMILY", family).env("MESA_SHADER_CACHE_DISABLE", "true");
                let process = process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
                (part, process)
            });
            for (part, process) in started.collect::<Vec<_>>() {
                let output = process?.wait_with_output()?;
                if !output.status.success() {
                    return Err(format!("the compiler for {gpu} ended with {}", output.status).into());
                }
                let told: Vec<BTreeMap<String, u64>> = serde_json::from_slice(&output.stdout)?;
                for (kernel, told) in part.iter().zip(told) {
                    all.push(measured(gpu, checks, kernel, &told)?);
                }
            }
        }
    }
    Ok(all)
}

fn measured(gpu: &str, checks: Checks, kernel: &str, told: &BTreeMap<String, u64>) -> Result<Measured> {
    let number = |name: &str| told.get(name).copied().ok_or_else(|| format!("RADV tells no `{name}`, but {told:?}"));
    Ok(Measured {
        gpu: gpu.into(),
        checks: checks.name().into(),
        kernel: kernel.into(),
        registers: number("VGPRs")?,
        spills: number("Spilled VGPRs")? + number("Spilled SGPRs")?,
        scratch: number("Scratch size")?,
        shared: number("LDS size")?,
        waves: number("Subgroups per SIMD")?,
        instructions: number("Instructions")?,
    })
}
