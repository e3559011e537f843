//! Bundles: what is written is read back, and every kind of damage is noticed and named.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use futures_lite::future::block_on;
use llava_web::bundle::reader::TensorReader;
use llava_web::bundle::source::ChunkSource;
use llava_web::bundle::{
    BundleHead, BundleWriter, FolderSource, LargestWeight, Manifest, Memory, ModelInfo, Span, check_space,
};
use llava_web::progress::Meter;
use llava_web::quant::Format;
use llava_web::{Error, Result};
use serde_json::{Value, json};

const TOKENIZER: &[u8] = br#"{"model": {}}"#;

fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2654435761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn memory() -> Memory {
    let largest_weight = LargestWeight { name: "w".into(), bytes: 120 };
    Memory {
        largest_weight,
        layers: 2,
        keys: 64,
        head_dim: 32,
        trained_positions: 100,
        image_tokens: 0,
        picture_bytes: 0,
        position_bytes: 9,
    }
}

fn head() -> BundleHead {
    let model = ModelInfo { name: "test".into(), ..Default::default() };
    BundleHead {
        model,
        config: json!({"model_type": "llava"}),
        generation: json!({}),
        preprocessor: json!({}),
        quantization: "q4".into(),
        memory: Some(memory()),
    }
}

/// Columns of the matrices in `write`.
fn cols(format: Format) -> usize {
    64usize.next_multiple_of(format.block())
}

/// Two matrices of each format and a vector, in chunks of 400 bytes so that most cross a border.
fn write(folder: &Path) -> Manifest {
    let mut writer = BundleWriter::create(folder, 400, false).unwrap();
    for (seed, &format) in Format::ALL.iter().enumerate() {
        for (name, rows) in [("a", 3), ("b", 5)] {
            let cols = cols(format);
            let bytes = format.encode("w", rows, cols, &values(rows * cols, seed as u32)).unwrap();
            writer.tensor(&format!("{}.{name}", format.name()), format, &[rows, cols], &bytes).unwrap();
        }
    }
    let bytes = Format::F16.encode("v", 1, 7, &values(7, 9)).unwrap();
    writer.tensor("vector", Format::F16, &[7], &bytes).unwrap();
    writer.finish(head(), TOKENIZER, Meter::new("checking", 0, |_| ())).unwrap()
}

fn bundle() -> (tempfile::TempDir, PathBuf, Manifest) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("bundle");
    let manifest = write(&folder);
    (temp, folder, manifest)
}

/// Counts reads.
struct Counting(FolderSource, RefCell<Vec<usize>>);

impl ChunkSource for Counting {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        self.1.borrow_mut().push(index);
        self.0.read_chunk(index).await
    }
}

#[test]
fn every_format_comes_back_and_every_chunk_is_read_once() {
    let (_temp, folder, manifest) = bundle();
    assert!(manifest.tensors.iter().any(|tensor| tensor.spans.len() > 1));
    let source = Counting(FolderSource::open(&folder).unwrap(), RefCell::default());
    assert_eq!(source.manifest(), &manifest);
    assert_eq!(source.0.tokenizer().unwrap(), TOKENIZER);
    let mut reader = TensorReader::new(&source);
    for (seed, &format) in Format::ALL.iter().enumerate() {
        for (name, rows) in [("a", 3), ("b", 5)] {
            let (name, cols) = (format!("{}.{name}", format.name()), cols(format));
            let tensor = block_on(reader.shaped(&name, &[rows, cols])).unwrap();
            let expected = format.encode("w", rows, cols, &values(rows * cols, seed as u32)).unwrap();
            assert_eq!((tensor.format, &tensor.bytes), (format, &expected));
            assert_eq!(tensor.decode().unwrap(), format.decode("w", rows, cols, &expected).unwrap());
        }
    }
    assert_eq!(block_on(reader.tensor("vector")).unwrap().decode().unwrap().len(), 7);
    assert_eq!(source.1.into_inner(), (0..manifest.chunks.len()).collect::<Vec<_>>());
}

