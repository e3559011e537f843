//! The kernels that GPUs run for tokens and pictures.

use llava_web::kernels::{Shader, shaders};
use llava_web::quant::Format;

/// Sizes of heads that are compiled of all there may be: those of CLIP and of LLaMA.
const HEADS: [u32; 2] = [64, 128];

/// One variant of a shader.
pub struct Kernel {
    /// The operation, and what tells its variants apart.
    pub name: String,
    pub wgsl: String,
}

/// Every variant that a GPU may run of the formats that weights of models have, in whole pieces of columns; of attention those
/// for [`HEADS`].
pub fn hot() -> Vec<Kernel> {
    let usual = |shader: &Shader| has_usual_heads(shader) && has_usual_weight(shader);
    let hot = shaders().into_iter().filter(|shader| !for_cpu_adapters(shader) && usual(shader));
    let mut kernels: Vec<Kernel> = hot.map(|shader| Kernel { name: name(&shader), wgsl: shader.source() }).collect();
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    kernels
}

fn constant(shader: &Shader, name: &str) -> Option<u32> {
    shader.constants.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn for_cpu_adapters(shader: &Shader) -> bool {
    shader.name.ends_with("_cpu")
}

fn has_usual_heads(shader: &Shader) -> bool {
    !shader.name.starts_with("attention_") || constant(shader, "QUADS").is_none_or(|quads| HEADS.contains(&(quads * 4)))
}

fn has_usual_weight(shader: &Shader) -> bool {
    constant(shader, "FORMAT").is_none_or(|format| Format::ALL[format as usize] != Format::F32)
        && (shader.name.starts_with("attention_") || constant(shader, "QUADS") != Some(0))
        && constant(shader, "PIECES") != Some(0)
}

/// Constants that others follow from, or that no operation has two of.
const UNSAID: [&str; 15] = [
    "BLOCK",
    "CHUNKED",
    "CHUNK",
    "CHUNK_QUADS",
    "PIECES",
    "PIECE_QUADS",
    "PARTS",
    "PART_QUADS",
    "WORDS",
    "NORM_BINDING",
    "PAIRS",
    "ODD_QUADS",
    "OWN",
    "CHUNKS",
    "STEP",
];

fn name(shader: &Shader) -> String {
    let mut name = shader.name.to_string();
    for (constant, value) in shader.constants.iter().filter(|(constant, _)| !UNSAID.contains(constant)) {
        match *constant {
            "FORMAT" => name += &format!("-{}", Format::ALL[*value as usize].name()),
            "QUADS" if shader.name.starts_with("attention_") => name += &format!("-{}", value * 4),
            "QUADS" | "X_QUADS" => {}
            "HEADS" | "KEYS" | "QUERIES" | "LANES" | "INVOCATIONS" => {
                name += &format!("-{}{value}", constant.to_lowercase())
            }
            _ if *value == 1 => name += &format!("-{}", constant.to_lowercase()),
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_kernels_have_a_name() {
        let kernels = hot();
        let names: BTreeSet<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(names.len(), kernels.len(), "{names:#?}");
        for name in [
            "linear_mat-q4",
            "linear_few-q4-invocations64",
            "linear_vec-q8-gated-subgroups-lanes64",
            "attention_flash_gpu-full-64",
            "sample",
        ] {
            assert!(names.iter().any(|known| known.starts_with(name)), "no {name} among {names:#?}");
        }
    }
}
