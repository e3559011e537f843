//! A GGUF file with a decoder, converted into a bundle that is then opened.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::bundle::FolderSource;
use llava_web::convert::{Options, gguf};

fuzz_target!(|bytes: &[u8]| {
    let (model, out) = (llava_web_fuzz::write("model.gguf", bytes), llava_web_fuzz::path("bundle"));
    let options = Options { force: true, ..Options::new(None) };
    if gguf::convert(&model, None, &out, &options).is_ok() {
        FolderSource::open(out).expect("what was written can be read");
    }
});
