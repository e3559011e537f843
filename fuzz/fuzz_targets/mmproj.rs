//! A GGUF file with a vision tower and projector, converted beside a decoder that is in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::bundle::FolderSource;
use llava_web::convert::{Options, gguf};

const DECODER: &[u8] = include_bytes!("../corpus/gguf/type-8");

fuzz_target!(|bytes: &[u8]| {
    let model = llava_web_fuzz::path("model.gguf");
    if !model.exists() {
        llava_web_fuzz::write("model.gguf", DECODER);
    }
    let (mmproj, out) = (llava_web_fuzz::write("mmproj.gguf", bytes), llava_web_fuzz::path("bundle"));
    let options = Options { force: true, ..Options::new(None) };
    if gguf::convert(&model, Some(&mmproj), &out, &options).is_ok() {
        FolderSource::open(out).expect("what was written can be read");
    }
});
