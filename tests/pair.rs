//! Bundles of two models: the picture chooses which one answers, and each answers as if it were alone.

use std::fs;
use std::path::{Path, PathBuf};

use futures_lite::future::block_on;
use llava_web::Result;
use llava_web::bundle::source::ChunkSource;
use llava_web::bundle::{FolderSource, Manifest, pair};
use llava_web::convert::{Options, hf};
use llava_web::device::{self, Opened};
use llava_web::engine::{Engine, FinishReason, Input, LoadOptions, Models, Output};
use llava_web::image::Source;
use llava_web::quant::Format;
use serde_json::{Value, json};

const QUESTION: &str = "What is it?";

fn devices() -> [Opened; 2] {
    [block_on(device::open()).unwrap(), block_on(device::open_cpu()).unwrap()]
}

fn input(prompt: &str) -> Input {
    Input { prompt: Some(prompt.into()), max_tokens: Some(12), ..Input::default() }
}

fn picture(name: &str) -> Source {
    Source::Encoded(fs::read(format!("tests/golden/pictures/{name}")).unwrap())
}

/// A model that is loaded alone.
fn alone(opened: &Opened, folder: &Path) -> Engine {
    let source = FolderSource::open(folder).unwrap();
    let tokenizer = source.tokenizer().unwrap();
    block_on(Engine::load(opened.clone(), &source, &tokenizer, LoadOptions::default())).unwrap()
}

fn told(engine: &mut Engine, picture: &Source, prompt: &str) -> Output {
    block_on(engine.generate(Some(picture), &input(prompt), &mut |_, _| true)).unwrap()
}

fn load(opened: &Opened, folder: &Path, options: LoadOptions) -> Result<Models> {
    let source = FolderSource::open(folder)?;
    block_on(Models::load(opened.clone(), &source, &source.tokenizers()?, options))
}

fn edit(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(&path, json.to_string()).unwrap();
}

/// Two models of random weights in folders, of which the first one soon ends what it says.
struct Two {
    first: PathBuf,
    second: PathBuf,
    /// What the first one says of `known`, but not of `other`.
    answer: String,
    known: Source,
    other: Source,
    folder: tempfile::TempDir,
}

impl Two {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["gqa", "biased"].map(|name| {
            let out = folder.path().join(name);
            hf::convert(&Path::new("tests/golden/checkpoints").join(name), &out, &Options::new(Format::F32)).unwrap();
            out
        });
        let cpu = block_on(device::open_cpu()).unwrap();
        let known = picture("tall.png");
        let ids = told(&mut alone(&cpu, &first), &known, QUESTION).token_ids;
        edit(&first, |json| json["generation"]["eos_token_id"] = json!([2, ids[3]]));
        let mut engine = alone(&cpu, &first);
        let answer = told(&mut engine, &known, QUESTION);
        assert_eq!(answer.finish_reason, FinishReason::Stop);
        let answer = answer.description.trim().to_owned();
        let others = fs::read_dir("tests/golden/pictures").unwrap().map(|entry| entry.unwrap().file_name());
        let mut others = others.filter(|name| name.to_str().unwrap().ends_with(".png"));
        let mut differs = |name: &str| told(&mut engine, &picture(name), QUESTION).description.trim() != answer;
        let other = others.find(|name| differs(name.to_str().unwrap())).expect("random weights see something");
        Self { answer, known, other: picture(other.to_str().unwrap()), first, second, folder }
    }

    /// Both in one bundle.
    fn pair(&self) -> PathBuf {
        let out = self.folder.path().join("pair");
        self.described(&json!({}), &out, true).unwrap();
        out
    }

    /// The same, with other `fields` in the file that describes it.
    fn described(&self, fields: &Value, out: &Path, force: bool) -> Result<Manifest> {
        let names = [&self.first, &self.second].map(|path| path.file_name().unwrap().to_str().unwrap());
        let mut json =
            json!({"first": names[0], "second": names[1], "question": QUESTION, "answer": self.answer.as_str()});
        json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let description = self.folder.path().join("pair.json");
        fs::write(&description, json.to_string()).unwrap();
        pair(&description, out, force)
    }
}

