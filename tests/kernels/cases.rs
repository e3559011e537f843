//! Every operation on the GPU against its naive version, at odd shapes: one table for native tests and for the browser.

use burn::tensor::{Device, Int, Tensor, TensorData};
use llava_web::kernels::launch::{self, read_floats, read_words, write_words};
use llava_web::kernels::{self, Activation, Heads, KvCache, Weight, naive};
use llava_web::quant::Format;

/// Hands the names of all tables to a runner's macro, so that neither runner can miss one.
macro_rules! for_each_case {
    ($runner:ident) => {
        $runner!(
            activations,
            attention_full,
            embedding,
            linear,
            norms,
            recorded,
            rope_and_attention,
            sample,
            silu_mul,
            tiny_scales,
            vec_lanes
        );
    };
}

/// How much of each table to run.
#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "each of the two runners of this file uses one")]
pub enum Scale {
    /// All of it.
    Full,
    /// What a software adapter in a browser does in seconds.
    Browser,
}

impl Scale {
    /// The first `few` entries of a table in the browser, else all.
    fn of<T>(self, table: &[T], few: usize) -> &[T] {
        match self {
            Scale::Full => table,
            Scale::Browser => &table[..few.min(table.len())],
        }
    }
}

/// A small generator of numbers about -1 to 1; the tests need variety, not quality.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1)
    }

    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    pub fn float(&mut self) -> f32 {
        self.word() as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

fn rows(values: &[f32], cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / cols, cols]), device)
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn words(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let tensor = launch::persistent_words(values.len(), device);
    write_words(&tensor, values);
    tensor
}

/// Panics unless every value is within `tolerance`, relative to the largest magnitude expected.
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let magnitude = expected.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        // Written so that a NaN fails too.
        let close = (actual - expected).abs() <= tolerance * magnitude;
        assert!(close, "{what}: element {i} is {actual}, not {expected} (magnitude {magnitude})");
    }
}

/// `[n, rows, cols]`, most of them multiples of no tile. The last ones only fit formats without blocks.
const LINEAR: &[[usize; 3]] = &[
    [1, 130, 96],
    [5, 65, 64],
    [33, 7, 160],
    [70, 131, 32],
    [1, 66, 588],
    [9, 31, 588],
    [2, 5, 37],
    [6, 70, 33],
    [1, 1, 1],
    [3, 257, 704],
    [4, 1, 1024],
    [31, 64, 320],
    [32, 63, 96],
    [129, 129, 128],
    [700, 33, 64],
    [1, 3000, 64],
    [2, 17, 2],
    [65, 3, 3],
    [40, 100, 257],
];

pub async fn linear(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(1);
    let mut variant = 0;
    for [n, out, cols] in scale.of(LINEAR, 8) {
        for format in [Format::Q4, Format::Q8, Format::F16, Format::F32] {
            if !format.fits(*cols) {
                continue;
            }
            let bytes = format.encode("weight", *out, *cols, &numbers.floats(out * cols)).unwrap();
            let weight = Weight::from_bytes(bytes.clone(), format, *out, *cols, device);
            for _ in 0..3 {
                let act = Activation::ALL[variant % 6];
                let bias = (variant / 2 % 2 == 0).then(|| numbers.floats(*out));
                let residual = (variant % 3 != 0).then(|| numbers.floats(n * out));
                variant += 1;
                let x = numbers.floats(n * cols);
                let actual = kernels::linear(
                    rows(&x, *cols, device),
                    &weight,
                    bias.as_ref().map(|bias| vector(bias, device)).as_ref(),
                    residual.as_ref().map(|residual| rows(residual, *out, device)),
                    act,
                );
                let expected =
                    naive::linear(&x, &bytes, format, (*out, *cols), bias.as_deref(), residual.as_deref(), act);
                let what = format!("linear {n}x{out}x{cols} {format:?} {act:?}");
                assert_close(&what, &read_floats(actual).await.unwrap(), &expected, 2e-5);
            }
        }
    }
}

