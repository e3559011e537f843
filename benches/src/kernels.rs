//! Every hot kernel at the shapes of LLaVA-1.5-7B, as a fraction of the adapter's ceiling.

use burn::tensor::{Device, Tensor, TensorData};
use llava_web::Result;
use llava_web::device::Buffer;
use llava_web::kernels::{self, Activation, Heads, KvCache, KvFormat, Weight};
use llava_web::quant::Format;
use serde_json::json;

use crate::Bench;
use crate::ceilings::Ceilings;
use crate::clock::time;
use crate::random::Random;
use crate::ways::{self, Attention, Way};

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
    variant: &'static str,
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

pub fn rows(values: Vec<f32>, cols: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / cols;
    Tensor::from_data(TensorData::new(values, [rows, cols]), device)
}

/// Bytes of a binding that every GPU allows.
const SMALLEST_BINDING_LIMIT: usize = 128 << 20;

/// The linear layers of a decoder layer and the head: `(what, columns, rows)`.
const LINEAR: [(&str, usize, usize); 5] =
    [("qkv", 4096, 12288), ("o", 4096, 4096), ("gate_up", 4096, 22016), ("down", 11008, 4096), ("head", 4096, 32064)];

async fn linear(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    for (part, cols, out) in LINEAR {
        for &format in Format::ALL.iter().filter(|format| format.is_quantized()) {
            let (cols, out) = (bench.size(cols, 64).next_multiple_of(format.block()), bench.size(out, 96));
            let too_large = format.byte_len(out, cols).is_none_or(|bytes| bytes > SMALLEST_BINDING_LIMIT);
            // To a trial run `down` and `head` are as `o`.
            let repeats = bench.options.tiny && matches!(part, "down" | "head");
            if !too_large && !repeats {
                let measured = linear_layer(bench, ceilings, part, format, out, cols).await;
                ways::reset();
                measured?;
                bench.opened.device.memory_cleanup();
            }
        }
    }
    Ok(())
}

