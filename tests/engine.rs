//! One engine over several requests: what it reuses of the ones before must not change any answer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures_lite::future::block_on;
use llava_web::{
    Result,
    bundle::source::ChunkSource,
    bundle::{FolderSource, Manifest},
    convert::{Options, hf},
    device,
    engine::{Engine, FinishReason, Input, LoadOptions, Output},
    image::{MAX_PIXELS, Picture, Source},
    kernels::{KvFormat, Precision},
    quant::Format,
};

/// Tiny random checkpoints: grouped-query attention; one with two feature layers, biases and the class token.
const CHECKPOINTS: [&str; 2] = ["gqa", "biased"];

fn golden() -> PathBuf {
    PathBuf::from("tests/golden")
}

struct Bundle {
    source: FolderSource,
    tokenizer: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Bundle {
    fn new(checkpoint: &str) -> Self {
        Self::from_folder(&golden().join("checkpoints").join(checkpoint))
    }

    /// The checkpoint with another config.json.
    fn edited(checkpoint: &str, edit: impl Fn(&mut serde_json::Value)) -> Self {
        let (original, copy) = (golden().join("checkpoints").join(checkpoint), tempfile::tempdir().unwrap());
        for entry in fs::read_dir(original).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let config = copy.path().join("config.json");
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        edit(&mut json);
        fs::write(&config, json.to_string()).unwrap();
        Self::from_folder(copy.path())
    }

    fn from_folder(checkpoint: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("bundle");
        hf::convert(checkpoint, &out, &Options::new(Format::F32)).unwrap();
        let source = FolderSource::open(&out).unwrap();
        Self { tokenizer: source.tokenizer().unwrap(), source, _folder: folder }
    }

    fn engine(&self, context_length: Option<usize>) -> Engine {
        self.load(LoadOptions { context_length, ..LoadOptions::default() }).unwrap()
    }

    fn load(&self, options: LoadOptions) -> Result<Engine> {
        block_on(async {
            let gpu = device::open().await?;
            Engine::load(gpu, &self.source, &self.tokenizer, options).await
        })
    }
}

/// Everything in f32.
fn exact() -> LoadOptions {
    LoadOptions { kv_cache: Some(KvFormat::F32), ..LoadOptions::default() }
}

/// A picture of gradients; `red` tells one from another.
fn picture(red: u8) -> Source {
    let rgb = (0..40 * 40).flat_map(|i| [red, (i % 40 * 6) as u8, (i / 40 * 6) as u8]).collect();
    Picture { width: 40, height: 40, rgb }.into()
}

fn input(fields: serde_json::Value) -> Input {
    let mut input: Input = serde_json::from_value(fields).unwrap();
    input.max_tokens.get_or_insert(12);
    input
}

fn ask(engine: &mut Engine, picture: Option<&Source>, input: &Input) -> Output {
    block_on(engine.generate(picture, input, &mut |_, _| true)).unwrap()
}

/// Asks `engine` and a fresh one, compares, and returns the answer of the first.
fn same_as_fresh(bundle: &Bundle, engine: &mut Engine, picture: Option<&Source>, input: &Input) -> Output {
    let found = ask(engine, picture, input);
    let fresh = ask(&mut bundle.engine(None), picture, input);
    assert_eq!(fresh.cached_tokens, 0, "nothing of the warm-up is left");
    assert_eq!(found.token_ids, fresh.token_ids, "{input:?} after {} cached positions", found.cached_tokens);
    assert_eq!(found.description, fresh.description);
    assert_eq!(found.prompt_tokens, fresh.prompt_tokens);
    found
}

#[test]
fn a_used_engine_answers_as_a_fresh_one() {
    for checkpoint in CHECKPOINTS {
        let bundle = Bundle::new(checkpoint);
        let mut engine = bundle.engine(None);
        let info = engine.info();
        let image_tokens = info["image_tokens"].as_u64().unwrap() as usize;
        let (red, dark) = (picture(250), picture(20));
        let mut ask = |what: &str, picture: Option<&Source>, fields| {
            let output = same_as_fresh(&bundle, &mut engine, picture, &input(fields));
            println!("{checkpoint}: {what}: {} of {} positions reused", output.cached_tokens, output.prompt_tokens);
            output
        };
        let first = ask("first", Some(&red), serde_json::json!({ "prompt": "a red circle" }));
        assert_eq!(first.cached_tokens, 0);
        let other = ask("other prompt", Some(&red), serde_json::json!({ "prompt": "what is the colour of the ball" }));
        assert!(other.cached_tokens > image_tokens && other.cached_tokens < other.prompt_tokens);
        let again = ask("same again", Some(&red), serde_json::json!({ "prompt": "what is the colour of the ball" }));
        assert_eq!(again.cached_tokens, again.prompt_tokens - 1);
        let shorter = ask("shorter", Some(&red), serde_json::json!({ "prompt": "what is" }));
        assert!(shorter.cached_tokens > image_tokens);
        let longer =
            ask("longer", Some(&red), serde_json::json!({ "prompt": "what is the colour of the ball on the left" }));
        assert!(longer.cached_tokens >= shorter.cached_tokens);
        let new = ask("other picture", Some(&dark), serde_json::json!({ "prompt": "what is" }));
        assert!(new.cached_tokens > 0 && new.cached_tokens < 8, "what lies before the picture, and no more");
        ask("no picture", None, serde_json::json!({ "prompt": "what is" }));
        let back = ask("picture after none", Some(&dark), serde_json::json!({ "prompt": "what is" }));
        assert!(back.cached_tokens < image_tokens);

        let turn = |role: &str, content: &str| serde_json::json!({ "role": role, "content": content });
        let mut turns = vec![turn("user", "a red circle")];
        let answer = ask("first turn", Some(&red), serde_json::json!({ "messages": turns }));
        turns.extend([turn("assistant", &answer.description), turn("user", "and the colour")]);
        let second = ask("second turn", Some(&red), serde_json::json!({ "messages": turns }));
        assert!(second.cached_tokens >= answer.prompt_tokens - 2, "the whole first turn");
        let sampled =
            serde_json::json!({ "messages": turns, "temperature": 1.0, "seed": 5, "repetition_penalty": 1.2 });
        assert_eq!(ask("sampled", Some(&red), sampled).cached_tokens, second.prompt_tokens - 1);
    }
}

/// The kernels for many rows make of a row the same bits whatever stands beside it, a prompt never runs as few rows, and rows
/// that the decode step wrote are not reused where tokens are drawn: so what was cached changes nothing.
#[test]
fn a_seed_gives_the_same_text_whatever_was_cached() {
    for (checkpoint, kv_cache) in [("gqa", KvFormat::F32), ("gqa", KvFormat::F16), ("biased", KvFormat::F32)] {
        let bundle = Bundle::new(checkpoint);
        let load = || bundle.load(LoadOptions { kv_cache: Some(kv_cache), ..LoadOptions::default() }).unwrap();
        let mut used = load();
        let red = picture(250);
        let turn = |role: &str, content: &str| serde_json::json!({ "role": role, "content": content });
        let mut reused = 0;
        for seed in 0..3 {
            let mut turns = Vec::new();
            // Of follow-ups that share all but a few positions, and of whole conversations.
            for (words, max_tokens) in
                [("a", 3), ("a red", 20), ("a red circle and a blue ball on the left", 7), ("is", 33)]
            {
                turns.push(turn("user", words));
                // What a greedy request leaves may be reused by the next one, and must not be seen.
                ask(&mut used, Some(&red), &input(serde_json::json!({ "messages": turns, "max_tokens": max_tokens })));
                let fields = serde_json::json!({ "messages": turns, "temperature": 2.0, "seed": seed, "max_tokens": max_tokens });
                let found = ask(&mut used, Some(&red), &input(fields.clone()));
                let again = ask(&mut used, Some(&red), &input(fields.clone()));
                let fresh = ask(&mut load(), Some(&red), &input(fields));
                assert_eq!((again.cached_tokens, fresh.cached_tokens), (again.prompt_tokens - 1, 0));
                reused += found.cached_tokens;
                assert_eq!(found.token_ids, fresh.token_ids, "{checkpoint} {turns:?}, {} reused", found.cached_tokens);
                assert_eq!(again.token_ids, fresh.token_ids, "{checkpoint} {turns:?}, asked again");
                assert_eq!(found.seed, Some(seed));
                turns.push(turn("assistant", &found.description));
            }
        }
        assert!(reused > 0);
    }
}

#[test]
fn the_seed_in_use_is_told_and_gives_the_answer_again() {
    let bundle = Bundle::new("gqa");
    let mut engine = bundle.engine(None);
    let red = picture(250);
    let sampled = input(serde_json::json!({ "prompt": "a red circle", "temperature": 2.0 }));
    let first = ask(&mut engine, Some(&red), &sampled);
    let other = ask(&mut engine, Some(&red), &sampled);
    let seed = first.seed.expect("a seed was picked");
    assert_ne!(Some(seed), other.seed);
    assert!(seed < 1 << 53, "{seed} is no whole number in JavaScript");
    let seeded = input(serde_json::json!({ "prompt": "a red circle", "temperature": 2.0, "seed": seed }));
    let again = ask(&mut engine, Some(&red), &seeded);
    assert_eq!((again.seed, again.token_ids), (Some(seed), first.token_ids));
    assert_eq!(serde_json::to_value(&other).unwrap()["seed"], other.seed.unwrap());
    // Greedy decoding draws nothing, whatever seed is named.
    for fields in [serde_json::json!({ "seed": 5 }), serde_json::json!({ "seed": 5, "temperature": 0 })] {
        let greedy = ask(&mut engine, Some(&red), &input(fields));
        assert_eq!(greedy.seed, None);
        assert!(serde_json::to_value(&greedy).unwrap().get("seed").is_none());
    }
}

/// A manifest of which no chunk may be read.
struct Unread(Manifest);

impl ChunkSource for Unread {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        panic!("chunk {index} is read")
    }
}