#[test]
fn fused_tensors_hold_the_rows_of_all() {
    let (_temp, folder, _) = bundle();
    let source = FolderSource::open(&folder).unwrap();
    let mut reader = TensorReader::new(&source);
    for &format in Format::ALL {
        let (a, b) = (format!("{}.a", format.name()), format!("{}.b", format.name()));
        let fused = block_on(reader.fused(&[&a, &b])).unwrap();
        assert_eq!(fused.shape, [8, cols(format)]);
        assert_eq!(Some(fused.bytes.len()), format.byte_len(8, cols(format)));
        let mut expected = block_on(reader.tensor(&a)).unwrap().decode().unwrap();
        expected.extend(block_on(reader.tensor(&b)).unwrap().decode().unwrap());
        assert_eq!(fused.decode().unwrap(), expected);
    }
    let joined = block_on(reader.fused(&["vector", "vector"])).unwrap();
    assert_eq!((joined.shape.as_slice(), joined.decode().unwrap().len()), ([14].as_slice(), 14));
    let error = block_on(reader.fused(&["q4.a", "q8.b"])).unwrap_err().to_string();
    assert!(error.contains("`q8.b`") && error.contains("`q4.a`"), "{error}");
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let (_temp, folder, _) = bundle();
    let source = FolderSource::open(&folder).unwrap();
    let mut reader = TensorReader::new(&source);
    assert!(reader.contains("q4.a") && !reader.contains("q5.a"));
    let error = block_on(reader.tensor("q5.a")).unwrap_err();
    assert_eq!(error.code(), "bad_bundle");
    assert!(error.to_string().contains("`q5.a`: is missing"), "{error}");
    let error = block_on(reader.shaped("q4.a", &[64, 3])).unwrap_err().to_string();
    assert!(error.contains("[3, 64]") && error.contains("[64, 3]"), "{error}");
}

