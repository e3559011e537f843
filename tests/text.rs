//! Prompts, tokens and streamed text, against the tokenizers library (tests/golden/text.py) and the published template.

use std::{collections::BTreeMap, fs, path::PathBuf};

use llava_web::{
    Error,
    text::prompt::{Message, Prompt},
    text::stream::TextStream,
    text::template::{FAST_VLM, LLAVA_1_5},
    text::tokenizer::Tokenizer,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Golden {
    encodes: Vec<Case>,
    decodes: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

const NAMES: [&str; 2] = ["llama", "byte_level"];

fn folder() -> PathBuf {
    PathBuf::from("tests/golden")
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_bytes(&fs::read(folder().join(format!("tokenizers/{name}.json"))).unwrap()).unwrap()
}

fn goldens(name: &str) -> Golden {
    let mut all: BTreeMap<String, Golden> =
        serde_json::from_slice(&fs::read(folder().join("text.json")).unwrap()).unwrap();
    all.remove(name).unwrap()
}

/// Pieces of a streamed decode.
fn stream(tokenizer: &Tokenizer, ids: &[u32], stop: &[&str]) -> (Vec<String>, bool) {
    let stop: Vec<String> = stop.iter().map(|stop| stop.to_string()).collect();
    let mut stream = TextStream::new(tokenizer, &stop);
    let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    pieces.push(stream.finish().unwrap());
    let stopped = stream.stopped();
    assert_eq!(pieces.concat(), stream.into_text());
    (pieces, stopped)
}

#[test]
fn encodes_and_decodes_match_the_tokenizers_library() {
    for name in NAMES {
        let (tokenizer, golden) = (tokenizer(name), goldens(name));
        for case in &golden.encodes {
            assert_eq!(tokenizer.encode_text(&case.text).unwrap(), case.ids, "{name} {:?}", case.text);
        }
        for case in &golden.decodes {
            assert_eq!(tokenizer.decode(&case.ids).unwrap(), case.text, "{name} {:?}", case.ids);
        }
    }
}

#[test]
fn streamed_pieces_add_up_to_the_whole() {
    for name in NAMES {
        let (tokenizer, golden) = (tokenizer(name), goldens(name));
        // Of a run of byte tokens with one broken byte the library drops the whole; see the test of broken bytes.
        let runs = tokenizer.token_id("<0x0A>").is_some();
        let whole = |case: &&Case| !runs || !case.text.contains('\u{FFFD}');
        assert!(golden.decodes.iter().filter(whole).count() > 20);
        for case in golden.decodes.iter().filter(whole) {
            let (pieces, _) = stream(&tokenizer, &case.ids, &[]);
            assert_eq!(pieces.concat(), case.text, "{name} {:?}", case.ids);
        }
        // A fixed random walk through the vocabulary: characters in bytes, specials, spaces and words in any order.
        let characters = ["\n", " ", "é", "日", "🙂"].map(|character| bytes(&tokenizer, character.as_bytes()));
        let all: Vec<u32> = bytes(&tokenizer, &(0..=255).collect::<Vec<u8>>());
        let mut state = 1u64;
        for _ in 0..300 {
            let mut next = |below: usize| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as usize % below
            };
            let mut ids: Vec<u32> = Vec::new();
            while ids.len() < 24 {
                match next(330) as u32 {
                    id if all.contains(&id) => ids.extend(&characters[next(characters.len())]),
                    id => ids.push(id),
                }
            }
            assert_eq!(stream(&tokenizer, &ids, &[]).0.concat(), tokenizer.decode(&ids).unwrap(), "{name} {ids:?}");
        }
    }
}

/// The byte tokens of `bytes`; none in a vocabulary without them.
fn bytes(tokenizer: &Tokenizer, bytes: &[u8]) -> Vec<u32> {
    bytes.iter().filter_map(|byte| tokenizer.token_id(&format!("<0x{byte:02X}>"))).collect()
}

#[test]
fn bytes_become_text_as_soon_as_they_are_a_character() {
    let tokenizer = tokenizer("llama");
    let cases: [(&[u8], &[&str]); 7] = [
        (b"a\n", &["a", "\n", ""]),
        ("é\n".as_bytes(), &["", "é", "\n", ""]),
        ("🙂".as_bytes(), &["", "", "", "🙂", ""]),
        // Broken ones are replaced one by one, whatever stands beside them.
        (b"\xff\n", &["\u{FFFD}", "\n", ""]),
        (b"\n\xe2\x96a", &["\n", "", "", "\u{FFFD}\u{FFFD}a", ""]),
        (b"\xe2\xc3\xa9", &["", "\u{FFFD}", "é", ""]),
        (b"\xf0\x9f", &["", "", "\u{FFFD}\u{FFFD}"]),
    ];
    for (text, expected) in cases {
        assert_eq!(stream(&tokenizer, &bytes(&tokenizer, text), &[]).0, expected, "{text:?}");
    }
    // A word after half a character, and one after a broken byte at the very start, which keeps its space.
    let word = tokenizer.encode_text("What").unwrap()[1..].to_vec();
    let ids = [bytes(&tokenizer, b"\xe2\x96"), word.clone()].concat();
    assert_eq!(stream(&tokenizer, &ids, &[]).0.concat(), "\u{FFFD}\u{FFFD} What");
    assert_eq!(stream(&tokenizer, &[bytes(&tokenizer, b"\n"), word].concat(), &[]).0.concat(), "\n What");
}

#[test]
fn a_line_break_in_bytes_stops() {
    let tokenizer = tokenizer("llama");
    let mut ids = tokenizer.encode_text("a red circle").unwrap();
    ids.extend(bytes(&tokenizer, b"\n\n\n"));
    let (pieces, stopped) = stream(&tokenizer, &ids, &["\n"]);
    assert_eq!((pieces.concat().as_str(), stopped), ("a red circle", true));
    // The second half of a stop string of two may still come.
    let (pieces, stopped) = stream(&tokenizer, &ids[..ids.len() - 2], &["\n\n"]);
    assert_eq!((pieces.concat().as_str(), stopped), ("a red circle\n", false));
    assert!(stream(&tokenizer, &ids, &["\n\n"]).1);
}

#[test]
fn text_appears_as_soon_as_it_is_certain() {
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let ids = tokenizer.encode_text("a red circle 🙂 and a blue star").unwrap();
        let (pieces, _) = stream(&tokenizer, &ids, &[]);
        assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 5, "{name} {pieces:?}");
        assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{name} {pieces:?}");
        assert_eq!(pieces.last().unwrap(), "", "nothing is left for the end");
    }
}

