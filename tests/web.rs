//! The same kernel tests in a browser: in Chromium another compiler (Tint) reads the shaders, in Firefox naga with a browser's checks.
#![cfg(all(target_family = "wasm", feature = "gpu"))]

#[path = "kernels/cases.rs"]
#[macro_use]
mod cases;

use std::sync::Once;

use llava_web::device;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// The test runner leaves out what a page runs first.
static START: Once = Once::new();

async fn gpu() -> device::Opened {
    START.call_once(llava_web::web::start);
    device::open().await.expect("these tests need a browser with WebGPU")
}

macro_rules! in_the_browser {
    ($($case:ident),*) => {
        $(#[wasm_bindgen_test]
        async fn $case() {
            cases::$case(&gpu().await.device).await;
        })*
    };
}

for_each_case!(in_the_browser);
for_each_case_of_shaders!(in_the_browser);

/// Without the call of the static constructors in `web::start` a launch takes some 3,400 us here, with it some 40.
#[wasm_bindgen_test]
async fn launch_cost() {
    let gpu = gpu().await;
    let (launched, replayed) = cases::shaders::launch_cost(&gpu.device, 200).await;
    console_log!("{:?}: {launched:.1} us a launch, {replayed:.1} us replayed", gpu.adapter);
    assert!(launched < 1500.0, "a launch takes {launched} us: do exports run the static constructors?");
}