/// One layer in every variant the adapter has, with the epilogue it has in a model. Variants made for the other kind of
/// adapter are measured on `o` only.
async fn linear_layer(
    bench: &mut Bench<'_>,
    ceilings: Ceilings,
    part: &'static str,
    format: Format,
    out: usize,
    cols: usize,
) -> Result<()> {
    let device = bench.opened.device.clone();
    let software = bench.opened.adapter.software;
    let mut random = Random::new(1);
    // A software adapter takes seconds for the 600 positions of a prompt.
    let prompt = bench.size(if software { 64 } else { 600 }, 8);
    let what = format!("{part} {out}x{cols} {}", format.name());
    let mut wanted = Vec::new();
    // Follow-ups are measured at one length everywhere, at all lengths on `o`.
    let few: &[usize] = if part == "o" { &[2, 3, 4, 8, 16, 20, 32, 48, 63] } else { &[20] };
    let few = if bench.options.tiny { &[3] } else { few };
    for n in [1].into_iter().chain(few.iter().copied()).chain([prompt]) {
        let (name, shape) = match n {
            1 => ("mat-vec", what.clone()),
            _ => ("mat-mul", format!("{what} n={n}")),
        };
        let once = n == 1 || part != "head";
        let named = |way: &Way| once && bench.wants(&format!("{name} {shape} {}", way.name));
        for way in ways::linear(bench, n, format, part == "o").into_iter().filter(named) {
            wanted.push((n, name, shape.clone(), way));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let bytes = random.tensor(format, out, cols);
    let weight_bytes = bytes.len() as f64;
    let rotated = bench.size(if software { ROTATED_BYTES_SOFTWARE } else { ROTATED_BYTES }, 1);
    let copies = rotated.div_ceil(bytes.len());
    let weights: Vec<Weight> =
        (0..copies).map(|_| Weight::from_bytes(bytes.clone(), format, out, cols, &device)).collect();
    drop(bytes);
    let head_dim = bench.size(128, 32);
    let count = out / 3 / head_dim;
    let heads = Heads { heads: count, kv_heads: count, head_dim };
    let kv = KvCache::new(prompt, heads, KvFormat::F32, &device);
    let rope = kernels::rope_table(&vec![0.0; head_dim / 2], prompt, &device);
    let state = Buffer::zeros(4, &device);
    for (n, name, shape, way) in wanted {
        way.take();
        let x = rows(random.floats(n * cols), cols, &device);
        let work = Work {
            name,
            shape,
            variant: way.name,
            bytes: weight_bytes + 4.0 * (n * (cols + out)) as f64,
            flops: 2.0 * (n * cols * out) as f64,
            limit: if n == 1 { Limit::Bandwidth } else { Limit::Arithmetic },
        };
        measure(bench, ceilings, work, |turn| {
            let (x, weight) = (x.clone(), &weights[turn % copies]);
            drop(match part {
                "qkv" => kernels::linear_rope_cache(x, None, weight, None, &rope, &kv, &state, heads),
                "gate_up" => kernels::linear_gated(x, None, weight, None, Activation::Silu),
                _ => kernels::linear(x, weight, None, None, Activation::None),
            });
        })
        .await?;
    }
    Ok(())
}

async fn attention(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let measured = async {
        for format in KvFormat::ALL {
            for (heads, kv_heads) in [(32, 32), (32, 8)] {
                let heads = Heads { heads: bench.size(heads, 4), kv_heads: bench.size(kv_heads, 2), head_dim: 128 };
                let contexts: &[usize] = if bench.options.tiny { &[12] } else { &[64, 256, 2048] };
                for &context in contexts {
                    attention_decode(bench, ceilings, heads, format, context).await?;
                }
                attention_prefill(bench, ceilings, heads, format).await?;
            }
        }
        attention_vision(bench, ceilings).await
    };
    let measured = measured.await;
    ways::reset();
    bench.opened.device.memory_cleanup();
    measured
}

/// A cache full of numbers.
fn cache(heads: Heads, format: KvFormat, positions: usize, device: &Device) -> KvCache {
    let width = heads.kv_heads * heads.head_dim;
    let mut random = Random::new(2);
    let mut part = || {
        let values = random.floats(positions * width);
        Buffer::from_words(&format.pack(&values, heads.head_dim), device)
    };
    KvCache { k: part(), v: part(), capacity: positions, format }
}

fn described(heads: Heads, format: KvFormat, positions: usize) -> String {
    format!("{}/{} x {}, {format:?}, {positions} positions", heads.heads, heads.kv_heads, heads.head_dim)
}

async fn attention_decode(
    bench: &mut Bench<'_>,
    ceilings: Ceilings,
    heads: Heads,
    format: KvFormat,
    context: usize,
) -> Result<()> {
    let name = "attention decode";
    let device = bench.opened.device.clone();
    let shape = described(heads, format, context);
    let width = heads.heads * heads.head_dim;
    for way in ways::attention(bench, Attention::Decode, true) {
        if !bench.wants(&format!("{name} {shape} {}", way.name)) {
            continue;
        }
        way.take();
        let kv = cache(heads, format, context, &device);
        let state = Buffer::zeros(4, &device);
        state.write(&[context as u32 - 1, 0, 0, 0]);
        let q = rows(Random::new(3).floats(width), width, &device);
        let cached = 4 * 2 * context * format.width(heads.kv_heads * heads.head_dim);
        let work = Work {
            name,
            shape: shape.clone(),
            variant: way.name,
            bytes: (cached + 4 * 2 * width) as f64,
            flops: 4.0 * (context * width) as f64,
            limit: Limit::Bandwidth,
        };
        measure(bench, ceilings, work, |_| drop(kernels::attention(q.clone(), &kv, &state, heads))).await?;
    }
    Ok(())
}

async fn attention_prefill(bench: &mut Bench<'_>, ceilings: Ceilings, heads: Heads, format: KvFormat) -> Result<()> {
    let name = "attention prefill";
    let device = bench.opened.device.clone();
    let n = bench.size(600, 12);
    let shape = described(heads, format, n);
    let width = heads.heads * heads.head_dim;
    for way in flash_ways(bench, name, &shape) {
        way.take();
        let kv = cache(heads, format, n, &device);
        let state = Buffer::zeros(4, &device);
        let q = rows(Random::new(3).floats(n * width), width, &device);
        let cached = 4 * 2 * n * format.width(heads.kv_heads * heads.head_dim);
        let work = Work {
            name,
            shape: shape.clone(),
            variant: way.name,
            bytes: (cached + 4 * 2 * n * width) as f64,
            flops: 2.0 * (n * (n + 1) * width) as f64,
            limit: Limit::Arithmetic,
        };
        measure(bench, ceilings, work, |_| drop(kernels::attention(q.clone(), &kv, &state, heads))).await?;
    }
    Ok(())
}

/// Those for the other kind of adapter are slow there, and measured at the vision tower's shape only.
fn flash_ways(bench: &Bench<'_>, name: &str, shape: &str) -> Vec<Way> {
    let mut ways = ways::attention(bench, Attention::Flash, name == "attention vision");
    ways.retain(|way| bench.wants(&format!("{name} {shape} {}", way.name)));
    ways
}

async fn attention_vision(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let name = "attention vision";
    let device = bench.opened.device.clone();
    let (n, heads) = (bench.size(577, 9), Heads { heads: 16, kv_heads: 16, head_dim: 64 });
    let shape = format!("16 x 64, {n} positions");
    let width = heads.heads * heads.head_dim;
    for way in flash_ways(bench, name, &shape) {
        way.take();
        let qkv = rows(Random::new(3).floats(n * 3 * width), 3 * width, &device);
        let work = Work {
            name,
            shape: shape.clone(),
            variant: way.name,
            bytes: 4.0 * (4 * n * width) as f64,
            flops: 4.0 * (n * n * width) as f64,
            limit: Limit::Arithmetic,
        };
        measure(bench, ceilings, work, |_| drop(kernels::attention_full(qkv.clone(), heads))).await?;
    }
    Ok(())
}

async fn norms(bench: &mut Bench<'_>, ceilings: Ceilings) -> Result<()> {
    let device = bench.opened.device.clone();
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
            variant: "",
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
    let device = bench.opened.device.clone();
    let vocab = bench.size(32064, 300);
    let logits = rows(Random::new(4).floats(vocab).iter().map(|value| value * 8.0).collect(), vocab, &device);
    let words = |len| Buffer::zeros(len, &device);
    // Room for every token that is drawn: a step beyond it would do nothing.
    let (params, seen, tokens, state) = (words(12), words(vocab), words(1 << 20), words(4));
    for (variant, top_k, top_p) in [("greedy", 0, 1.0f32), ("all", 0, 1.0), ("top-k 50, top-p 0.9", 50, 0.9)] {
        let shape = format!("vocabulary {vocab}, {variant}");
        if !bench.wants(&format!("sample {shape}")) {
            continue;
        }
        let greedy = (variant == "greedy") as u32;
        let one = 1f32.to_bits();
        params.write(&[greedy, one, top_k, top_p.to_bits(), 1, 2, one, 0, 0]);
        state.write(&[0; 4]);
        let work = Work {
            name: "sample",
            shape,
            variant: "",
            bytes: 12.0 * vocab as f64,
            flops: vocab as f64,
            limit: Limit::Bandwidth,
        };
        measure(bench, ceilings, work, |_| kernels::sample(logits.clone(), &params, &seen, &tokens, &state)).await?;
    }
    Ok(())
}
