//! What devices with shaders have beside the operations: variants to choose from, launches that are refused, and their cost.

use std::collections::BTreeMap;

use super::{EXACT, Numbers, Rounding, words};
use burn::tensor::{Device, Tensor};
use llava_web::device::{self, Buffer};
use llava_web::kernels::{
    self, Activation, AttentionUse, AttentionVariant, Heads, KvCache, KvFormat, LinearUse, LinearVariant, ModelShapes,
    NormShape, NormVariant, Precision, RmsNorm, Shader, TuneWork, Variants, VisionShapes, Weight, naive,
};
use llava_web::quant::Format;

/// As `each_linear_variant` of all devices.
pub async fn each_linear_variant<F: AsyncFnMut(&'static str, f32, Rounding)>(n: usize, format: Format, mut case: F) {
    let use_ = LinearUse::of(n);
    let runs = |variant: &LinearVariant| {
        variant.available(&device::gpu::adapter_features()) && variant.takes(use_) && variant.fits(format)
    };
    for variant in LinearVariant::ALL.into_iter().filter(runs) {
        let (tolerance, inputs): (_, Rounding) = match variant {
            // A rounding of x may fall to the other side.
            LinearVariant::Lanes64Dot | LinearVariant::Dot => (5e-3, naive::bytes),
            // What is added to each number, and subtracted again, takes two bits of the sums.
            variant if variant.reads_halves() => (5.0 * EXACT, <[f32]>::to_vec),
            // Tiles of f16 are of the weight, and what is f16 stays as it is.
            LinearVariant::FewF16 | LinearVariant::MatF16 if format == Format::F16 => (EXACT, <[f32]>::to_vec),
            variant if variant.precision() == Precision::Half => (2e-3, <[f32]>::to_vec),
            _ => (EXACT, <[f32]>::to_vec),
        };
        kernels::set_linear_variant(use_, Some(variant));
        case(variant.name(), tolerance, inputs).await;
        kernels::set_linear_variant(use_, None);
    }
}

/// As `each_norm_variant` of all devices.
pub async fn each_norm_variant<F: AsyncFnMut(&'static str)>(linear: &str, mut case: F) {
    let folds = LinearVariant::ALL.into_iter().any(|variant| variant.name() == linear && variant.is_lanes());
    let runs = |variant: &NormVariant| {
        variant.available(&device::gpu::adapter_features()) && (folds || *variant == NormVariant::Alone)
    };
    for variant in NormVariant::ALL.into_iter().filter(runs) {
        kernels::set_norm_variant(Some(variant));
        case(variant.name()).await;
    }
    kernels::set_norm_variant(None);
}

/// As `each_attention_variant` of all devices.
pub async fn each_attention_variant<F: AsyncFnMut(&'static str)>(decode: bool, mut case: F) {
    let use_ = if decode { AttentionUse::Decode } else { AttentionUse::Flash };
    let available = |variant: &AttentionVariant| variant.available(use_, &device::gpu::adapter_features());
    for variant in AttentionVariant::ALL.into_iter().filter(available) {
        kernels::set_attention_variant(AttentionUse::Decode, decode.then_some(variant));
        kernels::set_attention_variant(AttentionUse::Flash, Some(variant));
        case(variant.name()).await;
    }
    kernels::set_attention_variant(AttentionUse::Decode, None);
    kernels::set_attention_variant(AttentionUse::Flash, None);
}

/// Microseconds per launch and per replayed launch, host time and GPU time together, of `count` tiny dependent
/// launches.
pub async fn launch_cost(device: &Device, count: usize) -> (f64, f64) {
    let state = words(&[0; 4], device);
    let chain = || (0..count).for_each(|_| kernels::advance(&state, 1));
    let recorded = device::record(device, chain).await.unwrap();
    let launched = fastest(device, count, chain).await;
    state.write(&[0]);
    let replayed = fastest(device, count, || recorded.replay(chain).unwrap()).await;
    assert_eq!(state.read().await.unwrap()[0] as usize, ROUNDS * count, "launches of all replays");
    (launched, replayed)
}

