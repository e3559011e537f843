//! What a real GPU's compiler makes of every kernel: nothing spills, nothing lies in scratch memory, enough waves hide latency.

use std::path::Path;

use llava_isa::{Measured, measure, table};

/// The fewest waves of a SIMD (of 32, where one of 64 invocations counts twice) that a kernel may be left with, by what its name
/// begins with; of several the longest.
const WAVES: [(&str, u64); 8] = [
    ("", 20),
    ("attention_decode_gpu", 8),
    ("attention_flash_gpu", 12),
    ("linear_dot", 16),
    ("linear_dot_x", 20),
    ("linear_few", 8),
    ("linear_mat", 16),
    ("linear_vec", 12),
];

fn floor(kernel: &str) -> u64 {
    let known = WAVES.iter().filter(|(start, _)| kernel.starts_with(start));
    known.max_by_key(|(start, _)| start.len()).map(|(_, waves)| *waves).unwrap_or(0)
}

#[test]
#[ignore = "needs VK_ICD_FILENAMES to name Mesa's driver for AMD GPUs: `cargo xtask test native` runs it where there is one"]
fn no_kernel_spills_or_lacks_waves() {
    let driver = std::env::var_os("VK_ICD_FILENAMES").expect("VK_ICD_FILENAMES");
    let all = measure(Path::new(env!("CARGO_BIN_EXE_llava-isa")), Path::new(&driver), &[]).unwrap();
    assert!(!all.is_empty());
    let bad = |one: &Measured| one.spills > 0 || one.scratch > 0 || one.waves < floor(&one.kernel);
    let bad: Vec<Measured> = all.into_iter().filter(bad).collect();
    assert!(bad.is_empty(), "{}", table(&bad));
}