#[test]
fn damaged_files_are_noticed() {
    let (_temp, folder, manifest) = bundle();
    let read_all = || -> Result<()> {
        let source = FolderSource::open(&folder)?;
        source.tokenizer()?;
        let mut reader = TensorReader::new(&source);
        manifest.tensors.iter().try_for_each(|tensor| block_on(reader.tensor(&tensor.name)).map(drop))
    };
    let chunk = folder.join(&manifest.chunks[1].file);
    let original = fs::read(&chunk).unwrap();
    let mut flipped = original.clone();
    flipped[17] ^= 1;

    for (damaged, sign) in [(flipped.as_slice(), "SHA-256"), (&original[..399], "399 bytes instead of 400")] {
        fs::write(&chunk, damaged).unwrap();
        let error = read_all().unwrap_err();
        assert_eq!(error.code(), "bad_bundle");
        assert!(error.to_string().contains(sign) && error.to_string().contains(&manifest.chunks[1].file), "{error}");
    }
    fs::remove_file(&chunk).unwrap();
    assert_eq!(read_all().unwrap_err().code(), "io");
    fs::write(&chunk, original).unwrap();
    read_all().unwrap();

    fs::write(folder.join("tokenizer.json"), br#"{"model": {!"#).unwrap();
    assert!(read_all().unwrap_err().to_string().contains("`tokenizer.json`"));
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert_eq!(read_all().unwrap_err().code(), "io");
}

#[test]
fn inconsistent_manifests_are_refused() {
    let (_temp, _folder, manifest) = bundle();
    let good = serde_json::to_value(&manifest).unwrap();
    Manifest::from_json(good.to_string()).unwrap();
    let cases: &[(&str, Value, &str)] = &[
        ("/format", json!("gguf"), "no bundle"),
        ("/version", json!(2), "update it"),
        ("/version", json!(-1), "manifest.json"),
        ("/model/name", json!(""), "model.name"),
        ("/config", json!(null), "`config`"),
        ("/generation", json!([]), "`generation`"),
        ("/total_bytes", json!(7), "total_bytes"),
        ("/total_bytes", json!(u64::MAX), "total_bytes"),
        ("/tokenizer/file", json!("../tokenizer.json"), "`tokenizer`"),
        ("/tokenizer/bytes", json!(usize::MAX), "`tokenizer`"),
        ("/chunks/0/file", json!("../../secret"), "chunk 0"),
        ("/chunks/0/sha256", json!("00"), "chunk 0"),
        ("/chunks/0/sha256", json!("A".repeat(64)), "chunk 0"),
        ("/chunks/1/bytes", json!(396), "chunk 1"),
        ("/chunks/1/bytes", json!(0), "chunk 1"),
        ("/chunks/0/bytes", json!(1u64 << 40), "chunk 0"),
        ("/chunks", json!([]), "total_bytes"),
        ("/tensors/1/name", json!("q4.a"), "appears twice"),
        ("/tensors/0/name", json!(""), "is empty"),
        ("/tensors/0/dtype", json!("q5"), "manifest.json"),
        ("/tensors/0/dtype", json!("f32"), "takes 768"),
        ("/tensors/0/shape", json!([3, 63]), "cannot be stored"),
        ("/tensors/0/shape", json!([6, 32, 1]), "cannot be stored"),
        ("/tensors/0/shape", json!([]), "cannot be stored"),
        ("/tensors/0/shape", json!([0, 64]), "cannot be stored"),
        ("/tensors/0/shape", json!([usize::MAX, 64]), "cannot be stored"),
        ("/tensors/0/shape", json!([-3, 64]), "manifest.json"),
        ("/tensors/0/shape", json!([4, 64]), "takes 160"),
        ("/tensors/0/spans", json!([]), "takes 120"),
        ("/tensors/0/spans/0/chunk", json!(999), "chunk 999 does not exist"),
        ("/tensors/0/spans/0/offset", json!(usize::MAX), "expected chunk 0 at 0"),
        ("/tensors/0/spans/0/bytes", json!(usize::MAX), "leaves its chunk"),
        ("/tensors/0/spans/0/bytes", json!(404), "leaves its chunk"),
        ("/tensors/0/spans/0/bytes", json!(0), "leaves its chunk"),
        ("/tensors/0/spans/0/bytes", json!(118), "multiple of 4"),
        ("/tensors/1/spans/0/offset", json!(116), "expected chunk 0 at 120"),
        ("/tensors/1/spans/0/offset", json!(124), "expected chunk 0 at 120"),
        ("/memory", json!([]), "`memory.largest_weight.name`"),
        ("/memory", json!(7), "`memory.largest_weight.name`"),
        ("/memory/largest_weight", json!(null), "`memory.largest_weight.name`"),
        ("/memory/largest_weight/name", json!(""), "`memory.largest_weight.name`"),
        ("/memory/largest_weight/bytes", json!(0), "`memory.largest_weight.bytes`"),
        ("/memory/layers", json!(0), "`memory.layers`"),
        ("/memory/keys", json!("64"), "`memory.keys`"),
        ("/memory/head_dim", json!(1.5), "`memory.head_dim`"),
        ("/memory/trained_positions", json!(null), "`memory.trained_positions`"),
        ("/memory/image_tokens", json!(-1), "`memory.image_tokens`"),
        ("/memory/picture_bytes", json!(u64::MAX), "`memory.picture_bytes`"),
        ("/memory/position_bytes", json!([1]), "`memory.position_bytes`"),
    ];
    for (pointer, value, sign) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value.clone();
        let error = Manifest::from_json(bad.to_string()).unwrap_err();
        assert_eq!(error.code(), "bad_bundle", "{pointer} {value}");
        assert!(error.to_string().contains(sign), "{pointer} {value}: {error}");
    }
    // Bundles made before there was this do not have it.
    let mut old = good.clone();
    old.as_object_mut().unwrap().remove("memory");
    assert_eq!(Manifest::from_json(old.to_string()).unwrap(), Manifest { memory: None, ..manifest.clone() });
    let mut short = manifest.clone();
    short.tensors.pop();
    assert!(short.validate().unwrap_err().to_string().contains("do not fill"));
    assert!(Manifest::from_json("{").is_err());
}

/// A source whose chunks are whatever the manifest says, for manifests that cannot be trusted.
struct Zeros(Manifest);

