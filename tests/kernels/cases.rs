//! Every operation on a device against its naive version, at odd shapes: one table for native tests and for the browser.

#[cfg(feature = "gpu")]
#[path = "shaders.rs"]
pub mod shaders;
#[cfg(feature = "gpu")]
pub use shaders::{folded_norm, refused, sample_of_each_kind, tune};

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Int, Tensor, TensorData};
use llava_web::device::{self, Buffer, read_floats};
use llava_web::kernels::{self, Activation};
use llava_web::kernels::{Heads, KvCache, KvFormat, RmsNorm, Weight, Window, naive};
use llava_web::quant::Format;

/// Hands the names of all tables to a runner's macro, so that no runner can miss one.
macro_rules! for_each_case {
    ($runner:ident) => {
        $runner!(
            activations,
            attention,
            depthwise,
            embedding,
            outliers,
            split_weights,
            linear,
            linear_rope_cache,
            linear_gated,
            norms,
            recorded,
            sample,
            tiny_scales
        );
    };
}

/// The same of those that a device with shaders has alone.
#[cfg(feature = "gpu")]
macro_rules! for_each_case_of_shaders {
    ($runner:ident) => {
        $runner!(folded_norm, refused, sample_of_each_kind, tune);
    };
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

/// Makes some of the numbers as large as real layers have them.
fn with_outliers(mut x: Vec<f32>) -> Vec<f32> {
    x.iter_mut().step_by(41).for_each(|x| *x *= 3e5);
    x
}

fn rows(values: &[f32], cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / cols, cols]), device)
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn words(values: &[u32], device: &Device) -> Buffer {
    Buffer::from_words(values, device)
}

fn tokens(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), device)
}

/// How far from the naive version linear layers may be that round no input.
const EXACT: f32 = 2e-5;

/// Panics unless every value is within `tolerance`, relative to the largest magnitude expected.
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_close_beside(what, actual, expected, expected, tolerance);
}

/// [`assert_close`], relative to the largest magnitude in `of`: what the expected values were computed from, where that may be far
/// larger than they are.
fn assert_close_beside(what: &str, actual: &[f32], expected: &[f32], of: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let magnitude = expected.iter().chain(of).fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        // Written so that a NaN fails too.
        let close = (actual - expected).abs() <= tolerance * magnitude;
        assert!(close, "{what}: element {i} is {actual}, not {expected} (magnitude {magnitude})");
    }
}

/// `[n, rows, cols]`, most of them multiples of no tile. For formats with blocks columns are rounded up to whole ones.
const LINEAR: &[[usize; 3]] = &[
    [1, 130, 96],
    [5, 65, 64],
    [3, 66, 588],
    [33, 7, 160],
    [6, 70, 33],
    [70, 131, 32],
    [9, 31, 588],
    [2, 5, 37],
    [1, 1, 1],
    [1, 257, 2240],
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
    [48, 67, 224],
    [20, 130, 96],
    [17, 36, 41],
    [1, 65, 588],
    [1, 7, 35],
    [66, 50, 144],
    [9, 20, 48],
    [1, 66, 1040],
    [1, 5, 72],
];

/// Columns of three blocks, and of no tile but the smallest.
fn three_blocks(format: Format) -> usize {
    3 * format.block().next_multiple_of(32)
}

/// The first activations are those of decoders and transformers; `activations` has all of them.
const OF_DECODERS: usize = 6;

/// What a variant makes of its inputs.
type Rounding = fn(&[f32]) -> Vec<f32>;

/// Every variant that this device can run on `n` rows of x and a weight of `format`, each set in turn while `case` runs
/// with its name, its tolerance and what it makes of its inputs.
async fn each_linear_variant<F: AsyncFnMut(&'static str, f32, Rounding)>(
    device: &Device,
    n: usize,
    format: Format,
    mut case: F,
) {
    match device.as_dispatch() {
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => shaders::each_linear_variant(n, format, case).await,
        _ => {
            case("cpu", EXACT, <[f32]>::to_vec).await;
            #[cfg(feature = "cpu")]
            if n == 1 && format.is_chunked() {
                kernels::cpu::set_precision(kernels::Precision::Fast);
                // A rounding of x may fall to the other side.
                case("cpu, 8 bits", 5e-3, naive::bytes).await;
                kernels::cpu::set_precision(kernels::Precision::Exact);
            }
        }
    }
}

