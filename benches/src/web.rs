//! The benches for a page.

use js_sys::Function;
use llava_web::Error;
use wasm_bindgen::prelude::*;

use crate::Options;

/// Adapter and versions as JSON.
#[wasm_bindgen]
pub async fn environment() -> Result<String, JsError> {
    crate::environment(&Options::default()).await.map(|environment| environment.to_string()).map_err(to_js)
}

/// Runs the benches that `options` (JSON) asks for. `on_result(json, line)` is called with each result and the lines of
/// the table for it.
#[wasm_bindgen]
pub async fn run(options: String, on_result: Function) -> Result<(), JsError> {
    let options = serde_json::from_str(&options)?;
    let mut section = String::new();
    let mut hand_over = |result: serde_json::Value| {
        let line = crate::report::lines(&result, &mut section);
        // What the page's callback throws is its own concern.
        let _ = on_result.call2(&JsValue::NULL, &result.to_string().into(), &line.into());
    };
    crate::run(&options, &mut hand_over).await.map_err(to_js)
}

fn to_js(error: Error) -> JsError {
    JsError::new(&error.to_string())
}