impl ChunkSource for Zeros {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        Ok(vec![0; self.0.chunks[index].bytes])
    }
}

#[test]
fn no_mutated_manifest_panics() {
    let (_temp, _folder, manifest) = bundle();
    let good = serde_json::to_vec(&manifest).unwrap();
    let mut state = 7usize;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..1 + next(2) {
            let at = next(bad.len());
            bad[at] = b"0123456789-.eE,:[]{}\"nul"[next(24)];
        }
        let Ok(manifest) = Manifest::from_json(&bad) else { continue };
        accepted += 1;
        let source = Zeros(manifest);
        let mut reader = TensorReader::new(&source);
        for tensor in &source.0.tensors {
            block_on(reader.fused(&[&tensor.name, &tensor.name])).unwrap().decode().unwrap();
        }
    }
    assert!((1..10_000).contains(&accepted), "{accepted}");
}

#[test]
fn a_source_that_lies_about_a_chunk_is_caught() {
    struct Short(Manifest);
    impl ChunkSource for Short {
        fn manifest(&self) -> &Manifest {
            &self.0
        }
        async fn read_chunk(&self, _: usize) -> Result<Vec<u8>> {
            Ok(vec![0; 8])
        }
    }
    let (_temp, _folder, manifest) = bundle();
    let source = Short(manifest);
    let error = block_on(TensorReader::new(&source).tensor("q4.a")).unwrap_err();
    assert!(error.to_string().contains("reaches beyond chunk 0"), "{error}");
}

#[test]
fn only_a_finished_bundle_is_one() {
    let (_temp, folder, first) = bundle();
    // Not without force, and with it the old bundle stays whole until the new one is.
    let error = BundleWriter::create(&folder, 400, false).unwrap_err();
    assert!(matches!(&error, Error::Input { field: "out", .. }) && error.to_string().contains("--force"), "{error}");
    let mut writer = BundleWriter::create(&folder, 400, true).unwrap();
    writer.tensor("w", Format::F32, &[200], &[1; 800]).unwrap();
    drop(writer);
    let old = FolderSource::open(&folder).unwrap();
    assert_eq!(old.manifest(), &first);
    block_on(TensorReader::new(&old).tensor("q4.a")).unwrap();
    // The next conversion clears what both left behind.
    let mut writer = BundleWriter::create(&folder, 800, true).unwrap();
    writer.tensor("w", Format::F32, &[200], &[2; 800]).unwrap();
    let manifest = writer.finish(head(), TOKENIZER, Meter::new("checking", 0, |_| ())).unwrap();
    assert_ne!(manifest, first);
    assert_eq!(manifest.tensors[0].spans, [Span { chunk: 0, offset: 0, bytes: 800 }]);
    assert_eq!(fs::read_dir(folder.join("chunks")).unwrap().count(), 1);
}

#[test]
fn a_disk_without_room_is_told_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    check_space(temp.path(), 1).unwrap();
    let error = check_space(temp.path(), 1 << 60).unwrap_err().to_string();
    assert!(error.contains("`out`: 1152921504.61 GB are needed"), "{error}");
}

#[test]
fn the_writer_refuses_what_would_not_be_valid() {
    let temp = tempfile::tempdir().unwrap();
    for chunk_bytes in [0, 6, (16 << 20) + 4] {
        let error = BundleWriter::create(temp.path(), chunk_bytes, false).unwrap_err();
        assert!(matches!(error, Error::Input { field: "chunk-bytes", .. }), "{error}");
    }
    let mut writer = BundleWriter::create(temp.path(), 400, false).unwrap();
    writer.tensor("w", Format::F32, &[3], &[0; 8]).unwrap();
    assert!(
        writer.finish(head(), TOKENIZER, Meter::new("checking", 0, |_| ())).unwrap_err().to_string().contains("`w`")
    );
    assert!(!temp.path().join("manifest.json").exists());
    fs::write(temp.path().join("config.json"), "{}").unwrap();
    assert!(BundleWriter::create(temp.path(), 400, true).unwrap_err().to_string().contains("checkpoint"));
}