/// Without a norm ahead of a linear layer of `variant`, and with one, in every way that this device has: `case` runs with the name of
/// the way and whether there is a norm.
#[cfg_attr(not(feature = "gpu"), allow(unused_variables, reason = "there is one way"))]
async fn each_norm_variant<F: AsyncFnMut(&'static str, bool)>(device: &Device, variant: &str, mut case: F) {
    case("", false).await;
    match device.as_dispatch() {
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => shaders::each_norm_variant(variant, async |name| case(name, true).await).await,
        _ => case("normed", true).await,
    }
}

/// A norm of rows of so many columns, and what it makes of `x`; nothing, and `x`, where there is none.
fn norm_of(numbers: &mut Numbers, normed: bool, x: &[f32], cols: usize) -> (Option<Vec<f32>>, Vec<f32>) {
    let weight = normed.then(|| numbers.floats(cols));
    let read = weight.as_ref().map_or(x.to_vec(), |weight| naive::rms_norm(x, weight, EPS));
    (weight, read)
}

/// Of norms: large enough for a mistake in it to show.
const EPS: f32 = 0.1;

/// The same of attention; `decode`: of few queries, too.
#[cfg_attr(not(feature = "gpu"), allow(unused_variables, reason = "there is one way"))]
async fn each_attention_variant<F: AsyncFnMut(&'static str)>(device: &Device, decode: bool, mut case: F) {
    match device.as_dispatch() {
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => shaders::each_attention_variant(decode, case).await,
        _ => case("cpu").await,
    }
}

pub async fn linear(device: &Device) {
    let mut numbers = Numbers::new(1);
    let mut count = 0;
    for &[n, out, cols] in LINEAR {
        for &format in Format::ALL {
            let cols = cols.next_multiple_of(format.block());
            let bytes = format.encode("weight", out, cols, &numbers.floats(out * cols)).unwrap();
            let weight = Weight::from_bytes(bytes.clone(), format, out, cols, device);
            each_linear_variant(device, n, format, async |variant, tolerance, inputs| {
                let act = Activation::ALL[count % OF_DECODERS];
                let bias = (count / 2 % 2 == 0).then(|| numbers.floats(out));
                let residual = (count % 3 != 0).then(|| numbers.floats(n * out));
                count += 1;
                let x = numbers.floats(n * cols);
                let actual = kernels::linear(
                    rows(&x, cols, device),
                    &weight,
                    bias.as_ref().map(|bias| vector(bias, device)).as_ref(),
                    residual.as_ref().map(|residual| rows(residual, out, device)),
                    act,
                );
                let (bias, residual) = (bias.as_deref(), residual.as_deref());
                let naive = |act| naive::linear(&inputs(&x), &bytes, format, (out, cols), bias, residual, act);
                let what = format!("linear {} {n}x{out}x{cols} {format:?} {act:?}", variant);
                let (actual, expected) = (read_floats(actual).await.unwrap(), naive(act));
                // As large as sums of so many products are, where there are few and they are nearly nothing: errors are not.
                let mut of = vec![(cols as f32).sqrt() / 3.0];
                if tolerance > EXACT {
                    // Where numbers are rounded the sums are off, and an activation makes nearly nothing of a negative sum.
                    of.extend(naive(Activation::None));
                }
                assert_close_beside(&what, &actual, &expected, &of, tolerance);
            })
            .await;
        }
    }
}

/// Every case of a table, with its number, in every format.
fn in_every_format<T>(table: &[T]) -> impl Iterator<Item = (usize, &T, Format)> {
    table.iter().enumerate().flat_map(|(i, case)| Format::ALL.iter().map(move |format| (i, case, *format)))
}

/// `[n, ffn, cols]`.
const GATED: &[[usize; 3]] = &[
    [1, 35, 64],
    [5, 33, 32],
    [3, 1, 32],
    [70, 66, 96],
    [1, 700, 160],
    [2, 129, 64],
    [1, 9, 37],
    [1, 6, 588],
    [1, 3, 2240],
];