#[test]
fn what_cannot_run_is_refused_before_a_chunk_is_read() {
    let bundle = Bundle::new("gqa");
    let refused = |edit: &dyn Fn(&mut Manifest), options: LoadOptions| {
        let mut manifest = bundle.source.manifest().clone();
        edit(&mut manifest);
        let load = async {
            let gpu = device::open().await?;
            Engine::load(gpu, &Unread(manifest), &bundle.tokenizer, options).await
        };
        block_on(load).err().expect("a refusal").to_string()
    };
    let config = |pointer: &'static str, value: serde_json::Value| {
        let edit = move |manifest: &mut Manifest| {
            let (section, field) = pointer.split_once('.').unwrap();
            manifest.config[section][field] = value.clone();
        };
        refused(&edit, LoadOptions::default())
    };
    for (field, value) in [
        ("text_config.head_dim", 6.into()),
        ("text_config.head_dim", 256.into()),
        ("vision_config.num_attention_heads", 16.into()),
        ("text_config.hidden_act", "mish".into()),
    ] {
        let error = config(field, value);
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    let error = config("text_config.intermediate_size", 192.into());
    assert!(error.contains("gate_proj") && error.contains("[192, "), "{error}");
    let last = "language_model.lm_head.weight";
    let error = refused(&|manifest| manifest.tensors.retain(|tensor| tensor.name != last), LoadOptions::default());
    assert!(error.contains(last) && error.contains("is missing"), "{error}");
}