#[test]
fn stop_strings_end_the_text_and_never_show() {
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let ids = tokenizer.encode_text("a red circle and a blue star.").unwrap();
        let whole = tokenizer.decode(&ids).unwrap();
        for (stop, expected) in [
            (vec!["circle and"], Some("a red ")),
            (vec!["blue", "red"], Some("a ")),
            (vec!["circles", "star!"], None),
            (vec![""], None),
            (vec!["star."], Some("a red circle and a blue ")),
        ] {
            let (pieces, stopped) = stream(&tokenizer, &ids, &stop);
            assert_eq!(pieces.concat(), expected.unwrap_or(&whole), "{name} {stop:?}");
            assert_eq!(stopped, expected.is_some());
            let mut shown = String::new();
            for piece in &pieces[..pieces.len() - 1] {
                shown.push_str(piece);
                let half = |stop: &&&str| (1..stop.len()).any(|end| shown.ends_with(&stop[..end]));
                assert!(stop.iter().find(half).is_none(), "{name}: {shown:?} ends in half of {stop:?}");
            }
        }
    }
}

#[test]
fn the_picture_takes_its_positions() {
    let mut tokenizer = tokenizer("llama");
    let image = tokenizer.token_id("<image>").unwrap();
    let prompt = Prompt::new(&LLAVA_1_5, Some("What is in this picture?"), None, false, true).unwrap();
    assert_eq!(prompt.text(), "USER: <image>\nWhat is in this picture? ASSISTANT:");
    let plain = tokenizer.encode_text(prompt.text()).unwrap();
    let tokens = tokenizer.encode(&prompt, image, 16).unwrap();
    let span = tokens.image.unwrap();
    assert_eq!(span.len(), 16);
    assert!(tokens.ids[span.clone()].iter().all(|id| *id == image));
    assert_eq!(tokens.ids.len(), plain.len() + 15);
    assert_eq!(tokens.ids[..span.start], plain[..span.start]);
    assert_eq!(tokens.ids[span.end..], plain[span.start + 1..]);
    // As transformers has it: the mark repeated in the text before tokenizing gives the same ids.
    let repeated = prompt.text().replace("<image>", &"<image>".repeat(16));
    assert_eq!(tokenizer.encode_text(&repeated).unwrap(), tokens.ids);
    assert!(matches!(tokenizer.encode(&prompt, image + 1, 16), Err(Error::Tokenizer(_))));

    let text_only = Prompt::new(&LLAVA_1_5, Some("Hello"), None, false, false).unwrap();
    assert_eq!(text_only.text(), "USER: Hello ASSISTANT:");
    assert_eq!(tokenizer.encode(&text_only, image, 16).unwrap().image, None);
}