pub async fn linear_gated(device: &Device) {
    let mut numbers = Numbers::new(5);
    let mut count = 0;
    for (i, [n, ffn, cols], format) in in_every_format(GATED) {
        let cols = &cols.next_multiple_of(format.block());
        let bytes = format.encode("weight", 2 * ffn, *cols, &numbers.floats(2 * ffn * cols)).unwrap();
        let weight = Weight::from_bytes(bytes.clone(), format, 2 * ffn, *cols, device);
        each_linear_variant(device, *n, format, async |variant, tolerance, inputs| {
            each_norm_variant(device, variant, async |norm_variant, normed| {
                let x = numbers.floats(n * cols);
                let x = if count % 3 == 0 { with_outliers(x) } else { x };
                let (norm, read) = norm_of(&mut numbers, normed, &x, *cols);
                let norm_vector = norm.map(|norm| vector(&norm, device));
                let norm = norm_vector.as_ref().map(|weight| RmsNorm { weight, eps: EPS });
                let bias = (i % 2 == 0).then(|| numbers.floats(2 * ffn));
                let bias_vector = bias.as_ref().map(|bias| vector(bias, device));
                let act = Activation::ALL[count % OF_DECODERS];
                count += 1;
                let x_rows = rows(&x, *cols, device);
                let actual = kernels::linear_gated(x_rows, norm, &weight, bias_vector.as_ref(), act);
                let shape = (2 * ffn, *cols);
                let sums =
                    naive::linear(&inputs(&read), &bytes, format, shape, bias.as_deref(), None, Activation::None);
                let what = format!("linear_gated {variant} {norm_variant} {n}x{ffn}x{cols} {format:?} {act:?}");
                // An activation makes nearly nothing of a negative sum.
                let expected = naive::gated(&sums, *ffn, act);
                let largest = sums.iter().fold(0f32, |largest, sum| largest.max(sum.abs()));
                let of = naive::gated(&[largest; 2], 1, act);
                assert_close_beside(&what, &read_floats(actual).await.unwrap(), &expected, &of, tolerance);
            })
            .await;
        })
        .await;
    }
}

/// Positions already in the cache, new ones, capacity, heads, key/value heads, head size.
const ROPE_CACHE: &[(usize, usize, usize, [usize; 3])] = &[
    (7, 1, 8, [3, 1, 40]),
    (3, 5, 16, [4, 2, 32]),
    (30, 37, 70, [2, 2, 64]),
    (0, 1, 3, [1, 1, 4]),
    // More than fits: what lies beyond is dropped.
    (10, 9, 15, [4, 4, 36]),
    (63, 3, 100, [8, 1, 128]),
    (0, 700, 700, [2, 1, 64]),
];

pub async fn linear_rope_cache(device: &Device) {
    let mut numbers = Numbers::new(6);
    let mut count = 0;
    for (i, (position, n, capacity, [heads, kv_heads, head_dim]), format) in in_every_format(ROPE_CACHE) {
        let (position, n, capacity, cols) = (*position, *n, *capacity, 64usize.next_multiple_of(format.block()));
        let shape = Heads { heads: *heads, kv_heads: *kv_heads, head_dim: *head_dim };
        let out = (heads + 2 * kv_heads) * head_dim;
        let frequencies: Vec<f32> =
            (0..head_dim / 2).map(|i| 1e4f32.powf(-2.0 * i as f32 / *head_dim as f32)).collect();
        let rope = kernels::rope_table(&frequencies, capacity, device);
        let table = naive::rope_table(&frequencies, capacity);
        let state = words(&[position as u32, 0, 0, 0], device);
        let bytes = format.encode("weight", out, cols, &numbers.floats(out * cols)).unwrap();
        let weight = Weight::from_bytes(bytes.clone(), format, out, cols, device);
        for kv_format in [KvFormat::F32, KvFormat::F16] {
            if kv_format == KvFormat::F16 && head_dim % 8 != 0 {
                continue;
            }
            each_linear_variant(device, n, format, async |variant, tolerance, inputs| {
                each_norm_variant(device, variant, async |norm_variant, normed| {
                    let what = format!("{n} after {position} of {capacity}, {shape:?} {format:?} {kv_format:?}");
                    let what = format!("{variant} {norm_variant} {what}");
                    let width = kv_heads * head_dim;
                    let (mut k, mut v) = (vec![0.0; capacity * width], vec![0.0; capacity * width]);
                    let kv = KvCache::new(capacity, shape, kv_format, device);
                    let x = numbers.floats(n * cols);
                    // Without a norm they are more than a cache of f16 holds.
                    let x = if normed && count % 3 == 0 { with_outliers(x) } else { x };
                    count += 1;
                    let bias = (i % 2 == 0).then(|| numbers.floats(out));
                    let bias_vector = bias.as_ref().map(|bias| vector(bias, device));
                    let (norm, read) = norm_of(&mut numbers, normed, &x, cols);
                    let norm_vector = norm.map(|norm| vector(&norm, device));
                    let norm = norm_vector.as_ref().map(|weight| RmsNorm { weight, eps: EPS });
                    let (x, bias_vector) = (rows(&x, cols, device), bias_vector.as_ref());
                    let q = kernels::linear_rope_cache(x, norm, &weight, bias_vector, &rope, &kv, &state, shape);
                    let (read, bias) = (inputs(&read), bias.as_deref());
                    let sums = naive::linear(&read, &bytes, format, (out, cols), bias, None, Activation::None);
                    let expected = naive::rope_cache(&sums, &table, &mut k, &mut v, position, shape);
                    assert_close(&format!("rope q: {what}"), &read_floats(q).await.unwrap(), &expected, tolerance);
                    // Rows that were not written hold anything.
                    let written = position * width..(position + n).min(capacity) * width;
                    let cached = async |cache: &Buffer| {
                        let values = cache.read().await.unwrap();
                        kv_format.unpack(&values, shape.head_dim)[written.clone()].to_vec()
                    };
                    let tolerance = if kv_format == KvFormat::F16 { tolerance.max(1e-3) } else { tolerance };
                    assert_close(&format!("cached k: {what}"), &cached(&kv.k).await, &k[written.clone()], tolerance);
                    assert_close(&format!("cached v: {what}"), &cached(&kv.v).await, &v[written.clone()], tolerance);
                })
                .await;
            })
            .await;
        }
    }
}