/// A bundle with one tensor's bytes, all f32, replaced by `value`.
struct Damaged<'a> {
    source: &'a FolderSource,
    tensor: &'a str,
    value: f32,
}

impl ChunkSource for Damaged<'_> {
    fn manifest(&self) -> &Manifest {
        self.source.manifest()
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        let mut bytes = self.source.read_chunk(index).await?;
        let tensor = self.manifest().tensors.iter().find(|tensor| tensor.name == self.tensor).unwrap();
        for span in tensor.spans.iter().filter(|span| span.chunk == index) {
            let words = bytes[span.offset..span.offset + span.bytes].as_chunks_mut().0;
            words.iter_mut().for_each(|word| *word = self.value.to_le_bytes());
        }
        Ok(bytes)
    }
}

#[test]
fn an_answer_of_no_numbers_is_an_error_that_says_what_to_try() {
    let bundle = Bundle::new("gqa");
    for (value, options) in [
        (f32::NAN, exact()),
        (
            f32::MAX,
            LoadOptions { kv_cache: Some(KvFormat::F16), precision: Some(Precision::Fast), ..LoadOptions::default() },
        ),
    ] {
        let (f16, fast) = (options.kv_cache == Some(KvFormat::F16), options.precision == Some(Precision::Fast));
        let source = Damaged { source: &bundle.source, tensor: "language_model.model.norm.weight", value };
        let load = async { Engine::load(device::open().await?, &source, &bundle.tokenizer, options).await };
        let mut engine = block_on(load).unwrap();
        for fields in [serde_json::json!({}), serde_json::json!({ "temperature": 0.7, "top_p": 0.9, "top_k": 5 })] {
            let answer = block_on(engine.generate(Some(&picture(250)), &input(fields), &mut |_, _| true));
            let error = answer.expect_err("nothing to draw from");
            assert_eq!(error.code(), "gpu");
            let text = error.to_string();
            assert!(text.contains("after 0 token(s)") && text.contains("convert the model again"), "{text}");
            assert_eq!((text.contains("kv_cache"), text.contains("precision")), (f16, fast), "{text}");
        }
    }
}

