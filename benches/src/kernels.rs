//! Every hot kernel at the shapes of LLaVA-1.5-7B, as a fraction of the adapter's ceiling.

use burn::tensor::{Device, Tensor, TensorData};
use llava_web::Result;
use llava_web::kernels::launch::{self, write_words};
use llava_web::kernels::{self, Activation, Heads, KvCache, KvFormat, Weight};
use llava_web::quant::Format;
use serde_json::json;

use crate::Bench;
use crate::ceilings::Ceilings;
use crate::clock::time;
use crate::random::Random;

/// Copies of a weight that launches take turns among are this large together: a real token finds none of its weights in
/// a cache.
const ROTATED_BYTES: usize = 256 << 20;
const ROTATED_BYTES_SOFTWARE: usize = 96 << 20;

/// What the work of a launch is measured by.
#[derive(Clone, Copy)]
enum Limit {
    Bandwidth,
    Arithmetic,
}

/// One line of the table: what is launched, and the bytes and operations it cannot do without.
struct Work {
    name: &'static str,
    shape: String,
    variant: String,
    bytes: f64,
    flops: f64,
    limit: Limit,
}

pub async fn run(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    linear(bench, ceilings).await?;
    attention(bench, ceilings).await?;
    norms(bench, ceilings).await?;
    sample(bench, ceilings).await
}

async fn measure(bench: &mut Bench<'_>, ceilings: Ceilings, work: Work, operation: impl Fn(usize)) -> Result<()> {
    let timing = time(bench, operation).await?;
    let (gb_s, gflop_s) = (work.bytes / timing.ms / 1e6, work.flops / timing.ms / 1e6);
    let (ceiling, rate, limit) = match work.limit {
        Limit::Bandwidth => ("copy", gb_s, ceilings.copy),
        Limit::Arithmetic => ("fma", gflop_s, ceilings.fma),
    };
    bench.emit(json!({
        "section": "kernel", "name": work.name, "shape": work.shape, "variant": work.variant,
        "ms": timing.ms, "min_ms": timing.min_ms, "rounds": timing.rounds, "launches": timing.launches,
        "first_ms": timing.first_ms, "bytes": work.bytes, "flops": work.flops, "gb_s": gb_s, "gflop_s": gflop_s,
        "ceiling": ceiling, "fraction": if limit > 0.0 { Some(rate / limit) } else { None },
    }));
    Ok(())
}

fn rows(values: Vec<f32>, cols: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / cols;
    Tensor::from_data(TensorData::new(values, [rows, cols]), device)
}

/// The linear layers of a decoder layer and the head: `(what, columns, rows)`.
const LINEAR: [(&str, usize, usize); 5] =
    [("qkv", 4096, 12288), ("o", 4096, 4096), ("gate_up", 4096, 22016), ("down", 11008, 4096), ("head", 4096, 32064)];

async fn linear(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let device = bench.gpu.device.clone();
    let software = bench.gpu.adapter.software;
    let mut random = Random::new(1);
    // A software adapter takes seconds for the 600 positions of a prompt.
    let prompt = bench.size(if software { 64 } else { 600 }, 8);
    for (part, cols, out) in LINEAR {
        for format in [Format::Q4, Format::Q8] {
            let (cols, out) = (bench.size(cols, 64), bench.size(out, 96));
            let what = format!("{part} {out}x{cols} {}", format.name());
            let is_head = part == "head";
            // Above the smallest limit of a binding.
            if is_head && format == Format::Q8 {
                continue;
            }
            let vec_wanted = bench.wants(&format!("mat-vec {what}"));
            let mat_wanted = !is_head && bench.wants(&format!("mat-mul {what}"));
            if !vec_wanted && !mat_wanted {
                continue;
            }
            let bytes = random.tensor(format, out, cols);
            let weight_bytes = bytes.len() as f64;
            let rotated = bench.size(if software { ROTATED_BYTES_SOFTWARE } else { ROTATED_BYTES }, 1);
            let copies = rotated.div_ceil(bytes.len());
            let weights: Vec<Weight> =
                (0..copies).map(|_| Weight::from_bytes(bytes.clone(), format, out, cols, &device)).collect();
            drop(bytes);
            for n in [vec_wanted.then_some(1), mat_wanted.then_some(prompt)].into_iter().flatten() {
                let x = rows(random.floats(n * cols), cols, &device);
                let single = n == 1;
                let work = Work {
                    name: if single { "mat-vec" } else { "mat-mul" },
                    shape: if single { what.clone() } else { format!("{what} n={n}") },
                    variant: String::new(),
                    bytes: weight_bytes + 4.0 * (n * (cols + out)) as f64,
                    flops: 2.0 * (n * cols * out) as f64,
                    limit: if single { Limit::Bandwidth } else { Limit::Arithmetic },
                };
                measure(bench, ceilings, work, |turn| {
                    drop(kernels::linear(x.clone(), &weights[turn % copies], None, None, Activation::None));
                })
                .await?;
            }
            drop(weights);
            device.memory_cleanup();
        }
    }
    Ok(())
}