const ROUNDS: usize = 4;

/// Microseconds for each of `count` launches in the fastest of a few rounds.
async fn fastest(device: &Device, count: usize, enqueue: impl Fn()) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = web_time::Instant::now();
        enqueue();
        device::sync(device).await.unwrap();
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e6 / count as f64);
    }
    fastest
}

/// A norm that is folded into the linear layer behind it is no launch.
pub async fn folded_norm(device: &Device) {
    let (weight, norm) =
        (Weight::from_bytes(vec![0; 2 * 64 * 4], Format::F32, 2, 64, device), Tensor::ones([64], device));
    let x = Tensor::<2>::zeros([1, 64], device);
    kernels::set_linear_variant(LinearUse::Vec, Some(LinearVariant::Lanes64));
    let mut launches = Vec::new();
    for variant in NormVariant::ALL.into_iter().filter(|way| way.available(&device::gpu::adapter_features())) {
        kernels::set_norm_variant(Some(variant));
        let norm = RmsNorm { weight: &norm, eps: 1e-5 };
        let gated = || drop(kernels::linear_gated(x.clone(), Some(norm), &weight, None, Activation::None));
        launches.push(device::record(device, gated).await.unwrap().launches());
    }
    assert_eq!(launches, [2, 1][..launches.len()], "by itself, and folded where there are registers for it");
    release_variants();
}

/// Drawing as on each kind of adapter, whichever this one is.
pub async fn sample_of_each_kind(device: &Device) {
    let shaders: Vec<Shader> = kernels::shaders().into_iter().filter(|shader| shader.name == "sample").collect();
    assert!(shaders.len() > 1);
    for shader in shaders {
        let lanes = shader.constants.iter().find(|(name, _)| *name == "LANES").unwrap().1;
        let draw = |logits: &[f32], [params, seen, tokens, state]: &[Buffer; 4]| {
            let bits: Vec<u32> = logits.iter().map(|logit| logit.to_bits()).collect();
            let [logits, scores] = [words(&bits, device), Buffer::zeros(bits.len(), device)];
            let dims = [bits.len() as u32, (tokens.words() / 2) as u32];
            device::gpu::launch_on(shader.clone(), &[&logits, params, seen, tokens, state, &scores], &dims, 1);
        };
        super::sample_as(device, lanes as usize, draw).await;
    }
}

/// What the device refuses is an error of who asked for it, also in a browser, and nothing else suffers from it.
pub async fn refused(device: &Device) {
    let gpu = device::open().await.unwrap();
    let (state, out) = (words(&[1, 2, 3, 4], device), words(&[0; 4], device));
    let binding = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;\n";
    let main = "@compute @workgroup_size(1)\nfn main()";
    // No WGSL; and WGSL of which no pipeline can be made.
    for (name, text) in [
        ("no_wgsl", format!("{binding}{main} {{ out[0] = nothing + dims.n; }}")),
        (
            "too_large",
            format!(
                "{binding}var<workgroup> all: array<u32, 9000000>;\n{main} {{ all[dims.n] = 1u; out[0] = all[1]; }}"
            ),
        ),
    ] {
        let shader = Shader { name, text: text.leak(), constants: vec![], dims: &["n"] };
        kernels::advance(&state, 1);
        let launch = async {
            device::gpu::launch_on(shader, &[&out], &[1], 1);
            out.read().await
        };
        let error = device::validated(&gpu.device, launch).await.expect_err(name);
        assert_eq!(error.code(), "gpu", "{error}");
    }
    assert_eq!(state.read().await.unwrap(), [3, 2, 3, 4], "launches before and after one that was refused");

    // A variant that this adapter may not have is found to be wrong, and another one is chosen.
    let mut able = gpu.clone();
    able.adapter.software = false;
    able.adapter.features =
        device::Features { subgroups: true, f16: true, packed_dot: true, many_bindings: true, ..gpu.adapter.features };
    let chosen = choose_variants(&able, &Default::default()).await;
    for (operation, chosen) in &chosen {
        assert!(!chosen.wrong.contains(&chosen.variant), "{operation}: {chosen:?}");
    }
    let mat = &chosen["linear_mat"];
    assert_eq!(mat.wrong.contains(&"mat-f16"), !gpu.adapter.features.f16, "{mat:?}");
    assert!(mat.microseconds.contains_key("mat-8x4"), "{mat:?}");
    let matrix = mat.microseconds.contains_key("subgroup-matrix");
    assert_eq!(matrix, gpu.adapter.features.subgroup_matrix.is_some(), "{mat:?}");

    // Where there are few registers only what fits them is tried.
    able.adapter.features.few_registers = true;
    let chosen = choose_variants(&able, &Default::default()).await;
    for (operation, fitting) in [
        ("linear_few", &["few-64", "mat-4x4"][..]),
        ("linear_mat", &["mat-4x4"]),
        ("attention_decode", &["gpu-narrow"]),
        ("attention_flash", &["gpu-narrow"]),
    ] {
        let chosen = &chosen[operation];
        let tried: Vec<&str> = chosen.microseconds.keys().copied().chain(chosen.wrong.iter().copied()).collect();
        assert!(tried.iter().all(|name| fitting.contains(name)), "{operation}: {chosen:?}");
        assert!(fitting.contains(&chosen.variant), "{operation}: {chosen:?}");
    }
    release_variants();
}