/// Every choice of lanes of the mat-vec shader, not only this adapter's.
pub async fn vec_lanes(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(10);
    let table: &[[usize; 3]] = &[[1, 70, 96], [4, 3, 37], [2, 5, 588], [3, 66, 1024], [1, 1, 1]];
    for lanes in kernels::VEC_LANES {
        kernels::set_vec_lanes(lanes);
        for [n, out, cols] in scale.of(table, 3) {
            for format in [Format::Q4, Format::Q8, Format::F16, Format::F32] {
                if !format.fits(*cols) {
                    continue;
                }
                let bytes = format.encode("weight", *out, *cols, &numbers.floats(out * cols)).unwrap();
                let weight = Weight::from_bytes(bytes.clone(), format, *out, *cols, device);
                let (x, bias) = (numbers.floats(n * cols), numbers.floats(*out));
                let x_rows = rows(&x, *cols, device);
                let actual = kernels::linear(x_rows, &weight, Some(&vector(&bias, device)), None, Activation::None);
                let expected = naive::linear(&x, &bytes, format, (*out, *cols), Some(&bias), None, Activation::None);
                let what = format!("{lanes} lanes, {n}x{out}x{cols} {format:?}");
                assert_close(&what, &read_floats(actual).await.unwrap(), &expected, 2e-5);
            }
        }
    }
}

/// Weights so small that their f16 scales are subnormal: a GPU that flushes those loses the tensor.
pub async fn tiny_scales(device: &Device, _: Scale) {
    let mut numbers = Numbers::new(2);
    for format in [Format::Q4, Format::Q8, Format::F16] {
        for n in [1, 7] {
            let values: Vec<f32> = numbers.floats(40 * 64).iter().map(|value| value * 1e-4).collect();
            let bytes = format.encode("weight", 40, 64, &values).unwrap();
            let weight = Weight::from_bytes(bytes.clone(), format, 40, 64, device);
            let x = numbers.floats(n * 64);
            let actual = kernels::linear(rows(&x, 64, device), &weight, None, None, Activation::None);
            let expected = naive::linear(&x, &bytes, format, (40, 64), None, None, Activation::None);
            let actual: Vec<f32> = read_floats(actual).await.unwrap().iter().map(|value| value * 1e4).collect();
            let expected: Vec<f32> = expected.iter().map(|value| value * 1e4).collect();
            assert_close(&format!("tiny scales {format:?} n {n}"), &actual, &expected, 2e-5);
        }
    }
}

/// Each activation over the range where it bends, and far beyond.
pub async fn activations(device: &Device, _: Scale) {
    let identity = Format::F32.encode("identity", 1, 1, &[1.0]).unwrap();
    let weight = Weight::from_bytes(identity, Format::F32, 1, 1, device);
    let x: Vec<f32> = (-120..=120).map(|i| i as f32 / 10.0).chain([-3e4, -90.0, 90.0, 3e4]).collect();
    for act in Activation::ALL {
        let actual = read_floats(kernels::linear(rows(&x, 1, device), &weight, None, None, act)).await.unwrap();
        for (x, actual) in x.iter().zip(actual) {
            let expected = naive::activation(act, *x as f64) as f32;
            let close = (actual - expected).abs() <= 2e-6 * (1.0 + expected.abs());
            assert!(close, "{act:?}({x}) is {actual}, not {expected}");
        }
    }
}

pub async fn embedding(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(3);
    let table: &[[usize; 3]] = &[[5, 70, 64], [1, 33, 96], [9, 12, 37], [3, 5, 2], [300, 1000, 160], [65, 3, 588]];
    for [n, vocab, cols] in scale.of(table, 3) {
        for format in [Format::Q4, Format::Q8, Format::F16, Format::F32] {
            if !format.fits(*cols) {
                continue;
            }
            let bytes = format.encode("table", *vocab, *cols, &numbers.floats(vocab * cols)).unwrap();
            let table = Weight::from_bytes(bytes.clone(), format, *vocab, *cols, device);
            let mut ids: Vec<u32> = (0..*n).map(|_| numbers.word() % *vocab as u32).collect();
            let what = format!("embedding {n} of {vocab}x{cols} {format:?}");
            if *n > 2 {
                ids[2] = *vocab as u32 + 7;
            }
            let actual = read_floats(kernels::embedding(words(&ids, device), &table)).await.unwrap();
            assert_close(&what, &actual, &naive::embedding(&ids, &bytes, format, *vocab, *cols), 1e-6);
            let state = words(&[9, 9, 1, 9], device);
            let drawn = read_floats(kernels::embed_drawn(&state, &table)).await.unwrap();
            assert_close(&what, &drawn, &naive::embedding(&[1], &bytes, format, *vocab, *cols), 1e-6);
        }
    }
}

