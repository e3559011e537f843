// The four bytes of a word, without a sign: GPUs turn each into a float in one instruction.
fn bytes_of(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}