#[test]
fn the_decoder_applies_the_activation_of_its_config() {
    let tokens = |hidden_act: &str| {
        let bundle = Bundle::edited("gqa", |config| config["text_config"]["hidden_act"] = hidden_act.into());
        let input = input(serde_json::json!({ "prompt": "a red circle" }));
        ask(&mut bundle.engine(None), Some(&picture(250)), &input).token_ids
    };
    let silu = tokens("silu");
    assert_eq!(tokens("swish"), silu);
    assert_ne!(tokens("relu"), silu);
    assert_ne!(tokens("gelu"), tokens("relu"));
}

#[test]
fn a_file_is_known_by_its_bytes_and_the_way_it_is_made_square() {
    let bundle = Bundle::new("gqa");
    let mut engine = bundle.engine(None);
    let bytes = fs::read(golden().join("pictures/tall.png")).unwrap();
    let pixels = Picture::decode(&bytes, MAX_PIXELS).unwrap();
    assert_ne!(pixels.width, pixels.height);
    let (file, pixels) = (Source::Encoded(bytes), pixels.into());
    let image_tokens = engine.info()["image_tokens"].as_u64().unwrap() as usize;
    let mut ask = |picture: &Source, way: &str| {
        let input = input(serde_json::json!({ "prompt": "a red circle", "image_aspect_ratio": way }));
        same_as_fresh(&bundle, &mut engine, Some(picture), &input).cached_tokens > image_tokens
    };
    assert!(!ask(&file, "crop"));
    assert!(ask(&file, "crop"));
    assert!(!ask(&file, "pad"));
    assert!(ask(&pixels, "pad"));
    assert!(ask(&file, "pad"));
    assert!(!ask(&pixels, "crop"));
}

#[test]
fn generated_tokens_are_reused_and_what_was_queued_beyond_a_stop_is_not() {
    let bundle = Bundle::new("gqa");
    let mut engine = bundle.engine(None);
    let red = picture(250);
    let raw = |prompt: &str, max_tokens| {
        input(serde_json::json!({ "prompt": prompt, "raw": true, "max_tokens": max_tokens }))
    };
    // Cut off after each length in turn: the continuation must not depend on what the longer answer left behind.
    for length in [40, 1, 2, 3, 9, 17] {
        let output = same_as_fresh(&bundle, &mut engine, Some(&red), &raw("<image>a red circle", length));
        assert!(output.token_ids.len() <= length);
    }
    // A stop string ends the answer in mid-batch.
    let whole = ask(&mut engine, Some(&red), &raw("<image>a red circle", 40));
    let words: Vec<&str> = whole.description.split_whitespace().collect();
    let stop = words[words.len() / 2];
    let mut stopped = raw("<image>a red circle", 40);
    stopped.stop = vec![stop.to_owned()];
    let output = same_as_fresh(&bundle, &mut engine, Some(&red), &stopped);
    assert_eq!(output.finish_reason, FinishReason::Stop);
    for prompt in [format!("<image>a red circle{}", output.description), "<image>a red circle on".to_owned()] {
        same_as_fresh(&bundle, &mut engine, Some(&red), &raw(&prompt, 20));
    }
}

#[test]
fn on_a_cpu_each_token_is_told_before_the_next_is_worked_on() {
    let bundle = Bundle::new("gqa");
    let load = async {
        Engine::load(device::open_cpu().await?, &bundle.source, &bundle.tokenizer, LoadOptions::default()).await
    };
    let mut engine = block_on(load).unwrap();
    let question = input(serde_json::json!({ "prompt": "Describe the scene.", "max_tokens": 40 }));
    let mut told = Vec::new();
    let mut listen = |_: &str, tokens: usize| {
        told.push(tokens);
        true
    };
    let output = block_on(engine.generate(None, &question, &mut listen)).unwrap();
    assert!(output.completion_tokens > 8, "a few batches of steps");
    told.retain(|tokens| *tokens > 0);
    assert_eq!(told, (1..=output.completion_tokens).collect::<Vec<_>>());
}

