//! [`rms_norm`](crate::kernels::rms_norm) as a shader.

use crate::device::gpu::{self, GpuTensor, Shader};

/// The kinds of adapters that there is a shape for.
#[derive(Clone, Copy)]
enum Shape {
    Gpu,
    Cpu,
    CpuSubgroups,
}

/// `quads`: four columns at once, which costs as much as one after the other on a CPU adapter.
fn shader(shape: Shape, quads: bool) -> Shader {
    let step = if matches!(shape, Shape::Gpu) { 16 } else { 8 };
    Shader {
        name: "rms_norm",
        text: wgsl!("rms_norm"),
        constants: vec![
            ("SUBGROUPS", matches!(shape, Shape::CpuSubgroups) as u32),
            ("STEP", step),
            ("QUADS", quads as u32),
            ("WIDTH", if quads { 4 } else { 1 }),
        ],
        dims: &["n", "cols", "eps: f32"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    let shapes = [(Shape::Gpu, true), (Shape::Gpu, false), (Shape::Cpu, false), (Shape::CpuSubgroups, false)];
    shapes.map(|(shape, quads)| shader(shape, quads)).into()
}

pub(super) fn launch(x: GpuTensor, weight: GpuTensor, eps: f32) -> GpuTensor {
    let (x, weight) = (gpu::contiguous(x), gpu::contiguous(weight));
    let [n, cols] = x.meta.shape().dims();
    assert_eq!(weight.meta.num_elements(), cols, "rms_norm: weight of rows of {cols}");
    let out = gpu::output(&x, [n, cols]);
    let shape = match (gpu::software_adapter(), gpu::adapter_features().subgroups) {
        (false, _) => Shape::Gpu,
        (true, false) => Shape::Cpu,
        (true, true) => Shape::CpuSubgroups,
    };
    let quads = matches!(shape, Shape::Gpu) && cols.is_multiple_of(4);
    gpu::launch(shader(shape, quads), &[&x, &weight, &out], &[n as u32, cols as u32, eps.to_bits()], n);
    out
}