/// Weights so small that their f16 scales are subnormal: a GPU that flushes those loses the tensor.
pub async fn tiny_scales(device: &Device) {
    let mut numbers = Numbers::new(2);
    for &format in Format::ALL {
        let cols = 64usize.next_multiple_of(format.block());
        for n in [1, 7] {
            let values: Vec<f32> = numbers.floats(40 * cols).iter().map(|value| value * 1e-4).collect();
            let bytes = format.encode("weight", 40, cols, &values).unwrap();
            let weight = Weight::from_bytes(bytes.clone(), format, 40, cols, device);
            let x = numbers.floats(n * cols);
            let actual = kernels::linear(rows(&x, cols, device), &weight, None, None, Activation::None);
            let expected = naive::linear(&x, &bytes, format, (40, cols), None, None, Activation::None);
            let actual: Vec<f32> = read_floats(actual).await.unwrap().iter().map(|value| value * 1e4).collect();
            let expected: Vec<f32> = expected.iter().map(|value| value * 1e4).collect();
            assert_close(&format!("tiny scales {format:?} n {n}"), &actual, &expected, 2e-5);
        }
    }
}

/// Inputs as some layers of real models have them, beyond the largest f16: no variant may make infinities of them.
pub async fn outliers(device: &Device) {
    let mut numbers = Numbers::new(11);
    let out = 70;
    for &format in Format::ALL {
        let cols = three_blocks(format);
        let bytes = format.encode("weight", out, cols, &numbers.floats(out * cols)).unwrap();
        let weight = Weight::from_bytes(bytes.clone(), format, out, cols, device);
        for n in [1, 9] {
            let x = with_outliers(numbers.floats(n * cols));
            each_linear_variant(device, n, format, async |variant, tolerance, inputs| {
                let actual = kernels::linear(rows(&x, cols, device), &weight, None, None, Activation::None);
                let expected = naive::linear(&inputs(&x), &bytes, format, (out, cols), None, None, Activation::None);
                let what = format!("outliers {} {n} {format:?}", variant);
                assert_close(&what, &read_floats(actual).await.unwrap(), &expected, tolerance);
            })
            .await;
        }
    }
}

/// Each activation over the range where it bends, and far beyond.
pub async fn activations(device: &Device) {
    let identity = Format::F32.encode("identity", 1, 1, &[1.0]).unwrap();
    let weight = Weight::from_bytes(identity, Format::F32, 1, 1, device);
    let x: Vec<f32> = (-120..=120).map(|i| i as f32 / 10.0).chain([-3e4, -90.0, 90.0, 3e4]).collect();
    for act in Activation::ALL {
        let actual = read_floats(kernels::linear(rows(&x, 1, device), &weight, None, None, act)).await.unwrap();
        for (x, actual) in x.iter().zip(actual) {
            let expected = act.of(*x as f64) as f32;
            let close = (actual - expected).abs() <= 2e-6 * (1.0 + expected.abs());
            assert!(close, "{act:?}({x}) is {actual}, not {expected}");
        }
    }
}

