//! Pictures of every format that is decoded natively, those of the browser among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::image::Picture;

const MAX_PIXELS: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::decode(bytes, MAX_PIXELS) {
        assert!(picture.width as u64 * picture.height as u64 <= MAX_PIXELS);
        assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
    }
});
