//! [`rms_norm`](crate::kernels::rms_norm) as a shader.

use crate::device::gpu::{self, GpuTensor, Shader};

fn shader(subgroups: bool) -> Shader {
    Shader {
        name: "rms_norm",
        text: wgsl!("rms_norm"),
        constants: vec![("SUBGROUPS", subgroups as u32)],
        dims: &["n", "cols", "eps: f32"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    [false, true].map(shader).into()
}

pub(super) fn launch(x: GpuTensor, weight: GpuTensor, eps: f32) -> GpuTensor {
    let x = gpu::contiguous(x);
    let [n, cols] = x.meta.shape().dims();
    assert_eq!(weight.meta.num_elements(), cols, "rms_norm: weight of rows of {cols}");
    let out = gpu::output(&x, [n, cols]);
    let subgroups = gpu::software_adapter() && gpu::adapter_features().subgroups;
    gpu::launch(shader(subgroups), &[&x, &weight, &out], &[n as u32, cols as u32, eps.to_bits()], n);
    out
}