#[test]
fn an_aborted_request_leaves_nothing_wrong_behind() {
    let bundle = Bundle::new("gqa");
    let mut engine = bundle.engine(None);
    let (red, dark) = (picture(250), picture(20));
    let question = input(serde_json::json!({ "prompt": "what is the colour of the ball" }));
    ask(&mut engine, Some(&red), &question);
    let mut finished = 0;
    for stop_at in 0..12 {
        // Each call of the callback in turn is the last: in the vision tower, in the prefill, in the answer.
        let mut calls = 0;
        let mut counted = |_: &str, _: usize| {
            calls += 1;
            calls <= stop_at
        };
        let output = block_on(engine.generate(Some(&dark), &question, &mut counted)).unwrap();
        finished += (output.finish_reason != FinishReason::Aborted) as usize;
        if stop_at == 0 {
            assert_eq!(output.finish_reason, FinishReason::Aborted);
            assert!(output.token_ids.is_empty(), "stopped before the first token");
        }
        same_as_fresh(&bundle, &mut engine, Some(&dark), &question);
        same_as_fresh(&bundle, &mut engine, Some(&red), &question);
    }
    assert!(finished < 12);
}

#[test]
fn a_nearly_full_context_is_reused() {
    let bundle = Bundle::new("gqa");
    let probe = ask(&mut bundle.engine(None), Some(&picture(250)), &input(serde_json::json!({ "prompt": "a circle" })));
    let context = probe.prompt_tokens + 4;
    let mut engine = bundle.engine(Some(context));
    let ask = |engine: &mut Engine, prompt: &str| {
        let output = ask(engine, Some(&picture(250)), &input(serde_json::json!({ "prompt": prompt })));
        (output.token_ids.clone(), output)
    };
    let (tokens, output) = ask(&mut engine, "a circle");
    assert_eq!(tokens, probe.token_ids[..4]);
    assert_eq!(output.finish_reason, FinishReason::Length);
    let (again, output) = ask(&mut engine, "a circle");
    assert_eq!(again, tokens);
    assert_eq!(output.cached_tokens, output.prompt_tokens - 1);
    assert_eq!(ask(&mut engine, "a ball").0, ask(&mut bundle.engine(Some(context)), "a ball").0);
}

/// More positions than run through the decoder at once, and the picture lies across the border.
#[test]
fn a_long_prompt_runs_in_parts() {
    const MOST: usize = 1024;
    let bundle = Bundle::edited("gqa", |config| config["text_config"]["max_position_embeddings"] = 4096.into());
    let question = |prompt: &str| input(serde_json::json!({ "prompt": prompt, "raw": true }));
    let red = picture(250);
    let before = "a red circle ".repeat(169);
    let prompt = format!("{before}<image>{}", "a red circle ".repeat(40));
    let whole = ask(&mut bundle.engine(Some(2000)), Some(&red), &question(&prompt));
    // The same in two requests, neither of which runs in parts.
    let mut engine = bundle.engine(Some(2000));
    let text = ask(&mut engine, None, &question(&before));
    let image_tokens = engine.info()["image_tokens"].as_u64().unwrap() as usize;
    assert!(text.prompt_tokens < MOST && text.prompt_tokens + image_tokens > MOST, "{} before it", text.prompt_tokens);
    let rest = ask(&mut engine, Some(&red), &question(&prompt));
    assert!(rest.prompt_tokens > MOST && rest.cached_tokens >= text.prompt_tokens - 1);
    assert_eq!(rest.token_ids, whole.token_ids);
}