pub async fn norms(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(4);
    let table: &[[usize; 2]] = &[[3, 70], [1, 1], [17, 256], [1, 577], [70000, 3], [700, 64], [2, 4096]];
    for [n, cols] in scale.of(table, 4) {
        // Long rows lie far from zero, where a one-pass variance fails.
        let shift = if *cols > 60 { 40.0 } else { 0.0 };
        let x: Vec<f32> = numbers.floats(n * cols).iter().map(|value| value * 3.0 + shift).collect();
        let (weight, bias) = (numbers.floats(*cols), numbers.floats(*cols));
        let (w, b) = (vector(&weight, device), vector(&bias, device));
        let actual = read_floats(kernels::rms_norm(rows(&x, *cols, device), &w, 1e-5)).await.unwrap();
        assert_close(&format!("rms_norm {n}x{cols}"), &actual, &naive::rms_norm(&x, &weight, 1e-5), 1e-5);
        let actual = read_floats(kernels::layer_norm(rows(&x, *cols, device), &w, &b, 1e-5)).await.unwrap();
        assert_close(&format!("layer_norm {n}x{cols}"), &actual, &naive::layer_norm(&x, &weight, &bias, 1e-5), 1e-4);
    }
}

pub async fn silu_mul(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(5);
    let table: &[[usize; 2]] = &[[3, 70], [1, 1], [700, 33], [1, 11008]];
    for [n, ffn] in scale.of(table, 2) {
        let x: Vec<f32> = numbers.floats(n * 2 * ffn).iter().map(|value| value * 20.0).collect();
        let actual = read_floats(kernels::silu_mul(rows(&x, 2 * ffn, device))).await.unwrap();
        assert_close(&format!("silu_mul {n}x{ffn}"), &actual, &naive::silu_mul(&x, *ffn), 1e-5);
    }
}

/// Positions already in the cache, new ones, capacity, heads, key/value heads, head size.
const CACHED: &[(usize, usize, usize, [usize; 3])] = &[
    (0, 5, 16, [4, 2, 32]),
    (7, 1, 8, [3, 1, 40]),
    (30, 37, 70, [2, 2, 64]),
    (0, 1, 3, [1, 1, 4]),
    (100, 1, 300, [6, 2, 80]),
    (63, 4, 100, [8, 1, 128]),
    (64, 2, 66, [2, 1, 96]),
    // More than fits: what lies beyond is dropped.
    (10, 9, 15, [4, 4, 36]),
    (0, 700, 700, [2, 1, 64]),
    (650, 50, 701, [4, 2, 128]),
    (699, 1, 700, [2, 2, 32]),
];

pub async fn rope_and_attention(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(6);
    for (position, n, capacity, [heads, kv_heads, head_dim]) in scale.of(CACHED, 6) {
        let (position, n, capacity) = (*position, *n, *capacity);
        let shape = Heads { heads: *heads, kv_heads: *kv_heads, head_dim: *head_dim };
        let what = format!("{n} after {position} of {capacity}, {shape:?}");
        let width = kv_heads * head_dim;
        let (mut k, mut v) = (numbers.floats(capacity * width), numbers.floats(capacity * width));
        let kv = KvCache { k: rows(&k, width, device), v: rows(&v, width, device) };
        let frequencies: Vec<f32> =
            (0..head_dim / 2).map(|i| 1e4f32.powf(-2.0 * i as f32 / *head_dim as f32)).collect();
        let rope = kernels::rope_table(&frequencies, capacity, device);
        let state = words(&[position as u32, 0, 0, 0], device);

        let qkv = numbers.floats(n * (heads + 2 * kv_heads) * head_dim);
        let q = kernels::rope_cache(rows(&qkv, (heads + 2 * kv_heads) * head_dim, device), &rope, &kv, &state, shape);
        let table = naive::rope_table(&frequencies, capacity);
        let expected = naive::rope_cache(&qkv, &table, &mut k, &mut v, position, shape);
        assert_close(&format!("rope q: {what}"), &read_floats(q.clone()).await.unwrap(), &expected, 1e-5);
        assert_close(&format!("cached k: {what}"), &read_floats(kv.k.clone()).await.unwrap(), &k, 1e-5);
        assert_close(&format!("cached v: {what}"), &read_floats(kv.v.clone()).await.unwrap(), &v, 0.0);

        let actual = read_floats(kernels::attention(q, &kv, &state, shape)).await.unwrap();
        let expected = naive::attention(&expected, &k, &v, position, shape);
        assert_close(&format!("attention: {what}"), &actual, &expected, 2e-5);
    }
}