pub async fn embedding(device: &Device) {
    let mut numbers = Numbers::new(3);
    let table: &[[usize; 3]] = &[[5, 70, 64], [1, 33, 96], [9, 12, 37], [3, 5, 2], [300, 1000, 160], [65, 3, 588]];
    for [n, vocab, cols] in table {
        for &format in Format::ALL {
            let cols = &cols.next_multiple_of(format.block());
            let bytes = format.encode("table", *vocab, *cols, &numbers.floats(vocab * cols)).unwrap();
            let table = Weight::from_bytes(bytes.clone(), format, *vocab, *cols, device);
            let mut ids: Vec<u32> = (0..*n).map(|_| numbers.word() % *vocab as u32).collect();
            let what = format!("embedding {n} of {vocab}x{cols} {format:?}");
            if *n > 2 {
                ids[2] = *vocab as u32 + 7;
            }
            let actual = read_floats(kernels::embedding(tokens(&ids, device), &table)).await.unwrap();
            assert_close(&what, &actual, &naive::embedding(&ids, &bytes, format, *vocab, *cols), 1e-6);
            let state = words(&[9, 9, 1, 9], device);
            let drawn = read_floats(kernels::embed_drawn(&state, &table)).await.unwrap();
            assert_close(&what, &drawn, &naive::embedding(&[1], &bytes, format, *vocab, *cols), 1e-6);
        }
    }
}

/// A weight in several buffers does what it does in one.
pub async fn split_weights(device: &Device) {
    let mut numbers = Numbers::new(9);
    let (n, out) = (5, 74);
    for &format in Format::ALL {
        let cols = three_blocks(format);
        let bytes = format.encode("weight", out, cols, &numbers.floats(out * cols)).unwrap();
        let limit = bytes.len() as u64 / 2 - 64;
        let split = |stack| Weight::split("big", bytes.clone(), format, out, cols, stack, limit, device);
        let (weight, stacked) = (split(1).unwrap(), split(2).unwrap());
        assert_eq!((weight.buffers(), stacked.buffers()), (3, 3), "{format:?}");
        let error = split(0).unwrap_err().to_string();
        assert!(error.contains("`big`") && error.contains(&limit.to_string()), "{error}");
        let least = Weight::split("big", bytes.clone(), format, out, cols, 1, 16, device).unwrap_err();
        assert_eq!(least.code(), "gpu", "{least}");

        let (x, bias, residual) = (numbers.floats(n * cols), numbers.floats(out), numbers.floats(n * out));
        let (x_rows, bias_vector) = (rows(&x, cols, device), vector(&bias, device));
        let shape = (out, cols);
        let actual = kernels::linear(
            x_rows.clone(),
            &weight,
            Some(&bias_vector),
            Some(rows(&residual, out, device)),
            Activation::Gelu,
        );
        let expected = naive::linear(&x, &bytes, format, shape, Some(&bias), Some(&residual), Activation::Gelu);
        assert_close(&format!("split linear {format:?}"), &read_floats(actual).await.unwrap(), &expected, 2e-5);

        let (norm, read) = norm_of(&mut numbers, true, &x, cols);
        let norm = vector(&norm.unwrap(), device);
        let norm = Some(RmsNorm { weight: &norm, eps: EPS });
        let actual = kernels::linear_gated(x_rows, norm, &stacked, Some(&bias_vector), Activation::Silu);
        let sums = naive::linear(&read, &bytes, format, shape, Some(&bias), None, Activation::None);
        let expected = naive::gated(&sums, out / 2, Activation::Silu);
        assert_close(&format!("split gated {format:?}"), &read_floats(actual).await.unwrap(), &expected, 2e-5);

        let ids = [0, 73, 24, 25, 99, 49, 50];
        let actual = read_floats(kernels::embedding(tokens(&ids, device), &weight)).await.unwrap();
        let expected = naive::embedding(&ids, &bytes, format, out, cols);
        assert_close(&format!("split embedding {format:?}"), &actual, &expected, 1e-6);
        let drawn = read_floats(kernels::embed_drawn(&words(&[9, 9, 60, 9], device), &weight)).await.unwrap();
        let expected = naive::embedding(&[60], &bytes, format, out, cols);
        assert_close(&format!("split embed_drawn {format:?}"), &drawn, &expected, 1e-6);
    }
}