#[test]
fn an_f16_cache_is_reused_too_or_refused() {
    let options = || LoadOptions { kv_cache: Some(KvFormat::F16), ..LoadOptions::default() };
    let bundle = Bundle::new("gqa");
    let mut engine = bundle.load(options()).unwrap();
    assert_eq!(engine.info()["kv_cache"], "f16");
    for (red, prompt) in [(250, "a red circle"), (250, "a blue ball"), (20, "a blue ball"), (20, "a")] {
        let input = input(serde_json::json!({ "prompt": prompt }));
        let found = ask(&mut engine, Some(&picture(red)), &input);
        let fresh = ask(&mut bundle.load(options()).unwrap(), Some(&picture(red)), &input);
        assert_eq!(found.token_ids, fresh.token_ids);
        let exact = ask(&mut bundle.load(exact()).unwrap(), Some(&picture(red)), &input);
        let same = found.token_ids.iter().zip(&exact.token_ids).take_while(|(a, b)| a == b).count();
        println!("{same} of {} tokens as with an f32 cache", exact.token_ids.len());
    }
    let small_heads = Bundle::edited("gqa", |config| {
        for (field, value) in [("num_attention_heads", 16), ("num_key_value_heads", 8), ("head_dim", 4)] {
            config["text_config"][field] = value.into();
        }
    });
    assert_eq!(small_heads.load(LoadOptions::default()).unwrap().info()["kv_cache"], "f32");
    let Err(error) = small_heads.load(options()) else { panic!("heads of 4 do not fit") };
    assert!(error.to_string().contains("`kv_cache`: f16 needs heads whose size is a multiple of 8"), "{error}");
}

/// Three squares, one beside the other: a picture that the default model has a long answer for.
fn squares() -> Source {
    let (width, height) = (120, 60);
    let colours = [[224, 32, 32], [34, 85, 221], [17, 17, 17]];
    let at = |x: usize, y: usize| {
        let inside = (8..32).contains(&(x % 40)) && (18..42).contains(&y);
        if inside { colours[x / 40] } else { [230, 230, 230] }
    };
    let rgb = (0..width * height).flat_map(|i| at(i % width, i / width)).collect();
    Picture { width, height, rgb }.into()
}

/// The default model, whose answers are text that becomes the same tokens again.
#[test]
fn a_conversation_on_one_picture_reuses_its_positions() {
    let source = FolderSource::open("models/llava-sketches").unwrap();
    let bundle = Bundle { tokenizer: source.tokenizer().unwrap(), source, _folder: tempfile::tempdir().unwrap() };
    let mut engine = bundle.engine(None);
    let turn = |role: &str, content: &str| serde_json::json!({ "role": role, "content": content });

    let mut turns = vec![turn("user", "What is in this picture?")];
    ask(&mut engine, Some(&squares()), &input(serde_json::json!({ "messages": turns })));
    let count = input(serde_json::json!({ "prompt": "How many shapes are there?" }));
    let second = same_as_fresh(&bundle, &mut engine, Some(&squares()), &count);
    let image_tokens = engine.info()["image_tokens"].as_u64().unwrap() as usize;
    assert!(second.cached_tokens >= image_tokens, "the picture's {image_tokens} positions: {}", second.cached_tokens);

    let again = ask(&mut engine, Some(&squares()), &input(serde_json::json!({ "messages": turns })));
    turns.extend([turn("assistant", &again.description), turn("user", "How many shapes are there?")]);
    let next = input(serde_json::json!({ "messages": turns }));
    let next = same_as_fresh(&bundle, &mut engine, Some(&squares()), &next);
    println!("next turn: {} of {} positions reused", next.cached_tokens, next.prompt_tokens);
    assert!(next.cached_tokens > again.prompt_tokens + 1, "some of the answer too: {}", again.description);

    // An answer cut off at any length is continued: of its tokens the last one's keys and values were not written yet.
    for length in 1..8 {
        let raw = "USER: <image>\nWhat is in this picture? ASSISTANT:";
        let cut = input(serde_json::json!({ "prompt": raw, "raw": true, "max_tokens": length }));
        let cut = ask(&mut engine, Some(&squares()), &cut);
        let prompt = format!("{raw} {} and more of it", cut.description);
        let longer = input(serde_json::json!({ "prompt": prompt, "raw": true }));
        let longer = same_as_fresh(&bundle, &mut engine, Some(&squares()), &longer);
        assert_eq!(longer.cached_tokens, cut.prompt_tokens + length - 1, "{prompt}");
        // Where tokens are drawn, the answer's own rows are run again: a decode step's kernels sum in another order.
        let fields = serde_json::json!({ "prompt": prompt, "raw": true, "temperature": 2.0, "seed": length });
        let drawn = match length {
            4 => same_as_fresh(&bundle, &mut engine, Some(&squares()), &input(fields)),
            _ => ask(&mut engine, Some(&squares()), &input(fields)),
        };
        // The one token of an answer is what the prompt ends in: no decode step has run.
        let exact = if length == 1 { longer.prompt_tokens - 1 } else { cut.prompt_tokens };
        assert_eq!(drawn.cached_tokens, exact, "{prompt}");
    }
}
