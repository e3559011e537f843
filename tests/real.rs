//! Real weights against llama.cpp: a GGUF file is converted, and the engine's greedy tokens are compared with those that
//! llama.cpp draws from the same file. `cargo xtask test --real` brings the model and llama.cpp, asks it
//! (tests/real/oracle.py), and runs this.

use std::{env, fs, path::PathBuf};

use burn::tensor::{Tensor, TensorData};
use futures_lite::future::block_on;
use llava_web::{
    bundle::FolderSource,
    config::LlavaConfig,
    convert::{Options, gguf},
    engine::{Engine, Input, LoadOptions},
    kernels::{KvFormat, launch},
    model::Llava,
    tokenizer::Tokenizer,
    weights::WeightSource,
};
use serde::Deserialize;

/// Where llama.cpp's top two logits are closer than this, either may win. It rounds activations to 8 bits before it
/// multiplies them with 4-bit weights; we do not. The test prints by how much its margins differ from ours.
const MARGIN: f32 = 0.35;

#[derive(Deserialize)]
struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    tokens: Vec<u32>,
    /// How far each token's logit was above the next, in llama.cpp.
    margins: Vec<f32>,
}

fn input(prompt: &str, max_tokens: usize) -> Input {
    Input { prompt: Some(prompt.into()), raw: true, max_tokens: Some(max_tokens), ..Input::default() }
}

/// Logits behind the prompt and behind each of `tokens` but the last, `[tokens, vocab]`: llama.cpp's tokens go in, whatever
/// ours would have been.
async fn forced(model: &Llava, case: &Case, gpu: &launch::Gpu) -> Vec<f32> {
    let llama = &model.language_model;
    let count = case.tokens.len();
    let ids = case.prompt_ids.iter().chain(&case.tokens[..count - 1]);
    let ids: Vec<i32> = ids.map(|id| *id as i32).collect();
    let len = ids.len();
    let state = launch::persistent_words(4, &gpu.device);
    let hidden = llama.forward(llama.embed(Tensor::from_data(TensorData::new(ids, [len]), &gpu.device)), &state);
    let width = hidden.dims()[1];
    launch::read_floats(llama.logits(hidden.slice([len - count..len, 0..width]))).await.unwrap()
}

#[test]
#[ignore = "needs a real model and llama.cpp: cargo xtask test --real brings both"]
fn greedy_tokens_are_those_of_llama_cpp() {
    let folder = PathBuf::from(env::var_os("LLAVA_REAL").expect("run this as `cargo xtask test --real`"));
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
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

    let gpu = block_on(launch::init_device()).unwrap();
    let capacity = cases.iter().map(|case| case.prompt_ids.len() + case.tokens.len()).max().unwrap();
    let model = block_on(Llava::load(&source, &config, capacity, KvFormat::F32, &gpu.device)).unwrap();
    let (mut compared, mut worst) = (0, 0f32);
    println!("greedy tokens, at positions where llama.cpp's margin exceeds {MARGIN}:");
    let mut all_clear = Vec::new();
    for case in &cases {
        assert_eq!(tokenizer.encode_text(&case.prompt).unwrap(), case.prompt_ids, "{:?}", case.prompt);
        let logits = block_on(forced(&model, case, &gpu));
        let rows = logits.chunks(config.text.vocab_size);
        assert_eq!(rows.len(), case.tokens.len());
        let mut clear = 0;
        for (position, ((row, token), margin)) in rows.zip(&case.tokens).zip(&case.margins).enumerate() {
            let expected = row[*token as usize];
            let best =
                (0u32..).zip(row).filter(|(id, _)| id != token).map(|(_, logit)| *logit).fold(f32::MIN, f32::max);
            worst = worst.max(((expected - best) - margin).abs());
            if *margin > MARGIN {
                clear += 1;
                assert!(expected > best, "{:?} position {position}: {expected} {best} {margin}", case.prompt);
            }
        }
        compared += clear;
        all_clear.push(clear);
    }
    println!("forced along llama.cpp's tokens: largest difference of a margin {worst:.3}");
    drop(model);

    let mut engine = block_on(Engine::load(gpu, &source, &tokenizer_json, LoadOptions::default())).unwrap();
    let mut alike = 0;
    for (case, clear) in cases.iter().zip(all_clear) {
        let output =
            block_on(engine.generate(None, &input(&case.prompt, case.tokens.len()), &mut |_, _| true)).unwrap();
        assert_eq!(output.prompt_tokens, case.prompt_ids.len());
        let found = output.token_ids.iter().zip(&case.tokens).take_while(|(found, expected)| found == expected).count();
        // Apart from llama.cpp's only where it was unclear itself; or at an end, which ends our answer alone.
        let ended = config.eos_token_ids.iter().any(|end| output.token_ids.last() == Some(end));
        assert!(
            found == case.tokens.len() || (found == output.token_ids.len() && ended) || case.margins[found] <= MARGIN,
            "{:?}: token {found} is {:?}, not {} (margin {})",
            case.prompt,
            output.token_ids.get(found),
            case.tokens[found],
            case.margins[found]
        );
        alike += found;
        let total = case.tokens.len();
        println!(
            "  {:?}: {total} positions compared along llama.cpp's tokens, {clear} of them clear, all of these the same; \
             the engine's own answer goes with llama.cpp's for {found} tokens",
            case.prompt
        );
    }
    println!(
        "{} prompts: {compared} clear positions, all the same; {alike} tokens drawn alike by the engine",
        cases.len()
    );
    assert!(cases.len() == 10 && compared > 10 * 32, "too few clear positions to show anything: {compared}");
}