/// Map, channels, kernels for each, whether there is a bias.
const DEPTHWISE: &[(Window, usize, usize, bool)] = &[
    (Window { side: 1, kernel: 1, stride: 1, padding: 0, out: 1 }, 1, 1, false),
    (Window { side: 5, kernel: 3, stride: 1, padding: 1, out: 5 }, 7, 1, true),
    (Window { side: 14, kernel: 3, stride: 2, padding: 0, out: 7 }, 96, 1, true),
    (Window { side: 13, kernel: 5, stride: 2, padding: 2, out: 7 }, 40, 1, true),
    (Window { side: 9, kernel: 5, stride: 1, padding: 2, out: 9 }, 83, 1, false),
    (Window { side: 11, kernel: 7, stride: 1, padding: 3, out: 11 }, 20, 1, true),
    (Window { side: 12, kernel: 7, stride: 2, padding: 3, out: 6 }, 33, 1, true),
    // The kernel is larger than the map, or as large.
    (Window { side: 2, kernel: 7, stride: 1, padding: 3, out: 2 }, 130, 1, true),
    (Window { side: 6, kernel: 6, stride: 1, padding: 0, out: 1 }, 70, 1, false),
    // Zeros behind alone, and places beyond the map.
    (Window { side: 3, kernel: 2, stride: 3, padding: 0, out: 2 }, 5, 1, true),
    (Window { side: 41, kernel: 3, stride: 1, padding: 1, out: 41 }, 160, 1, true),
    (Window { side: 10, kernel: 7, stride: 2, padding: 3, out: 5 }, 24, 2, true),
    (Window { side: 4, kernel: 3, stride: 1, padding: 1, out: 4 }, 3, 5, false),
];

pub async fn depthwise(device: &Device) {
    let mut numbers = Numbers::new(12);
    for (i, &(window, inputs, multiple, has_bias)) in DEPTHWISE.iter().enumerate() {
        for act in [Activation::None, Activation::ALL[i % Activation::ALL.len()]] {
            let channels = inputs * multiple;
            let x = numbers.floats(window.inputs() * inputs);
            let weight = numbers.floats(window.kernel * window.kernel * channels);
            let bias = has_bias.then(|| numbers.floats(channels));
            let actual = kernels::depthwise(
                rows(&x, inputs, device),
                &rows(&weight, channels, device),
                bias.as_ref().map(|bias| vector(bias, device)).as_ref(),
                window,
                act,
            );
            let expected = naive::depthwise(&x, &weight, bias.as_deref(), window, act);
            let what = format!("depthwise {window:?} of {multiple} x {inputs} {act:?}");
            assert_close(&what, &read_floats(actual).await.unwrap(), &expected, 2e-5);
        }
    }
}

