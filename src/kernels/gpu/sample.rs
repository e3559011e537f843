//! [`sample`](crate::kernels::sample) as a shader.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader};

/// Square root of the number of invocations of `sample.wgsl`: what they find meets in two steps of as many.
fn step() -> usize {
    if gpu::software_adapter() { STEP_SOFTWARE } else { STEP }
}

/// In how many runs a draw goes through the vocabulary.
pub(super) fn lanes() -> usize {
    step() * step()
}

const STEP: usize = 16;
const STEP_SOFTWARE: usize = 8;

fn shader(step: usize) -> Shader {
    Shader {
        name: "sample",
        text: wgsl!("sample"),
        constants: vec![("STEP", step as u32), ("LANES", (step * step) as u32)],
        dims: &["vocab", "max_new"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    [STEP, STEP_SOFTWARE].map(shader).into()
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
    gpu::launch(shader(step()), &[&logits, params, seen, tokens, state, &scores], &dims, 1);
}
