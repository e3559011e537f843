//! Real weights against llama.cpp: a GGUF file is converted, and greedy tokens are compared with those that llama.cpp draws.
//! `cargo xtask test --real` brings the model and llama.cpp, asks it (tests/real/oracle.py), and runs this.

use std::{env, fs, path::PathBuf};

use burn::tensor::{Tensor, TensorData};
use futures_lite::future::block_on;
use llava_web::{
    bundle::FolderSource,
    bundle::source::ChunkSource,
    convert::{Options, gguf},
    device::{self, Buffer},
    engine::{Engine, Input, LoadOptions, Output},
    kernels::KvFormat,
    model::Llava,
    model::config::LlavaConfig,
    text::tokenizer::Tokenizer,
};
use serde::Deserialize;

/// Where llama.cpp's top two logits are closer than this, either may win: on the same weights in f32, as we compute.
const MARGIN_F32: f32 = 0.05;
/// The same on the file as it is. llama.cpp then rounds activations to 8 bits before it multiplies them with quantized
/// weights, which moves its own margins by more than half a logit; we do not round them.
const MARGIN_FILE: f32 = 1.0;

/// What llama.cpp said.
#[derive(Deserialize)]
struct Answers {
    f32: Vec<Case>,
    file: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    tokens: Vec<u32>,
    /// How far each token's logit was above the next.
    margins: Vec<f32>,
}

/// Logits behind the prompt and behind each of `tokens` but the last, `[tokens, vocab]`: llama.cpp's tokens go in, whatever
/// ours would have been.
async fn forced(model: &Llava, case: &Case, gpu: &device::Opened) -> Vec<f32> {
    let llama = &model.language_model;
    let count = case.tokens.len();
    let ids = case.prompt_ids.iter().chain(&case.tokens[..count - 1]);
    let ids: Vec<i32> = ids.map(|id| *id as i32).collect();
    let len = ids.len();
    let state = Buffer::zeros(4, &gpu.device);
    let hidden = llama.forward(llama.embed(Tensor::from_data(TensorData::new(ids, [len]), &gpu.device)), &state);
    let width = hidden.dims()[1];
    device::read_floats(llama.logits(hidden.slice([len - count..len, 0..width]))).await.unwrap()
}

/// Compares every position whose margin is clear; their number, and the largest difference of any margin from ours.
fn compare(logits: &[f32], case: &Case, clear_above: f32) -> (usize, f32) {
    let vocab = logits.len() / case.tokens.len();
    let (mut clear, mut worst) = (0, 0f32);
    let positions = logits.chunks(vocab).zip(&case.tokens).zip(&case.margins);
    for (position, ((row, token), margin)) in positions.enumerate() {
        let expected = row[*token as usize];
        let best = (0u32..).zip(row).filter(|(id, _)| id != token).map(|(_, logit)| *logit).fold(f32::MIN, f32::max);
        worst = worst.max((expected - best - margin).abs());
        if *margin > clear_above {
            clear += 1;
            let ours = expected - best;
            assert!(ours > 0.0, "{:?}: position {position}: margin {ours}, in llama.cpp {margin}", case.prompt);
        }
    }
    (clear, worst)
}

/// How many tokens the engine's own answer has in common with llama.cpp's; they may part only where llama.cpp was unclear,
/// or at an end, which ends our answer alone.
fn common(output: &Output, case: &Case, ends: &[u32], clear_above: f32) -> usize {
    let found = output.token_ids.iter().zip(&case.tokens).take_while(|(found, expected)| found == expected).count();
    let ended = found == output.token_ids.len() && output.token_ids.last().is_some_and(|last| ends.contains(last));
    assert!(
        found == case.tokens.len() || ended || case.margins[found] <= clear_above,
        "{:?}: token {found} is {:?}, not {} (margin {})",
        case.prompt,
        output.token_ids.get(found),
        case.tokens[found],
        case.margins[found]
    );
    found
}

#[test]
#[ignore = "needs a real model and llama.cpp: cargo xtask test --real brings both"]
fn greedy_tokens_are_those_of_llama_cpp() {
    let folder = PathBuf::from(env::var_os("LLAVA_REAL").expect("run this as `cargo xtask test --real`"));
    let answers: Answers = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let summary = gguf::convert(&folder.join("model.gguf"), None, out.path(), &Options::new(None)).unwrap();
    println!("{summary}");
    for (key, total) in &summary.roles {
        assert_eq!(total.squared_error, 0.0, "{key:?}: a type of this file was quantized a second time");
    }
    let source = FolderSource::open(out.path()).unwrap();
    let tokenizer_json = source.tokenizer().unwrap();
    let tokenizer = Tokenizer::from_bytes(&tokenizer_json).unwrap();
    let config = LlavaConfig::from_json(&source.manifest().config, &source.manifest().generation).unwrap();
    let sides = [("its weights in f32", &answers.f32, MARGIN_F32), ("the file as it is", &answers.file, MARGIN_FILE)];

    let gpu = block_on(device::open()).unwrap();
    let capacity = answers.f32.iter().map(|case| case.prompt_ids.len() + case.tokens.len()).max().unwrap();
    let model = block_on(Llava::load(&source, &config, capacity, KvFormat::F32, &gpu.device)).unwrap();
    for (side, cases, clear_above) in sides {
        println!("along llama.cpp's greedy tokens, {side}; clear: a margin above {clear_above}");
        let (mut compared, mut clear, mut worst) = (0, 0, 0f32);
        for case in cases {
            assert_eq!(tokenizer.encode_text(&case.prompt).unwrap(), case.prompt_ids, "{:?}", case.prompt);
            let found = compare(&block_on(forced(&model, case, &gpu)), case, clear_above);
            let total = case.tokens.len();
            println!("  {:?}: {total} compared, {} clear and all of them the same", case.prompt, found.0);
            (compared, clear, worst) = (compared + total, clear + found.0, worst.max(found.1));
        }
        println!("  {clear} of {compared} positions clear; largest difference of a margin from ours {worst:.4}");
        assert!(cases.len() == 10 && compared == 640 && clear > 200, "too little to show anything");
    }
    drop(model);

    println!("the engine's own answers: tokens in common with llama.cpp's before the first unclear one that differs");
    let exact = LoadOptions { kv_cache: Some(KvFormat::F32), ..LoadOptions::default() };
    let mut engine = block_on(Engine::load(gpu, &source, &tokenizer_json, exact)).unwrap();
    for (f32, file) in answers.f32.iter().zip(&answers.file) {
        let max_tokens = Some(f32.tokens.len());
        let input = Input { prompt: Some(f32.prompt.clone()), raw: true, max_tokens, ..Input::default() };
        let output = block_on(engine.generate(None, &input, &mut |_, _| true)).unwrap();
        assert_eq!(output.prompt_tokens, f32.prompt_ids.len());
        let ends = &config.eos_token_ids;
        let (f32, file) = (common(&output, f32, ends, MARGIN_F32), common(&output, file, ends, MARGIN_FILE));
        let drawn = output.token_ids.len();
        println!("  {:?}: of {drawn} drawn, {f32} (f32) and {file} (file)", input.prompt.unwrap_or_default());
    }
}