pub async fn norms(device: &Device) {
    let mut numbers = Numbers::new(4);
    let table: &[[usize; 2]] = &[[3, 70], [1, 1], [17, 256], [1, 577], [70000, 3], [700, 64], [2, 4096]];
    for [n, cols] in table {
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

/// Positions already in the cache, new ones, capacity, heads, key/value heads, head size.
type Cached = (usize, usize, usize, [usize; 3]);

const ATTENTION: &[(Cached, KvFormat)] = &[
    ((100, 1, 300, [6, 2, 64]), KvFormat::F32),
    ((30, 37, 70, [2, 2, 64]), KvFormat::F16),
    ((0, 5, 16, [4, 2, 32]), KvFormat::F32),
    ((63, 4, 100, [8, 1, 128]), KvFormat::F16),
    ((7, 1, 8, [3, 1, 40]), KvFormat::F32),
    ((0, 1, 1, [1, 1, 4]), KvFormat::F32),
    // As many tiles of keys, and splits, as there are.
    ((1022, 3, 2000, [1, 1, 128]), KvFormat::F32),
    ((1999, 1, 2000, [2, 1, 64]), KvFormat::F16),
    // More than fits: the last queries see the whole cache.
    ((13, 4, 15, [5, 1, 36]), KvFormat::F32),
    ((10, 9, 15, [4, 4, 36]), KvFormat::F32),
    ((0, 65, 65, [3, 1, 80]), KvFormat::F32),
    ((31, 33, 64, [1, 1, 96]), KvFormat::F16),
    ((0, 700, 700, [2, 1, 64]), KvFormat::F16),
    ((650, 50, 701, [4, 2, 128]), KvFormat::F32),
];

/// Every variant of attention: over caches in every format, and over all positions. One case, as the choice of a
/// variant holds for the whole process.
pub async fn attention(device: &Device) {
    let mut numbers = Numbers::new(6);
    for ((position, n, capacity, [heads, kv_heads, head_dim]), format) in ATTENTION {
        let shape = Heads { heads: *heads, kv_heads: *kv_heads, head_dim: *head_dim };
        let cache = Cache::new(&mut numbers, *position + n, *capacity, shape, *format, device);
        cache.check(&mut numbers, *n, &[*position]).await;
    }
    // Every position, hence every split and tile's boundary.
    let shape = Heads { heads: 2, kv_heads: 1, head_dim: 32 };
    let positions: Vec<usize> = (0..700).collect();
    Cache::new(&mut numbers, 700, 700, shape, KvFormat::F32, device).check(&mut numbers, 1, &positions).await;

    for [n, heads, head_dim] in ATTENTION_FULL {
        let shape = Heads { heads: *heads, kv_heads: *heads, head_dim: *head_dim };
        // Large scores, so that the softmax is sharp and its running maximum moves.
        let qkv: Vec<f32> = numbers.floats(n * 3 * heads * head_dim).iter().map(|value| value * 4.0).collect();
        let expected = naive::attention_full(&qkv, shape);
        each_attention_variant(device, false, async |variant| {
            let actual = kernels::attention_full(rows(&qkv, 3 * heads * head_dim, device), shape);
            let what = format!("attention_full {variant} {n} {shape:?}");
            assert_close(&what, &read_floats(actual).await.unwrap(), &expected, 5e-5);
        })
        .await;
    }
}

/// Positions, heads, head size.
const ATTENTION_FULL: &[[usize; 3]] = &[[65, 2, 64], [5, 3, 40], [1, 1, 40], [17, 2, 128], [50, 2, 36], [577, 2, 64]];

/// A cache on the GPU and what it holds.
struct Cache {
    k: Vec<f32>,
    v: Vec<f32>,
    kv: KvCache,
    heads: Heads,
    state: Buffer,
    device: Device,
}

impl Cache {
    /// With `filled` rows; the others, which nobody may read, are not numbers.
    fn new(
        numbers: &mut Numbers,
        filled: usize,
        capacity: usize,
        heads: Heads,
        format: KvFormat,
        device: &Device,
    ) -> Self {
        let width = heads.kv_heads * heads.head_dim;
        let mut values = || {
            let mut values = numbers.floats(capacity * width);
            values.iter_mut().skip(filled * width).for_each(|value| *value = f32::NAN);
            let packed = format.pack(&values, heads.head_dim);
            (words(&packed, device), format.unpack(&packed, heads.head_dim))
        };
        let ((k_words, k), (v_words, v)) = (values(), values());
        let kv = KvCache { k: k_words, v: v_words, capacity, format };
        Self { k, v, kv, heads, state: words(&[0; 4], device), device: device.clone() }
    }

    /// Attention of `n` queries after each of `positions`, by every variant.
    async fn check(&self, numbers: &mut Numbers, n: usize, positions: &[usize]) {
        let width = self.heads.heads * self.heads.head_dim;
        // Large scores, so that the softmax is sharp and its running maximum moves.
        let q: Vec<f32> = numbers.floats(n * width).iter().map(|value| value * 4.0).collect();
        let q_rows = rows(&q, width, &self.device);
        for position in positions {
            self.state.write(&[*position as u32]);
            let expected = naive::attention(&q, &self.k, &self.v, *position, self.heads);
            each_attention_variant(&self.device, true, async |variant| {
                let actual = kernels::attention(q_rows.clone(), &self.kv, &self.state, self.heads);
                let KvCache { format, capacity, .. } = self.kv;
                let what =
                    format!("attention {variant} {n} after {position} of {capacity}, {:?} {format:?}", self.heads);
                assert_close(&what, &read_floats(actual).await.unwrap(), &expected, 2e-5);
            })
            .await;
        }
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

pub async fn sample(device: &Device) {
    let draw = |logits: &[f32], [params, seen, tokens, state]: &[Buffer; 4]| {
        kernels::sample(rows(logits, logits.len(), device), params, seen, tokens, state);
    };
    sample_as(device, kernels::sample_lanes(device), draw).await;
}

/// Draws with `draw(logits, [params, seen, tokens, state])`, in the order of so many `lanes`.
async fn sample_as(device: &Device, lanes: usize, draw: impl Fn(&[f32], &[Buffer; 4])) {
    let mut numbers = Numbers::new(8);
    let table: &[usize] = &[7, 300, 256, 1, 5003, 32000];
    for vocab in table {
        for settings in SETTINGS {
            let what = format!("sample of {vocab} with {settings:?}");
            let params = params(settings);
            let mut seen: Vec<u32> = (0..*vocab).map(|_| numbers.word() % 3 / 2).collect();
            let (mut tokens, mut state) = (vec![0; 12], vec![20, 0, 0, 0]);
            let gpu = [&params, &seen, &tokens, &state].map(|values| words(values, device));
            // Two more steps than there is room for.
            for step in 0..8 {
                // On even steps a coarse grid, full of ties.
                let grid = if step % 2 == 0 { 4.0 } else { 1e5 };
                // Of a large vocabulary few tokens are likely: else rounding decides between neighbours of the draw's
                // order.
                let range = if *vocab > 1000 { 60.0 } else { 4.0 };
                let mut logits: Vec<f32> =
                    (0..*vocab).map(|_| (numbers.float() * range * grid).round() / grid).collect();
                if step == 3 {
                    // One that is no number, wherever it stands, leaves nothing to draw from.
                    let broken = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];
                    logits[numbers.word() as usize % vocab] = broken[numbers.word() as usize % 4];
                }
                draw(&logits, &gpu);
                naive::sample(&logits, lanes, &params, &mut seen, &mut tokens, &mut state);
                assert_eq!(gpu[3].read().await.unwrap(), state, "{what}: state after step {step}");
                assert_eq!(state[2] == kernels::BROKEN_LOGITS, step == 3, "{what}: step {step}");
            }
            let (drawn, expected) = (gpu[2].read().await.unwrap(), tokens.split_at(6));
            assert_eq!(drawn[..6], *expected.0, "{what}: tokens");
            for (found, expected) in
                drawn[6..].iter().zip(expected.1).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)))
            {
                let close = (found - expected).abs() <= 1e-4 + 1e-5 * expected.abs();
                assert!(close, "{what}: a log-probability of {found}, not {expected}");
            }
            assert_eq!(gpu[1].read().await.unwrap(), seen, "{what}: seen");
        }
    }
}