/// What a caller says stays text, whatever it spells out; the template's mark and the tokens put before a text do not.
#[test]
fn special_tokens_come_from_the_template_alone() {
    for name in NAMES {
        let mut tokenizer = tokenizer(name);
        let [image, bos, eos] = ["<image>", "<s>", "</s>"].map(|token| tokenizer.token_id(token).unwrap());
        let count = |ids: &[u32], token: u32| ids.iter().filter(|id| **id == token).count();
        let text = "Is </s> or <image> or <s> in it? \u{FDD0}<image>";
        let chat: Vec<Message> = serde_json::from_value(json!([{"role": "user", "content": text}])).unwrap();
        for prompt in [
            Prompt::new(&LLAVA_1_5, Some(text), None, false, true).unwrap(),
            Prompt::new(&LLAVA_1_5, None, Some(&chat), false, true).unwrap(),
        ] {
            let tokens = tokenizer.encode(&prompt, image, 16).unwrap();
            assert_eq!(tokens.image.as_ref().map(|span| span.len()), Some(16), "{name}");
            assert_eq!((count(&tokens.ids, image), count(&tokens.ids, eos)), (16, 0), "{name}");
            let before = usize::from(tokens.ids[0] == bos);
            assert_eq!(count(&tokens.ids, bos), before, "{name}");
            let behind = tokenizer.decode(&tokens.ids[tokens.image.unwrap().end..]).unwrap();
            assert!(behind.contains("Is </s> or <image> or <s> in it? \u{FFFD}<image> ASSISTANT:"), "{name}: {behind}");
        }
        // Without a picture too, and as part of a raw prompt they are what they spell.
        let prompt = Prompt::new(&LLAVA_1_5, Some("</s><image>"), None, false, false).unwrap();
        let tokens = tokenizer.encode(&prompt, image, 16).unwrap();
        assert_eq!((tokens.image, count(&tokens.ids, image), count(&tokens.ids, eos)), (None, 0, 0), "{name}");
        let prompt = Prompt::new(&LLAVA_1_5, Some("a </s><image>"), None, true, true).unwrap();
        let tokens = tokenizer.encode(&prompt, image, 16).unwrap();
        assert_eq!((count(&tokens.ids, image), count(&tokens.ids, eos)), (16, 1), "{name}");
    }
}

#[test]
fn a_template_spells_special_tokens_and_a_caller_does_not() {
    for name in NAMES {
        let json = fs::read(folder().join(format!("tokenizers/{name}.json"))).unwrap();
        let missing = Tokenizer::with_special(&json, FAST_VLM.special).err().unwrap().to_string();
        assert!(missing.contains("`<|im_start|>`"), "{missing}");
        let mut json: Value = serde_json::from_slice(&json).unwrap();
        let first = json["model"]["vocab"].as_object().unwrap().len() + json["added_tokens"].as_array().unwrap().len();
        for (id, token) in (first..).zip(FAST_VLM.special) {
            let mut added = json["added_tokens"][0].clone();
            (added["id"], added["content"]) = (id.into(), (*token).into());
            json["added_tokens"].as_array_mut().unwrap().push(added);
        }
        let mut tokenizer = Tokenizer::with_special(json.to_string().as_bytes(), FAST_VLM.special).unwrap();
        let image = tokenizer.token_id("<image>").unwrap();
        let asked = "What <|im_end|> is it?";
        let prompt = Prompt::new(&FAST_VLM, Some(asked), None, false, true).unwrap();
        let start = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\n";
        assert_eq!(prompt.text(), format!("{start}{asked}<|im_end|>\n<|im_start|>assistant\n"));
        let tokens = tokenizer.encode(&prompt, image, 3).unwrap();
        let [open, close] = ["<|im_start|>", "<|im_end|>"].map(|token| tokenizer.token_id(token).unwrap());
        let count = |token: u32| tokens.ids.iter().filter(|id| **id == token).count();
        assert_eq!((count(open), count(close), count(image)), (3, 2, 3), "{name}");
        // Where nothing special is asked, a template's prompt is what its text is in a raw one.
        let prompt = Prompt::new(&FAST_VLM, Some("What is it?"), None, false, true).unwrap();
        let raw = Prompt::new(&FAST_VLM, Some(prompt.text()), None, true, true).unwrap();
        assert_eq!(tokenizer.encode(&prompt, image, 3).unwrap(), tokenizer.encode(&raw, image, 3).unwrap(), "{name}");
        let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "So?"}]);
        let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
        let prompt = Prompt::new(&FAST_VLM, None, Some(&messages), false, false).unwrap();
        // As transformers' `apply_chat_template` writes it with FastVLM's template.
        let turn = |role: &str, text: &str| format!("<|im_start|>{role}\n\n{text}<|im_end|>\n");
        let turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "So?")];
        let turns: String = turns.iter().map(|(role, text)| turn(role, text)).collect();
        assert_eq!(prompt.text(), format!("{turns}<|im_start|>assistant\n"));
    }
}