#[test]
fn the_picture_chooses_the_model_and_each_answers_as_if_it_were_alone() {
    let two = Two::new();
    let folder = two.pair();
    for opened in devices() {
        let mut alone = [&two.first, &two.second].map(|folder| alone(&opened, folder));
        let mut models = load(&opened, &folder, LoadOptions::default()).unwrap();
        assert_eq!(models.info()["model"], "gqa + biased");
        for (picture, which) in [(&two.known, 1), (&two.other, 0), (&two.known, 1)] {
            for prompt in [QUESTION, "Describe this.", "Describe this. And that?"] {
                let mut text = String::new();
                let mut on_piece = |piece: &str, _| {
                    text.push_str(piece);
                    true
                };
                let found = block_on(models.generate(Some(picture), &input(prompt), &mut on_piece)).unwrap();
                let expected = told(&mut alone[which], picture, prompt);
                assert_eq!(found.token_ids, expected.token_ids, "{prompt}");
                assert_eq!((&found.model, &found.description), (&expected.model, &expected.description));
                assert_eq!(text.trim(), found.description, "nothing is heard of the question that chose");
            }
        }
        // A prompt without a picture is the first one's.
        let text = Input { messages: None, ..input("And now?") };
        let found = block_on(models.generate(None, &text, &mut |_, _| true)).unwrap();
        let expected = block_on(alone[0].generate(None, &text, &mut |_, _| true)).unwrap();
        assert_eq!((found.model, found.token_ids), (expected.model, expected.token_ids));
        // What is wrong is told as ever, and a caller who says stop is heard while the model is chosen.
        let bad = Input { max_tokens: Some(0), ..input("x") };
        assert!(block_on(models.generate(Some(&two.known), &bad, &mut |_, _| true)).is_err());
        let unseen = picture("wide.png");
        let stopped = block_on(models.generate(Some(&unseen), &input("x"), &mut |_, _| false)).unwrap();
        assert_eq!((stopped.finish_reason, stopped.description.as_str()), (FinishReason::Aborted, ""));
    }
}

#[test]
fn both_have_the_same_context_and_the_memory_of_both_is_told() {
    let two = Two::new();
    edit(&two.second, |json| json["config"]["text_config"]["max_position_embeddings"] = 100.into());
    edit(&two.second, |json| json["memory"] = Value::Null);
    let folder = two.pair();
    let [gpu, _] = devices();
    let info = load(&gpu, &folder, LoadOptions::default()).unwrap().info();
    let asked = LoadOptions { context_length: Some(100), ..LoadOptions::default() };
    let one = |folder: &Path| {
        let source = FolderSource::open(folder).unwrap();
        let tokenizer = source.tokenizer().unwrap();
        block_on(Engine::load(gpu.clone(), &source, &tokenizer, asked.clone())).unwrap().info()
    };
    let [first, second] = [&two.first, &two.second].map(|folder| one(folder));
    assert_eq!(info["context_length"], 100);
    for part in ["weights", "context", "work", "total"] {
        let [a, b] = [&first, &second].map(|info| info["memory"][part].as_u64().unwrap());
        assert_eq!(info["memory"][part].as_u64(), Some(a + b), "{part}");
    }
    let more = LoadOptions { context_length: Some(101), ..LoadOptions::default() };
    assert!(load(&gpu, &folder, more).err().unwrap().to_string().contains("..=100"));
}

#[test]
fn a_pair_that_is_damaged_or_makes_no_sense_is_refused_and_what_was_there_stays() {
    let two = Two::new();
    let folder = two.pair();
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    for (fields, force, told) in [
        (json!({}), false, "--force"),
        (json!({"question": " "}), true, "second.question"),
        (json!({"answer": ""}), true, "second.answer"),
        (json!({"answer": "x".repeat(65)}), true, "second.answer"),
        (json!({"answer": 1}), true, "pair.json"),
        (json!({"third": "x"}), true, "third"),
        (json!({"second": "none"}), true, "none"),
        (json!({"second": "pair"}), true, "two models are the most"),
    ] {
        let error = two.described(&fields, &folder, force).unwrap_err().to_string();
        assert!(error.contains(told), "{fields}: {error}");
    }
    assert_eq!(fs::read(folder.join("manifest.json")).unwrap(), manifest);

    // What a bundle that is replaced has left behind goes with it.
    for part in ["", "second"] {
        let stray = folder.join(part).join(format!("chunks/{}.bin", "0".repeat(64)));
        fs::write(&stray, "left").unwrap();
        two.pair();
        assert!(!stray.exists(), "{}", stray.display());
    }

    let source = FolderSource::open(&folder).unwrap();
    let count = source.manifest().chunk_count();
    assert!(block_on(source.read_chunk(count - 1)).is_ok());
    assert!(block_on(source.read_chunk(count)).unwrap_err().to_string().contains("does not exist"));
    let second = source.manifest().second.clone().unwrap();
    for file in [&second.manifest.tokenizer.file, &second.manifest.chunks[0].file] {
        let path = folder.join("second").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        let error = load(&devices()[1], &folder, LoadOptions::default()).err().expect("a damaged file").to_string();
        assert!(error.contains("bytes instead of"), "{error}");
        fs::write(&path, bytes).unwrap();
    }
    edit(&folder, |json| json["second"]["manifest"]["version"] = 2.into());
    assert!(FolderSource::open(&folder).unwrap_err().to_string().contains("version"));
}
