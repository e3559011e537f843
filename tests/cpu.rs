//! The same kernel tests on the CPU, in the WebAssembly of Node and of Chromium.
#![cfg(all(target_family = "wasm", not(feature = "gpu")))]

#[path = "kernels/cases.rs"]
#[macro_use]
mod cases;

use std::sync::Once;

use llava_web::device;
use wasm_bindgen_test::wasm_bindgen_test;

/// The test runner leaves out what a page runs first.
static START: Once = Once::new();

macro_rules! in_wasm {
    ($($case:ident),*) => {
        $(#[wasm_bindgen_test]
        async fn $case() {
            START.call_once(llava_web::web::start);
            cases::$case(&device::open().await.unwrap().device).await;
        })*
    };
}

for_each_case!(in_wasm);