/// What [`kernels::tune`] chooses for small layers.
async fn choose_variants(gpu: &device::Opened, stored: &BTreeMap<String, String>) -> Variants {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 64 };
    let (format, kv_cache) = (Format::Q4, KvFormat::F16);
    let shapes = ModelShapes {
        decoder: vec![format],
        head: vec![Format::Q8],
        norms: vec![NormShape::RmsNorm(256), NormShape::LayerNorm(80)],
        intermediate: 512,
        layers: 3,
        heads,
        vision: Some(VisionShapes {
            formats: vec![Format::Q8, Format::F16],
            heads: Some(Heads { kv_heads: 4, ..heads }),
            depthwise: [(3, 2), (5, 1)].into(),
        }),
        kv_cache,
    };
    let bytes = format.encode("weight", 256, 512, &Numbers::new(10).floats(256 * 512)).unwrap();
    let layers: Vec<(Weight, KvCache)> = (0..3)
        .map(|_| {
            let weight = Weight::from_bytes(bytes.clone(), format, 256, 512, &gpu.device);
            (weight, KvCache::new(300, heads, kv_cache, &gpu.device))
        })
        .collect();
    let (weights, caches): (Vec<_>, _) = layers.iter().map(|(weight, cache)| (weight, cache)).unzip();
    let work = TuneWork { gated: weights.clone(), weights, caches };
    kernels::tune(gpu, &shapes, Precision::Fast, &work, stored).await.unwrap()
}

/// Leaves the choice to the kind of adapter again.
fn release_variants() {
    for use_ in LinearUse::ALL {
        kernels::set_linear_variant(use_, None);
    }
    kernels::set_norm_variant(None);
    kernels::set_attention_variant(AttentionUse::Decode, None);
    kernels::set_attention_variant(AttentionUse::Flash, None);
}

/// The choice at load finds a correct variant of everything, and takes a choice made before.
pub async fn tune(_: &Device) {
    let gpu = device::open().await.unwrap();
    let chosen = choose_variants(&gpu, &Default::default()).await;
    let operations: Vec<&str> = chosen.keys().copied().collect();
    assert_eq!(
        operations,
        ["attention_decode", "attention_flash", "linear_few", "linear_mat", "linear_norm", "linear_vec"]
    );
    for (operation, chosen) in &chosen {
        assert!(chosen.wrong.is_empty(), "{operation} is wrong here: {:?}", chosen.wrong);
    }
    let stored = chosen.iter().map(|(operation, chosen)| (operation.to_string(), chosen.variant.to_string())).collect();
    for (operation, again) in choose_variants(&gpu, &stored).await {
        assert_eq!(again.variant, chosen[operation].variant);
        assert!(again.microseconds.is_empty(), "{operation} was timed again");
    }
    release_variants();
}
