//! tokenizer.json, and text through what it describes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::text::stream::TextStream;
use llava_web::text::tokenizer::Tokenizer;

fuzz_target!(|json: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_bytes(json) else { return };
    let Ok(ids) = tokenizer.encode_text("USER: <image>\nWhat are these 3  cats doing\u{e9}\u{1f408}? ASSISTANT:")
    else {
        return;
    };
    let _ = tokenizer.decode(&ids);
    let mut stream = TextStream::new(&tokenizer, &["cats".to_owned()]);
    for id in ids.into_iter().chain(0..64) {
        if stream.push(id).is_err() {
            return;
        }
    }
    let _ = stream.finish();
});
