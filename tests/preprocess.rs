//! Pictures through the decoder and the preprocessor, against what transformers made of them (tests/golden/pictures.py).

use std::{collections::BTreeMap, fs, path::PathBuf};

use llava_web::{
    Error, Result,
    image::{AspectRatio, MAX_BYTES, MAX_PIXELS, Picture, PreprocessorConfig, patches},
    kernels::Window,
    model::config::LlavaConfig,
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

/// `sha256` is of the RGB bytes that Pillow shows.
#[derive(Deserialize)]
struct Shown {
    picture: String,
    width: usize,
    height: usize,
    sha256: String,
}

#[test]
fn odd_pictures_are_shown_as_pillow_shows_them() {
    let cases: Vec<Shown> = serde_json::from_slice(&fs::read(golden("odd.json")).unwrap()).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        match Picture::decode(&fs::read(golden("odd").join(&case.picture)).unwrap(), MAX_PIXELS) {
            Ok(shown) if (shown.width, shown.height) != (case.width, case.height) => {
                failures.push(format!("{}: {}x{}", case.picture, shown.width, shown.height));
            }
            Ok(shown) if hex(&Sha256::digest(&shown.rgb)) != case.sha256 => {
                failures.push(format!("{}: pixels differ", case.picture));
            }
            Ok(_) => {}
            Err(error) => failures.push(format!("{}: {error}", case.picture)),
        }
    }
    assert!(cases.len() > 50, "{}", cases.len());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn transparency_lies_on_white_in_pixels_and_files_alike() {
    let rgba: Vec<u8> = (0..=255).flat_map(|alpha| [10, 200, 255 - alpha, alpha]).collect();
    let picture = Picture::from_rgba(16, 16, &rgba).unwrap();
    assert_eq!((picture.width, picture.height), (16, 16));
    for (pixel, shown) in rgba.chunks(4).zip(picture.rgb.chunks(3)) {
        let alpha = f64::from(pixel[3]) / 255.0;
        let on_white = |channel: &u8| (f64::from(*channel) * alpha + 255.0 * (1.0 - alpha)).round() as u8;
        assert!(pixel[..3].iter().map(on_white).eq(shown.iter().copied()), "{pixel:?} {shown:?}");
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 16, 16);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(&rgba).unwrap();
    assert_eq!(Picture::decode(&file, MAX_PIXELS).unwrap(), picture);
    for (width, height) in [(0, 2), (3, 1), (usize::MAX, 2)] {
        assert!(matches!(Picture::from_rgba(width, height, &[0; 8]), Err(Error::Image(_))));
    }
}

fn message(bytes: &[u8]) -> String {
    match Picture::decode(bytes, MAX_PIXELS) {
        Err(Error::Image(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_and_unknown_files_are_errors() {
    let bytes = fs::read(golden("pictures/rgb.png")).unwrap();
    for length in [9, 40, bytes.len() / 2] {
        message(&bytes[..length]);
    }
    let cure = "PNG, JPEG, WebP, GIF, BMP, TIFF or ICO file: convert it to PNG or JPEG first";
    for (file, name) in [
        (&b"plain text"[..], "not a "),
        (b"", "not a "),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF file, not a "),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC file, not a "),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG file, not a "),
    ] {
        assert_eq!(message(file), format!("{name}{cure}"));
    }
}

#[test]
fn arithmetic_coding_is_refused_by_name() {
    let mut bytes = fs::read(golden("pictures/photo.jpg")).unwrap();
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    for marker in [0xC9, 0xCA] {
        bytes[frame + 1] = marker;
        assert!(message(&bytes).contains("arithmetic coding"), "{}", message(&bytes));
    }
}

/// A PNG file of this size as far as its header goes.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fs::read(golden("pictures/rgb.png")).unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[test]
fn what_is_too_large_is_told_before_it_is_decoded() {
    let too_large = |result: Result<Picture>| match result {
        Err(error @ Error::TooLarge { .. }) => {
            assert_eq!(error.code(), "too_large");
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    let mut long = vec![0; MAX_BYTES + 1];
    long[..4].copy_from_slice(b"\x89PNG");
    let limit = "Scale it down first.";
    let expected = format!("`image` is too large: 67108865 bytes, and the limit is 67108864 bytes. {limit}");
    assert_eq!(too_large(Picture::decode(&long, MAX_PIXELS)), expected);

    // The largest square is only damaged.
    assert!(message(&png_header(8192, 8192)).starts_with("cannot be decoded"));
    let expected = format!("`image` is too large: 8193x8192 pixels, and the limit is 67108864 pixels. {limit}");
    assert_eq!(too_large(Picture::decode(&png_header(8193, 8192), MAX_PIXELS)), expected);
    assert_eq!(too_large(Picture::from_rgba(8193, 8192, &vec![0; 4 * 8193 * 8192])), expected);
    let expected = format!("`image` is too large: 65536x1 pixels, and the limit is 65535 pixels a side. {limit}");
    assert_eq!(too_large(Picture::decode(&png_header(65536, 1), MAX_PIXELS)), expected);

    let mut jpeg = fs::read(golden("pictures/photo.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    assert!(too_large(Picture::decode(&jpeg, MAX_PIXELS)).contains("65535x65535"));
    let mut gif = fs::read(golden("pictures/palette.gif")).unwrap();
    gif[6..10].fill(0xFF);
    assert!(too_large(Picture::decode(&gif, MAX_PIXELS)).contains("65535x65535"));

    let small = fs::read(golden("pictures/rgb.png")).unwrap();
    assert!(too_large(Picture::decode(&small, 45 * 34 - 1)).contains("45x34"));
    assert!(Picture::decode(&small, 45 * 34).is_ok());
}

/// A grey progressive JPEG of this side with a scan of means and so many more, whose data is one code for nothing.
fn many_scans(side: u16, scans: usize) -> Vec<u8> {
    let segment = |marker: u8, body: &[u8]| {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], &length[..], body].concat()
    };
    // One code, the bit 0, for the symbol 0 (no difference) or 0xE0 (many blocks without anything new).
    let code = |class: u8, symbol: u8| [&[class, 1][..], &[0; 15], &[symbol]].concat();
    let [high, low] = side.to_be_bytes();
    let mut file = vec![0xFF, 0xD8];
    file.extend(segment(0xDB, &[&[0][..], &[16; 64]].concat()));
    file.extend(segment(0xC2, &[8, high, low, high, low, 1, 1, 0x11, 0]));
    file.extend(segment(0xC4, &code(0x00, 0x00)));
    file.extend(segment(0xC4, &code(0x10, 0xE0)));
    file.extend(segment(0xDA, &[1, 1, 0, 0, 0, 0]));
    file.push(0);
    for _ in 0..scans {
        file.extend(segment(0xDA, &[1, 1, 0, 1, 63, 0]));
        file.push(0);
    }
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn work_is_bounded() {
    let start = std::time::Instant::now();
    let problem = message(&many_scans(8000, 500));
    assert!(problem.contains("so many scans"), "{problem}");
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
    // As many scans of a small picture are no work.
    let picture = Picture::decode(&many_scans(80, 500), MAX_PIXELS).unwrap();
    assert!(picture.rgb.iter().all(|sample| *sample == 128));

    // Tables that no scan uses.
    let mut tables = fs::read(golden("pictures/photo.jpg")).unwrap();
    let table = [&[0xFF, 0xC4, 0, 20, 0x13, 1][..], &[0; 16]].concat();
    tables.splice(2..2, table.repeat(200_000));
    let start = std::time::Instant::now();
    Picture::decode(&tables, MAX_PIXELS).unwrap();
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
}

#[test]
fn mutated_pictures_never_panic() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for name in ["photo.jpg", "photo422.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg"] {
        let bytes = fs::read(golden("pictures").join(name)).unwrap();
        assert!(Picture::decode(&bytes[..bytes.len() - 40], MAX_PIXELS).is_err(), "{name} cut short");
    }
    for entry in fs::read_dir(golden("pictures")).unwrap().chain(fs::read_dir(golden("odd")).unwrap()) {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for _ in 0..100 {
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
    let patches = patches(&picture, &config, None, Window::patches(5, 2)).unwrap();
    assert_eq!((patches.rows, patches.cols), (4, 12));
    // Patch 1 begins at x = 2; the byte at (x, y) of channel c is 15 y + 3 x + c. The fifth row and column are dropped.
    let expected = [6, 9, 21, 24, 7, 10, 22, 25, 8, 11, 23, 26].map(f32::from as fn(u8) -> f32);
    assert_eq!(patches.values[12..24], expected);
}

#[test]
fn patches_that_overlap_have_zeros_beyond_the_picture() {
    let settings = json!({"do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false});
    let config = preprocessor(&settings, 3).unwrap();
    let picture = Picture { width: 3, height: 3, rgb: (1..28).collect() };
    let patches = patches(&picture, &config, None, Window::symmetric(3, 3, 2)).unwrap();
    assert_eq!((patches.rows, patches.cols), (4, 27));
    // The byte at (x, y) of channel c is 1 + 9 y + 3 x + c. Patch 0 begins at (-1, -1), patch 3 at (1, 1).
    let corner = [0, 0, 0, 0, 1, 4, 0, 10, 13].map(f32::from as fn(u8) -> f32);
    assert_eq!(patches.values[..9], corner);
    let corner = [15, 18, 0, 24, 27, 0, 0, 0, 0].map(f32::from as fn(u8) -> f32);
    assert_eq!(patches.values[99..], corner);
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
    let error = patches(&picture("rgb.png"), &config, None, Window::patches(336, 14)).unwrap_err();
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