/// A chain that feeds itself (embed the drawn token, two layers, draw), recorded once and replayed.
pub async fn recorded(device: &Device) {
    let (vocab, cols, steps) = (77, 64, 9);
    let mut numbers = Numbers::new(9);
    let table = Format::Q4.encode("table", vocab, cols, &numbers.floats(vocab * cols)).unwrap();
    let inner = Format::Q8.encode("inner", cols, cols, &numbers.floats(cols * cols)).unwrap();
    let embed = Weight::from_bytes(table.clone(), Format::Q4, vocab, cols, device);
    let layer = Weight::from_bytes(inner.clone(), Format::Q8, cols, cols, device);
    let settings = params(&(0.9, 20, 0.95, 5, 1.2, 0.0, 0.0));

    let [params, seen, tokens, state] =
        [&settings, &vec![0; vocab], &vec![0; 2 * steps], &vec![0; 4]].map(|values| words(values, device));
    let step = || {
        let residual = kernels::embed_drawn(&state, &embed);
        let x = kernels::linear(residual.clone(), &layer, None, None, Activation::Silu);
        let x = kernels::linear(x, &layer, None, Some(residual), Activation::None);
        let logits = kernels::linear(x, &embed, None, None, Activation::None);
        kernels::sample(logits.clone(), &params, &seen, &tokens, &state);
        logits
    };
    let recorded = device::record(device, &step).await.unwrap();
    // A second round after a reset must find the same buffers.
    for round in 0..2 {
        seen.write(&vec![0; vocab]);
        tokens.write(&vec![0; 2 * steps]);
        state.write(&[4, 0, 3, 0]);
        for _ in 0..steps {
            recorded.replay(&step).unwrap();
        }
        let drawn = tokens.read().await.unwrap();

        let (mut seen, mut expected, mut state) = (vec![0; vocab], vec![0; 2 * steps], vec![4, 0, 3, 0]);
        for _ in 0..steps {
            let residual = naive::embedding(&state[2..3], &table, Format::Q4, vocab, cols);
            let x = naive::linear(&residual, &inner, Format::Q8, (cols, cols), None, None, Activation::Silu);
            let x = naive::linear(&x, &inner, Format::Q8, (cols, cols), None, Some(&residual), Activation::None);
            let logits = naive::linear(&x, &table, Format::Q4, (vocab, cols), None, None, Activation::None);
            naive::sample(&logits, kernels::sample_lanes(device), &settings, &mut seen, &mut expected, &mut state);
        }
        assert_eq!(drawn[..steps], expected[..steps], "tokens of the replayed chain, round {round}");
    }
}
