//! What rounding the inputs of prompts and pictures to f16 turns: of greedy tokens at most one in 200.

use std::fs;
use std::path::{Path, PathBuf};

use futures_lite::future::block_on;
use llava_web::bundle::FolderSource;
use llava_web::convert::{Options, hf};
use llava_web::device;
use llava_web::engine::{Engine, Input, LoadOptions};
use llava_web::image::Source;
use llava_web::kernels::{LinearUse, LinearVariant, set_linear_variant};
use llava_web::quant::Format;
use serde::Deserialize;

/// Of 200.
const TURNED: usize = 1;

#[derive(Deserialize)]
struct Case {
    image: PathBuf,
    prompt: String,
}

/// How few and many rows are multiplied.
fn set(few: LinearVariant, mat: LinearVariant) {
    set_linear_variant(LinearUse::Few, Some(few));
    set_linear_variant(LinearUse::Mat, Some(mat));
}

/// The greedy tokens about each picture, few and many rows multiplied exactly and in f16.
fn tokens(bundle: &Path, cases: &[Case]) -> Vec<[Vec<u32>; 2]> {
    let source = FolderSource::open(bundle).unwrap();
    let load = async {
        let opened = device::open().await?;
        assert!(opened.adapter.features.f16, "{} has no f16, of which this is about", opened.adapter.name);
        Engine::load(opened, &source, &source.tokenizer()?, LoadOptions::default()).await
    };
    let mut engine = block_on(load).unwrap();
    let mut answer = |Case { image, prompt }: &Case, tail: &str| {
        let picture = Source::Encoded(fs::read(image).unwrap());
        // A question of its own each time: nothing of it is cached from the other way of computing.
        let prompt = format!("{prompt}{tail}");
        let input = Input { prompt: Some(prompt), max_tokens: Some(32), ..Input::default() };
        block_on(engine.generate(Some(&picture), &input, &mut |_, _| true)).unwrap().token_ids
    };
    let mut found = Vec::new();
    for case in cases {
        let blank = Case { image: "tests/golden/pictures/bilevel.png".into(), prompt: String::new() };
        let both = [(LinearVariant::Few64, LinearVariant::Mat8x4), (LinearVariant::FewF16, LinearVariant::MatF16)];
        found.push(both.map(|(few, mat)| {
            set(few, mat);
            answer(&blank, "?"); // forgets the picture and its cache
            answer(case, "")
        }));
    }
    found
}

#[test]
fn at_most_one_of_200_tokens_is_another() {
    let read = |line: &str| serde_json::from_str::<Case>(line).unwrap();
    let held_out = Path::new("tests/held-out");
    let mut cases: Vec<Case> = fs::read_to_string(held_out.join("cases.jsonl")).unwrap().lines().map(read).collect();
    cases.iter_mut().for_each(|case| case.image = held_out.join(&case.image));
    let photographs = (1..=4).map(|n| PathBuf::from(format!("www/demo/samples/photographs-{n}.jpg")));
    let questions = ["What is in this picture?", "What kind of thing is this?", "Is there a cat in this picture?"];
    let photographs: Vec<Case> = photographs
        .flat_map(|image| questions.map(|prompt| Case { image: image.clone(), prompt: prompt.into() }))
        .collect();
    let made_up = tempfile::tempdir().unwrap();
    let mut bundles =
        vec![(PathBuf::from("models/llava-sketches"), &cases[..]), ("models/llava-photos".into(), &photographs)];
    for checkpoint in ["gqa", "tied", "biased"] {
        let out = made_up.path().join(checkpoint);
        let folder = Path::new("tests/golden/checkpoints").join(checkpoint);
        hf::convert(&folder, &out, &Options::new(Format::Q4)).unwrap();
        bundles.push((out, &photographs));
    }
    let (mut all, mut turned) = (0, 0);
    for (bundle, cases) in bundles {
        let (mut own, mut own_turned) = (0, 0);
        for [exact, half] in tokens(&bundle, cases) {
            // Behind a token that is another one everything may be.
            let same = exact.iter().zip(&half).take_while(|(a, b)| a == b).count();
            let differs = same < exact.len().max(half.len());
            own += same + usize::from(differs);
            own_turned += usize::from(differs);
        }
        println!("{}: {own_turned} of {own} tokens are others in f16", bundle.display());
        all += own;
        turned += own_turned;
    }
    println!("{turned} of {all} tokens are others in f16");
    assert!(all >= 1000, "{all} tokens");
    assert!(200 * turned <= TURNED * all, "{turned} of {all}");
}