pub async fn attention_full(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(7);
    let table: &[[usize; 3]] =
        &[[5, 3, 40], [65, 2, 64], [1, 1, 32], [17, 2, 128], [2, 4, 80], [50, 2, 36], [33, 1, 4], [577, 2, 64]];
    for [n, heads, head_dim] in scale.of(table, 4) {
        let shape = Heads { heads: *heads, kv_heads: *heads, head_dim: *head_dim };
        // Large scores, so that the softmax is sharp and its running maximum moves.
        let qkv: Vec<f32> = numbers.floats(n * 3 * heads * head_dim).iter().map(|value| value * 4.0).collect();
        let actual = kernels::attention_full(rows(&qkv, 3 * heads * head_dim, device), shape);
        let expected = naive::attention_full(&qkv, shape);
        assert_close(&format!("attention_full {n} {shape:?}"), &read_floats(actual).await.unwrap(), &expected, 5e-5);
    }
}

/// Temperature (0: greedy), top_k, top_p, seed, repetition, frequency and presence penalty.
type Settings = (f32, u32, f32, u64, f32, f32, f32);

const SETTINGS: &[Settings] = &[
    (0.0, 0, 1.0, 0, 1.0, 0.0, 0.0),
    (1.0, 0, 1.0, 11, 1.0, 0.0, 0.0),
    (0.7, 5, 0.9, u64::MAX, 1.3, 0.2, 0.1),
    (0.0, 0, 1.0, 0, 1.5, 0.7, -0.4),
    (1.3, 3, 1.0, 12, 1.0, 0.0, 0.0),
    (1.0, 0, 0.5, 13, 0.8, 0.0, 0.0),
    (1.0, 0, 0.0, 14, 1.0, 0.0, 0.0),
    (2.0, 1, 1.0, 15, 1.0, 0.0, 0.0),
    (1.0, 100000, 0.99, 16, 1.0, 0.5, 0.5),
];

fn params(settings: &Settings) -> Vec<u32> {
    let (temperature, top_k, top_p, seed, repetition, frequency, presence) = *settings;
    let mut words = vec![(temperature == 0.0) as u32, temperature.to_bits(), top_k, top_p.to_bits()];
    words.extend([seed as u32, (seed >> 32) as u32]);
    words.extend([repetition, frequency, presence].map(f32::to_bits));
    words
}

pub async fn sample(device: &Device, scale: Scale) {
    let mut numbers = Numbers::new(8);
    let table: &[usize] = &[7, 300, 256, 1, 5003, 32000];
    for vocab in scale.of(table, 2) {
        for settings in SETTINGS {
            let what = format!("sample of {vocab} with {settings:?}");
            let params = params(settings);
            let mut seen: Vec<u32> = (0..*vocab).map(|_| numbers.word() % 3 / 2).collect();
            let (mut tokens, mut state) = (vec![0; 6], vec![20, 0, 0, 0]);
            let gpu = [&params, &seen, &tokens, &state].map(|values| words(values, device));
            // Two more steps than there is room for.
            for step in 0..8 {
                // On even steps a coarse grid, full of ties.
                let grid = if step % 2 == 0 { 4.0 } else { 1e5 };
                // Of a large vocabulary few tokens are likely: else rounding decides between neighbours of the draw's
                // order.
                let range = if *vocab > 1000 { 60.0 } else { 4.0 };
                let logits: Vec<f32> = (0..*vocab).map(|_| (numbers.float() * range * grid).round() / grid).collect();
                kernels::sample(rows(&logits, *vocab, device), &gpu[0], &gpu[1], &gpu[2], &gpu[3]);
                naive::sample(&logits, &params, &mut seen, &mut tokens, &mut state);
                assert_eq!(read_words(&gpu[3]).await.unwrap(), state, "{what}: state after step {step}");
            }
            assert_eq!(read_words(&gpu[2]).await.unwrap(), tokens, "{what}: tokens");
            assert_eq!(read_words(&gpu[1]).await.unwrap(), seen, "{what}: seen");
        }
    }
}

