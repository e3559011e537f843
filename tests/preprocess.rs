//! Pictures through the decoder and the preprocessor, against what transformers made of them (tests/golden/pictures.py).

use std::{collections::BTreeMap, fs, path::PathBuf};

use llava_web::{
    Error, Result,
    config::LlavaConfig,
    image::{AspectRatio, MAX_PIXELS, Picture, PreprocessorConfig, patches},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Goldens {
    preprocessors: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

/// `sha256` is of the 8-bit picture after cropping, `samples` some of the pixel values.
#[derive(Deserialize)]
struct Case {
    picture: String,
    preprocessor: String,
    aspect: AspectRatio,
    width: usize,
    height: usize,
    sha256: String,
    samples: BTreeMap<usize, f32>,
}

fn golden(path: &str) -> PathBuf {
    PathBuf::from("tests/golden").join(path)
}

fn picture(name: &str) -> Picture {
    Picture::decode(&fs::read(golden("pictures").join(name)).unwrap(), MAX_PIXELS).unwrap()
}

fn preprocessor(settings: &Value, image_size: usize) -> Result<PreprocessorConfig> {
    let config = json!({"model_type": "llava", "vision_config": {"image_size": image_size, "patch_size": 1}});
    PreprocessorConfig::from_json(settings, &LlavaConfig::from_json(&config, &json!({}))?.vision.unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn pictures_match_transformers() {
    let goldens: Goldens = serde_json::from_slice(&fs::read(golden("pictures.json")).unwrap()).unwrap();
    let mut failures = Vec::new();
    for case in &goldens.cases {
        let config = preprocessor(&goldens.preprocessors[&case.preprocessor], 224).unwrap();
        let picture = picture(&case.picture);
        let fitted = config.fit(&picture, case.aspect);
        let name = format!("{} {} {:?}", case.picture, case.preprocessor, case.aspect);
        if (fitted.width, fitted.height) != (case.width, case.height) {
            failures.push(format!("{name}: {}x{}", fitted.width, fitted.height));
            continue;
        }
        if case.sha256 != hex(&Sha256::digest(&fitted.rgb)) {
            failures.push(format!("{name}: pixels differ"));
        }
        let values = config.preprocess(&picture, Some(case.aspect)).values;
        for (index, expected) in &case.samples {
            if (values[*index] - expected).abs() > 1e-6 {
                failures.push(format!("{name}: value {index} is {} not {expected}", values[*index]));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), goldens.cases.len(), failures.join("\n"));
}

#[test]
fn sixteen_bit_grey_keeps_its_high_byte() {
    let (grey, rgb) = (picture("grey16.png"), picture("rgb.png"));
    let red = rgb.rgb.iter().step_by(3).map(|red| (u16::from(*red) * 251).to_be_bytes()[0]);
    assert!(grey.rgb.iter().step_by(3).copied().eq(red));
}

#[test]
fn canvas_pixels_lose_their_alpha() {
    let picture = Picture::from_rgba(2, 1, &[1, 2, 3, 0, 4, 5, 6, 255]).unwrap();
    assert_eq!(picture, Picture { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] });
    for (width, height) in [(0, 2), (3, 1), (usize::MAX, 2)] {
        assert!(matches!(Picture::from_rgba(width, height, &[0; 8]), Err(Error::Image(_))));
    }
}

#[test]
fn damaged_and_oversized_files_are_errors() {
    let bytes = fs::read(golden("pictures/rgb.png")).unwrap();
    let message = |bytes: &[u8], limit| match Picture::decode(bytes, limit) {
        Err(Error::Image(message)) => message,
        other => panic!("{other:?}"),
    };
    let too_large = message(&bytes, 45 * 34 - 1);
    assert!(too_large.contains("45x34") && too_large.contains("1529"), "{too_large}");
    assert!(message(b"plain text", MAX_PIXELS).contains("PNG, JPEG, WebP or GIF"));
    assert!(message(b"", MAX_PIXELS).contains("PNG, JPEG, WebP or GIF"));
    for length in [9, 40, bytes.len() / 2] {
        message(&bytes[..length], MAX_PIXELS);
    }
    // A header that promises 4 gigapixels, with nothing behind it.
    let mut bomb = bytes.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    message(&bomb, MAX_PIXELS);
}

#[test]
fn mutated_jpegs_never_panic() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for name in ["photo.jpg", "photo422.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg"] {
        let bytes = fs::read(golden("pictures").join(name)).unwrap();
        assert!(Picture::decode(&bytes[..bytes.len() - 40], MAX_PIXELS).is_err(), "{name} cut short");
        for _ in 0..400 {
            let mut mutated = bytes.clone();
            for _ in 0..3 {
                mutated[random() % bytes.len()] = random() as u8;
            }
            let _ = Picture::decode(&mutated, 1_000_000);
        }
    }
}

#[test]
fn extreme_shapes_stay_cheap() {
    let long = Picture { width: 60_000, height: 1, rgb: vec![200; 180_000] };
    let config = preprocessor(&json!({}), 336).unwrap();
    for aspect in [AspectRatio::Crop, AspectRatio::Pad] {
        let fitted = config.fit(&long, aspect);
        assert_eq!((fitted.width, fitted.height), (336, 336), "{aspect:?}");
    }
}

#[test]
fn patches_are_rows_of_the_convolution() {
    let settings = json!({"do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false});
    let config = preprocessor(&settings, 5).unwrap();
    let picture = Picture { width: 5, height: 5, rgb: (0..75).collect() };
    let patches = patches(&picture, &config, None, 2).unwrap();
    assert_eq!((patches.rows, patches.cols), (4, 12));
    // Patch 1 begins at x = 2; the byte at (x, y) of channel c is 15 y + 3 x + c. The fifth row and column are dropped.
    let expected = [6, 9, 21, 24, 7, 10, 22, 25, 8, 11, 23, 26].map(f32::from as fn(u8) -> f32);
    assert_eq!(patches.values[12..24], expected);
}

#[test]
fn unsupported_settings_are_named() {
    let cases = [
        (json!({"resample": 0}), "preprocessor.resample"),
        (json!({"resample": "bicubic"}), "preprocessor.resample"),
        (json!({"size": {"longest_edge": 3, "shortest_edge": 2}}), "preprocessor.size"),
        (json!({"size": {"shortest_edge": 0}}), "preprocessor.size"),
        (json!({"crop_size": {"height": 3}}), "preprocessor.crop_size"),
        (json!({"image_mean": [0.5]}), "preprocessor.image_mean"),
        (json!({"do_resize": 1}), "preprocessor.do_resize"),
        (json!({"image_aspect_ratio": "anyres"}), "preprocessor.image_aspect_ratio"),
        (json!({"image_processor_type": "SiglipImageProcessor"}), "preprocessor.image_processor_type"),
    ];
    for (settings, name) in cases {
        match preprocessor(&settings, 336) {
            Err(Error::Unsupported { field, .. }) => assert_eq!(field, name),
            other => panic!("{settings}: {other:?}"),
        }
    }
    let config = preprocessor(&json!({"crop_size": 200}), 336).unwrap();
    let error = patches(&picture("rgb.png"), &config, None, 14).unwrap_err();
    assert!(error.to_string().contains("336x336"), "{error}");
}

#[test]
fn padding_can_be_asked_for_in_two_ways() {
    let ratio = |settings| preprocessor(&settings, 336).unwrap().image_aspect_ratio;
    assert_eq!(ratio(json!({})), AspectRatio::Crop);
    assert_eq!(ratio(json!({"image_aspect_ratio": "pad"})), AspectRatio::Pad);
    assert_eq!(ratio(json!({"do_pad": true})), AspectRatio::Pad);
    assert_eq!(ratio(json!({"image_aspect_ratio": "crop", "do_pad": true})), AspectRatio::Crop);
}
