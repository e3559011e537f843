//! Weights out of nothing: reproducible, in a storage format, made as fast as memory takes them.

use std::cell::Cell;

use llava_web::Result;
use llava_web::bundle::source::ChunkSource;
use llava_web::bundle::{FORMAT_NAME, FORMAT_VERSION, FileEntry, Manifest, ModelInfo, Span, TensorEntry};
use llava_web::model::config::LlavaConfig;
use llava_web::model::parameters::{Needed, Role};
use llava_web::model::plan;
use llava_web::quant::Format;
use serde_json::Value;
use web_time::Instant;

use crate::clock::since;

/// xorshift64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }

    /// A stored tensor of about unit gain: rows of it times a vector of ones have a variance of about one.
    ///
    /// # Panics
    /// If `format` does not fit the shape.
    pub fn tensor(&mut self, format: Format, rows: usize, cols: usize) -> Vec<u8> {
        let gain = (cols as f32).sqrt().recip();
        // A sample is encoded and repeated; an odd number of blocks, so that rows differ.
        let blocks = ((SAMPLE / format.block()) | 1).min(rows * cols / format.block());
        let len = blocks * format.block();
        let values: Vec<f32> = self.floats(len).iter().map(|value| value * 1.7 * gain).collect();
        let (mut quants, mut scales) = (Vec::new(), Vec::new());
        format.encode_part("random", &values, &mut quants, &mut scales).expect("small numbers");
        let shape = "a format that fits the shape";
        let mut bytes = Vec::with_capacity(format.byte_len(rows, cols).expect(shape));
        let (quants_len, scales_len) = (format.quants_len(rows, cols), format.scales_len(rows, cols));
        for (sample, size) in [(quants, quants_len), (scales, scales_len)] {
            let end = bytes.len() + size.expect(shape);
            while bytes.len() < end {
                bytes.extend_from_slice(&sample[..sample.len().min(end - bytes.len())]);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

/// About as many numbers are made of which a tensor consists.
const SAMPLE: usize = 1 << 16;

/// A model with random weights: every tensor is a chunk of its own, made when it is asked for.
pub struct RandomSource {
    manifest: Manifest,
    /// Milliseconds spent on making numbers.
    pub made_in_ms: Cell<f64>,
}

impl RandomSource {
    /// All tensors of `config` whose names start with `prefix`; linear layers as `format` where it fits.
    pub fn new(config: &LlavaConfig, prefix: &str, format: Format) -> Self {
        let file = FileEntry { file: "tokenizer.json".into(), bytes: 0, sha256: String::new() };
        let entry = |Needed { name, shape, role, .. }: Needed| {
            let (rows, cols) = shape.split_first().expect("a shape");
            let cols: usize = cols.iter().product();
            let dtype = match role {
                Role::Vector => Format::F32,
                _ if format.fits(cols) => format,
                _ => Format::F16,
            };
            let shape = if shape.len() > 1 { vec![*rows, cols] } else { shape };
            TensorEntry { name, dtype, shape, spans: Vec::new() }
        };
        let needed = plan(config).into_iter().filter(|needed| needed.name.starts_with(prefix));
        Self::of(Manifest {
            format: FORMAT_NAME.into(),
            version: FORMAT_VERSION,
            model: ModelInfo { name: "random".into(), ..ModelInfo::default() },
            config: Value::Null,
            generation: Value::Null,
            preprocessor: Value::Null,
            quantization: format.name().into(),
            memory: None,
            tokenizer: file,
            tensors: needed.map(entry).collect(),
            chunks: Vec::new(),
            total_bytes: 0,
            second: None,
        })
    }

    /// The model of `manifest` with other weights.
    pub fn of(mut manifest: Manifest) -> Self {
        for (chunk, tensor) in manifest.tensors.iter_mut().enumerate() {
            let (rows, cols) = matrix(&tensor.shape);
            let bytes = tensor.dtype.byte_len(rows, cols).expect("a format that fits the shape");
            tensor.spans = vec![Span { chunk, offset: 0, bytes }];
        }
        Self { manifest, made_in_ms: Cell::new(0.0) }
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.manifest.tensors.iter().flat_map(|tensor| &tensor.spans).map(|span| span.bytes).sum()
    }
}

/// A vector is one row.
fn matrix(shape: &[usize]) -> (usize, usize) {
    match *shape {
        [rows, cols] => (rows, cols),
        _ => (1, shape.iter().product()),
    }
}

impl ChunkSource for RandomSource {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        let start = Instant::now();
        let TensorEntry { dtype, shape, .. } = &self.manifest.tensors[index];
        let (rows, cols) = matrix(shape);
        let bytes = Random::new(index as u64 + 1).tensor(*dtype, rows, cols);
        self.made_in_ms.set(self.made_in_ms.get() + since(start));
        Ok(bytes)
    }
}