/// A chain that feeds itself (embed the drawn token, two layers, draw), recorded once and replayed.
pub async fn recorded(device: &Device, _: Scale) {
    let (vocab, cols, steps) = (77, 64, 9);
    let mut numbers = Numbers::new(9);
    let table = Format::Q4.encode("table", vocab, cols, &numbers.floats(vocab * cols)).unwrap();
    let inner = Format::Q8.encode("inner", cols, cols, &numbers.floats(cols * cols)).unwrap();
    let embed = Weight::from_bytes(table.clone(), Format::Q4, vocab, cols, device);
    let layer = Weight::from_bytes(inner.clone(), Format::Q8, cols, cols, device);
    let settings = params(&(0.9, 20, 0.95, 5, 1.2, 0.0, 0.0));

    let [params, seen, tokens, state] =
        [&settings, &vec![0; vocab], &vec![0; steps], &vec![0; 4]].map(|values| words(values, device));
    let step = || {
        let residual = kernels::embed_drawn(&state, &embed);
        let x = kernels::linear(residual.clone(), &layer, None, None, Activation::Silu);
        let x = kernels::linear(x, &layer, None, Some(residual), Activation::None);
        let logits = kernels::linear(x, &embed, None, None, Activation::None);
        kernels::sample(logits.clone(), &params, &seen, &tokens, &state);
        logits
    };
    let recorded = launch::record(device, step).await.unwrap();
    // A second round after a reset must find the same buffers.
    for round in 0..2 {
        write_words(&seen, &vec![0; vocab]);
        write_words(&tokens, &vec![0; steps]);
        write_words(&state, &[4, 0, 3, 0]);
        for _ in 0..steps {
            recorded.replay().unwrap();
        }
        let drawn = read_words(&tokens).await.unwrap();

        let (mut seen, mut expected, mut state) = (vec![0; vocab], vec![0; steps], vec![4, 0, 3, 0]);
        for _ in 0..steps {
            let residual = naive::embedding(&state[2..3], &table, Format::Q4, vocab, cols);
            let x = naive::linear(&residual, &inner, Format::Q8, (cols, cols), None, None, Activation::Silu);
            let x = naive::linear(&x, &inner, Format::Q8, (cols, cols), None, Some(&residual), Activation::None);
            let logits = naive::linear(&x, &table, Format::Q4, (vocab, cols), None, None, Activation::None);
            naive::sample(&logits, &settings, &mut seen, &mut expected, &mut state);
        }
        assert_eq!(drawn, expected, "tokens of the replayed chain, round {round}");
    }
}

/// Microseconds per launch and per replayed launch, host time and GPU time together, of `count` tiny dependent
/// launches.
pub async fn launch_cost(device: &Device, count: usize) -> (f64, f64) {
    let state = words(&[0; 4], device);
    let chain = || (0..count).for_each(|_| kernels::advance(&state, 1));
    let recorded = launch::record(device, chain).await.unwrap();
    let launched = fastest(device, count, chain).await;
    write_words(&state, &[0]);
    let replayed = fastest(device, count, || recorded.replay().unwrap()).await;
    assert_eq!(read_words(&state).await.unwrap()[0] as usize, ROUNDS * count, "launches of all replays");
    (launched, replayed)
}

const ROUNDS: usize = 4;

/// Microseconds for each of `count` launches in the fastest of a few rounds.
async fn fastest(device: &Device, count: usize, enqueue: impl Fn()) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = web_time::Instant::now();
        enqueue();
        launch::sync(device).await.unwrap();
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e6 / count as f64);
    }
    fastest
}