async fn attention(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let device = bench.gpu.device.clone();
    let mut random = Random::new(2);
    let state = launch::persistent_words(4, &device);
    for (heads, kv_heads) in [(32, 32), (32, 8)] {
        let heads = Heads { heads: bench.size(heads, 4), kv_heads: bench.size(kv_heads, 2), head_dim: 128 };
        let (width, kv_width) = (heads.heads * heads.head_dim, heads.kv_heads * heads.head_dim);
        for (context, n) in [(64, 1), (256, 1), (2048, 1), (600, 600)] {
            let (context, n) = (bench.size(context, 12), bench.size(n, n.min(12)));
            let single = n == 1;
            let name = if single { "attention decode" } else { "attention prefill" };
            let shape = format!("{}/{} heads x {}, {context} positions", heads.heads, heads.kv_heads, heads.head_dim);
            if !bench.wants(&format!("{name} {shape}")) {
                continue;
            }
            let mut cached = || rows(random.floats(context * kv_width), kv_width, &device);
            let kv = KvCache { k: cached(), v: cached(), format: KvFormat::F32 };
            write_words(&state, &[(context - n) as u32, 0, 0, 0]);
            let q = rows(random.floats(n * width), width, &device);
            let pairs: usize = (0..n).map(|i| context - n + i + 1).sum();
            let work = Work {
                name,
                shape,
                variant: String::new(),
                bytes: 4.0 * (2 * context * kv_width + 2 * n * width) as f64,
                flops: 4.0 * (pairs * width) as f64,
                limit: if single { Limit::Bandwidth } else { Limit::Arithmetic },
            };
            measure(bench, ceilings, work, |_| drop(kernels::attention(q.clone(), &kv, &state, heads))).await?;
        }
    }
    let (n, heads) = (bench.size(577, 9), Heads { heads: 16, kv_heads: 16, head_dim: 64 });
    let shape = format!("16 heads x 64, {n} positions");
    if bench.wants(&format!("attention vision {shape}")) {
        let width = heads.heads * heads.head_dim;
        let qkv = rows(random.floats(n * 3 * width), 3 * width, &device);
        let work = Work {
            name: "attention vision",
            shape,
            variant: String::new(),
            bytes: 4.0 * (4 * n * width) as f64,
            flops: 4.0 * (n * n * width) as f64,
            limit: Limit::Arithmetic,
        };
        measure(bench, ceilings, work, |_| drop(kernels::attention_full(qkv.clone(), heads))).await?;
    }
    device.memory_cleanup();
    Ok(())
}

async fn norms(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let device = bench.gpu.device.clone();
    let mut random = Random::new(3);
    for (name, n, cols) in [("rms_norm", 1, 4096), ("rms_norm", 600, 4096), ("layer_norm", 577, 1024)] {
        let (n, cols) = (bench.size(n, 2), bench.size(cols, 64));
        let shape = format!("{n}x{cols}");
        if !bench.wants(&format!("{name} {shape}")) {
            continue;
        }
        let x = rows(random.floats(n * cols), cols, &device);
        let vector = || Tensor::<1>::from_data(TensorData::new(vec![1.0f32; cols], [cols]), &device);
        let (weight, bias) = (vector(), vector());
        let work = Work {
            name,
            shape,
            variant: String::new(),
            bytes: 8.0 * (n * cols) as f64,
            flops: 4.0 * (n * cols) as f64,
            limit: Limit::Bandwidth,
        };
        measure(bench, ceilings, work, |_| match name {
            "rms_norm" => drop(kernels::rms_norm(x.clone(), &weight, 1e-5)),
            _ => drop(kernels::layer_norm(x.clone(), &weight, &bias, 1e-5)),
        })
        .await?;
    }
    Ok(())
}

async fn sample(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let device = bench.gpu.device.clone();
    let vocab = bench.size(32064, 300);
    let logits = rows(Random::new(4).floats(vocab).iter().map(|value| value * 8.0).collect(), vocab, &device);
    let words = |len| launch::persistent_words(len, &device);
    // Room for every token that is drawn: a step beyond it would do nothing.
    let (params, seen, tokens, state) = (words(12), words(vocab), words(1 << 20), words(4));
    for (variant, top_k, top_p) in [("greedy", 0, 1.0f32), ("all", 0, 1.0), ("top-k 50, top-p 0.9", 50, 0.9)] {
        let shape = format!("vocabulary {vocab}, {variant}");
        if !bench.wants(&format!("sample {shape}")) {
            continue;
        }
        let greedy = (variant == "greedy") as u32;
        let one = 1f32.to_bits();
        write_words(&params, &[greedy, one, top_k, top_p.to_bits(), 1, 2, one, 0, 0]);
        write_words(&state, &[0; 4]);
        let work = Work {
            name: "sample",
            shape,
            variant: String::new(),
            bytes: 12.0 * vocab as f64,
            flops: vocab as f64,
            limit: Limit::Bandwidth,
        };
        measure(bench, ceilings, work, |_| kernels::sample(logits.clone(), &params, &seen, &tokens, &state)).await?;
    }
    Ok(())
}
