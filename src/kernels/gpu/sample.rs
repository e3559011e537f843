//! [`sample`](crate::kernels::sample) as a shader.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader};

/// How `sample.wgsl` runs on a kind of adapter.
#[derive(Clone, Copy)]
struct Shape {
    /// Square root of the number of invocations: what they find meets in two steps of as many.
    step: usize,
    /// Bits of a threshold that a pass finds, 2 or 4: more of them are fewer passes, and more comparisons.
    digit: u32,
}

const GPU: Shape = Shape { step: 16, digit: 4 };
const SOFTWARE: Shape = Shape { step: 8, digit: 2 };

fn shape() -> Shape {
    if gpu::software_adapter() { SOFTWARE } else { GPU }
}

/// In how many runs a draw goes through the vocabulary.
pub(super) fn lanes() -> usize {
    shape().step.pow(2)
}

fn shader(Shape { step, digit }: Shape) -> Shader {
    let (step, quads) = (step as u32, (1 << digit) / 4);
    Shader {
        name: "sample",
        text: wgsl!("sample"),
        constants: vec![("STEP", step), ("LANES", step * step), ("DIGIT", digit), ("QUADS", quads)],
        dims: &["vocab", "max_new"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    [GPU, SOFTWARE].map(shader).into()
}

pub(super) fn launch(logits: GpuTensor, params: &Buffer, seen: &Buffer, tokens: &Buffer, state: &Buffer) {
    let logits = gpu::contiguous(logits);
    let vocab = logits.meta.num_elements();
    assert_eq!(seen.words(), vocab, "sample: one word of `seen` for each of {vocab} logits");
    assert!(params.words() >= 9, "sample: too few parameters");
    assert!(state.words() >= 3, "sample: too short a state");
    let scores = gpu::output(&logits, [vocab]);
    let dims = [vocab as u32, (tokens.words() / 2) as u32];
    let [params, seen, tokens, state] = [params, seen, tokens, state].map(Buffer::gpu);
    gpu::launch(shader(shape()), &[&logits, params, seen, tokens, state, &scores], &dims, 1);
}
