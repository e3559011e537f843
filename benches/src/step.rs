//! Where the time of a decoded token goes: each kind of launch in a step by itself, at a decoder's own shapes, times how
//! often a token needs it.

use burn::tensor::Tensor;
use llava_web::Result;
use llava_web::device::Buffer;
use llava_web::kernels::{self, Activation, Heads, KvCache, KvFormat, RmsNorm, Weight};
use llava_web::quant::Format;
use llava_web::text::sampling::Sampling;

use crate::Bench;
use crate::clock::time;
use crate::kernels::rows;
use crate::models::{Shape, emit};
use crate::random::Random;

/// Emits milliseconds of a token at position `context` by kind of launch.
pub async fn run(bench: &mut Bench<'_>, name: &str, shape: Shape, context: usize) -> Result<()> {
    let [hidden, layers, heads, kv_heads, ffn, vocab] = shape;
    let device = bench.opened.device.clone();
    let heads = Heads { heads, kv_heads, head_dim: hidden / heads };
    let mut random = Random::new(7);
    let mut weight = |rows: usize, cols: usize| {
        Weight::from_bytes(random.tensor(Format::Q4, rows, cols), Format::Q4, rows, cols, &device)
    };
    let qkv = weight((heads.heads + 2 * kv_heads) * heads.head_dim, hidden);
    let (o, gate_up, down, head) =
        (weight(hidden, hidden), weight(2 * ffn, hidden), weight(hidden, ffn), weight(vocab, hidden));
    let row = |cols: usize| rows(Random::new(8).floats(cols), cols, &device);
    let (x, residual, inner, logits) = (row(hidden), row(hidden), row(ffn), row(vocab));
    let norm = Tensor::<1>::ones([hidden], &device);
    let ahead = RmsNorm { weight: &norm, eps: 1e-5 };
    let kv = KvCache::new(context + 1, heads, KvFormat::F32, &device);
    let rope = kernels::rope_table(&vec![0.0; heads.head_dim / 2], context + 1, &device);
    let words = |len: usize| Buffer::zeros(len, &device);
    let (state, params, seen, tokens) = (words(4), words(Sampling::WORDS), words(vocab), words(1 << 20));
    let drawing = words(4);
    state.write(&[context as u32, 0, 1, 0]);
    params.write(&Sampling::default().to_words(0));
    let launches: [(&str, usize, &dyn Fn()); 9] = [
        ("embedding", 1, &|| drop(kernels::embed_drawn(&state, &head))),
        ("rms_norm", 1, &|| drop(kernels::rms_norm(x.clone(), &norm, 1e-5))),
        ("norm and qkv", layers, &|| {
            drop(kernels::linear_rope_cache(x.clone(), Some(ahead), &qkv, None, &rope, &kv, &state, heads))
        }),
        ("attention", layers, &|| drop(kernels::attention(x.clone(), &kv, &state, heads))),
        ("o", layers, &|| drop(kernels::linear(x.clone(), &o, None, Some(residual.clone()), Activation::None))),
        ("norm and gate_up", layers, &|| {
            drop(kernels::linear_gated(x.clone(), Some(ahead), &gate_up, None, Activation::Silu))
        }),
        ("down", layers, &|| drop(kernels::linear(inner.clone(), &down, None, Some(x.clone()), Activation::None))),
        ("head", 1, &|| drop(kernels::linear(x.clone(), &head, None, None, Activation::None))),
        ("sample", 1, &|| kernels::sample(logits.clone(), &params, &seen, &tokens, &drawing)),
    ];
    for (what, count, launch) in launches {
        let timing = time(bench, |_| launch()).await?;
        emit(bench, name, &format!("at {context}: {count} x {what}"), count as f64 * timing.min_ms, "ms");
    }
    Ok(())
}