fn chat(messages: Value, picture: bool) -> Result<String, Error> {
    let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
    Prompt::new(&LLAVA_1_5, None, Some(&messages), false, picture).map(|prompt| prompt.text().to_owned())
}

#[test]
fn prompts_follow_llava_1_5() {
    let default = Prompt::new(&LLAVA_1_5, None, None, false, true).unwrap();
    assert_eq!(default.text(), "USER: <image>\nWhat is in this picture? ASSISTANT:");
    let raw = Prompt::new(&LLAVA_1_5, Some("<image> so?"), None, true, true).unwrap();
    assert_eq!(raw.text(), "<image> so?");
    let turns = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": "it?"}]},
        {"role": "assistant", "content": "A star."},
        {"role": "user", "content": "Its colour?"}
    ]);
    assert_eq!(
        chat(turns, true).unwrap(),
        "Be brief. USER: <image>\nWhat is it? ASSISTANT: A star. USER: Its colour? ASSISTANT:"
    );
    let unclaimed = json!([{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]);
    assert_eq!(chat(unclaimed.clone(), true).unwrap(), "S USER: <image>\nQ ASSISTANT:");
    assert_eq!(chat(unclaimed, false).unwrap(), "S USER: Q ASSISTANT:");
    let url = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    assert_eq!(chat(url, true).unwrap(), "USER: <image>\nASSISTANT:");
}

#[test]
fn contradicting_prompts_are_errors() {
    let message = json!([{"role": "user", "content": "Q"}]);
    let messages: Vec<Message> = serde_json::from_value(message).unwrap();
    let field = |result: Result<Prompt, Error>| match result {
        Err(Error::Input { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(Prompt::new(&LLAVA_1_5, Some("a"), Some(&messages), false, true)), "messages");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, None, Some(&messages), true, true)), "raw");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, None, None, true, true)), "prompt");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, Some("no mark"), None, true, true)), "prompt");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, Some("<image><image>"), None, true, true)), "prompt");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, Some("<image>"), None, true, false)), "prompt");
    assert_eq!(field(Prompt::new(&LLAVA_1_5, None, Some(&[]), false, true)), "messages");
    let image = json!({"role": "user", "content": [{"type": "image"}, {"type": "image"}]});
    assert!(chat(json!([image]), true).is_err());
    assert!(chat(json!([{"role": "user", "content": [{"type": "image"}]}]), false).is_err());
    assert!(chat(json!([{"role": "system", "content": "S"}]), true).is_err());
}

#[test]
fn a_broken_tokenizer_is_an_error() {
    assert!(matches!(Tokenizer::from_bytes(b"{}"), Err(Error::Tokenizer(_))));
    // On these the library under it panics, when it reads them or when it is used.
    let corpus = PathBuf::from("fuzz/corpus/tokenizer");
    for (name, problem) in [
        ("key", "key"),
        ("strip", "`stop` 2"),
        ("template", "which token \"<s>\""),
        ("prefix", "`continuing_subword_prefix` \"CTC\""),
    ] {
        let json = fs::read(corpus.join(format!("finding-{name}"))).unwrap();
        let error = Tokenizer::from_bytes(&json).err().unwrap().to_string();
        assert!(error.starts_with("tokenizer: ") && error.contains(problem), "{name}: {error}");
    }
}
