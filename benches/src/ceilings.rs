//! What a GPU can do at most: bytes copied and multiply-adds a second. Each is measured in several forms, as
//! adapters differ in what suits them, and the best one counts.

/// The adapter's limits in units a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceilings {
    /// Read and written, in GB/s.
    pub copy: f64,
    /// A multiply-add counts as two, in GFLOP/s.
    pub fma: f64,
}

#[cfg(feature = "gpu")]
pub use gpu::run;

/// A build without GPUs has none to measure.
#[cfg(not(feature = "gpu"))]
pub async fn run(_bench: &mut crate::Bench<'_>) -> llava_web::Result<Ceilings> {
    Ok(Ceilings::default())
}

#[cfg(feature = "gpu")]
mod gpu {
    use llava_web::Result;
    use llava_web::device::{self, Buffer, Opened};
    use llava_web::kernels::Shader;
    use serde_json::json;

    use super::Ceilings;
    use crate::Bench;
    use crate::clock::time;

    const WORKGROUP: usize = 64;
    /// Of each of the two buffers. Beyond the caches of a large GPU, and within WebGPU's default limit of a binding.
    const COPY_BYTES: usize = 128 << 20;
    const COPY_BYTES_SOFTWARE: usize = 64 << 20;

    pub async fn run(bench: &mut Bench<'_>) -> Result<Ceilings> {
        let gpu = bench.opened.clone();
        let mut best = Ceilings::default();
        for (wide, per) in [(false, 1), (false, 8), (true, 1), (true, 4)] {
            let variant = format!("{}x{per}", if wide { "vec4" } else { "u32" });
            let rate = copy(bench, &gpu, wide, per, &variant).await?;
            best.copy = best.copy.max(rate);
        }
        for chains in [2, 4, 8] {
            best.fma = best.fma.max(fma(bench, &gpu, chains).await?);
        }
        Ok(best)
    }

    async fn copy(bench: &mut Bench<'_>, gpu: &Opened, wide: bool, per: u32, variant: &str) -> Result<f64> {
        let bytes = bench.size(if gpu.adapter.software { COPY_BYTES_SOFTWARE } else { COPY_BYTES }, 1 << 16);
        let shader = Shader {
            name: "bench_copy",
            text: include_str!("../shaders/copy.wgsl"),
            constants: vec![("WIDE", wide as u32), ("PER", per)],
            dims: &["elements"],
        };
        let elements = bytes / if wide { 16 } else { 4 };
        let buffers = [(); 2].map(|()| Buffer::from_bytes(vec![1; bytes], &gpu.device));
        let groups = elements / WORKGROUP / per as usize;
        let timing = time(bench, |_| {
            device::gpu::launch_on(shader.clone(), &[&buffers[0], &buffers[1]], &[elements as u32], groups);
        })
        .await?;
        let rate = 2.0 * bytes as f64 / timing.ms / 1e6;
        bench.emit(json!({
            "section": "ceiling", "name": "copy", "variant": variant, "ms": timing.ms, "rounds": timing.rounds,
            "launches": timing.launches, "first_ms": timing.first_ms, "gb_s": rate,
        }));
        Ok(rate)
    }

    async fn fma(bench: &mut Bench<'_>, gpu: &Opened, chains: u32) -> Result<f64> {
        let invocations = bench.size(if gpu.adapter.software { 1 << 13 } else { 1 << 20 }, 1 << 8);
        let rounds = bench.size(64, 2);
        let shader = Shader {
            name: "bench_fma",
            text: include_str!("../shaders/fma.wgsl"),
            constants: vec![("CHAINS", chains)],
            dims: &["rounds", "factor: f32", "term: f32"],
        };
        let sums = Buffer::zeros(1 << 12, &gpu.device);
        let dims = [rounds as u32, 0.999f32.to_bits(), 0.001f32.to_bits()];
        let timing = time(bench, |_| {
            device::gpu::launch_on(shader.clone(), &[&sums], &dims, invocations / WORKGROUP);
        })
        .await?;
        let rate = 2.0 * (invocations * rounds * 16 * 4 * chains as usize) as f64 / timing.ms / 1e6;
        bench.emit(json!({
            "section": "ceiling", "name": "fma", "variant": format!("{chains} chains"), "ms": timing.ms,
            "rounds": timing.rounds, "launches": timing.launches, "first_ms": timing.first_ms, "gflop_s": rate,
        }));
        Ok(rate)
    }
}
