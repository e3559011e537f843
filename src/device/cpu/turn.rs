//! Between operations, which in a browser take the whole thread.

/// Lets a browser's thread do what waits for it; nothing natively.
#[cfg(not(target_family = "wasm"))]
pub async fn turn() {}

/// Lets the thread do what waits for it.
#[cfg(target_family = "wasm")]
pub async fn turn() {
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen(module = "/src/device/cpu/turn.js")]
    extern "C" {
        #[wasm_bindgen(js_name = turn)]
        async fn take_turn();
    }
    take_turn().await;
}
