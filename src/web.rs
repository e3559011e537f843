//! The wasm-bindgen surface: conversions only, no logic.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::bundle::Manifest;
use crate::bundle::source::ChunkSource;
use crate::device;
use crate::engine::{self, LoadOptions, Models};
use crate::error::{Error, Result};
use crate::image::{Picture, Source};
use crate::promise::promise;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs the static constructors exactly once. Without this call the linker wraps every export so that each call from
/// JS runs all of them again, which makes a kernel launch 80 times slower. Every thread starts here.
#[wasm_bindgen(start)]
pub fn start() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    unsafe { __wasm_call_ctors() }
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
}

/// A bundle's models as JS sees them; one request at a time.
#[wasm_bindgen]
pub struct Engine {
    models: Rc<RefCell<Models>>,
}

/// Whether the wasm was once given no memory: then that is what it crashed of.
#[wasm_bindgen]
pub fn out_of_memory() -> bool {
    crate::allocator::has_failed()
}

/// Has this thread help the engine with its operations, and returns never.
#[cfg(all(feature = "cpu", target_feature = "atomics"))]
#[wasm_bindgen]
pub fn help() {
    crate::kernels::cpu::help();
}

/// The compiled wasm, which a thread is to be started with that helps.
#[cfg(all(feature = "cpu", target_feature = "atomics"))]
#[wasm_bindgen]
pub fn module() -> JsValue {
    wasm_bindgen::module()
}

/// To be called where [`help`] has ended.
#[cfg(all(feature = "cpu", target_feature = "atomics"))]
#[wasm_bindgen]
pub fn helper_lost() {
    crate::kernels::cpu::helper_lost();
}

#[wasm_bindgen]
impl Engine {
    /// Loads a bundle, with the tokenizer.json of each of its models. `read_chunk(index)` returns a promise of the chunk's bytes (`Uint8Array`), already verified;
    /// `on_all_read()` is called when there is no further chunk to read.
    pub fn load(
        manifest: String,
        tokenizers: Vec<String>,
        read_chunk: Function,
        on_all_read: Function,
        options: String,
    ) -> Promise {
        let load = async move {
            let options = load_options(&options)?;
            let manifest = Manifest::from_json(&manifest)?;
            let source = JsSource { manifest, read_chunk, on_all_read };
            let gpu = device::open().await?;
            Models::load(gpu, &source, &tokenizers, options).await
        };
        promise(async {
            let models = load.await.map_err(to_js)?;
            Ok(Engine { models: Rc::new(RefCell::new(models)) }.into())
        })
    }

    /// Names what the choice of kernel variants for this manifest and these options depends on beside the adapter.
    pub fn variants_key(manifest: &str, options: &str) -> std::result::Result<String, JsValue> {
        let key = || engine::Engine::variants_key(&Manifest::from_json(manifest)?, &load_options(options)?);
        key().map_err(to_js)
    }

    /// Refuses a picture that `generate` would refuse, before there is a model to ask. `image` is as there.
    pub fn check_picture(image: &JsValue) -> std::result::Result<(), JsValue> {
        let check = || picture(image)?.map_or(Ok(()), |source| source.picture().map(drop));
        check().map_err(to_js)
    }

    /// Answers `input` (JSON) about `image`: encoded bytes, `{ width, height, data }` in RGBA, or `undefined`.
    /// `on_piece(text, tokens)` is called after every read-back, and every few layers before the first; returning
    /// `false` stops. Resolves to JSON.
    // One request at a time is the contract of this class, enforced by `try_borrow_mut`.
    #[allow(clippy::await_holding_refcell_ref)]
    pub fn generate(&self, image: JsValue, input: String, on_piece: Function) -> Promise {
        let models = self.models.clone();
        let generate = async move {
            let mut models = models
                .try_borrow_mut()
                .map_err(|_| Error::input("generate", "a request is already running; wait for it to settle"))?;
            let input: engine::Input =
                serde_json::from_str(&input).map_err(|error| Error::input("input", error.to_string()))?;
            let picture = picture(&image)?;
            let mut on_piece = |text: &str, tokens: usize| {
                let answer = on_piece.call2(&JsValue::NULL, &text.into(), &(tokens as u32).into());
                !matches!(answer.map(|go_on| go_on.as_bool()), Ok(Some(false)) | Err(_))
            };
            models.generate(picture.as_ref(), &input, &mut on_piece).await
        };
        promise(async {
            let output = generate.await.map_err(to_js)?;
            let json = serde_json::to_string(&output).map_err(|error| JsError::new(&error.to_string()))?;
            Ok(json.into())
        })
    }

    /// Model, adapter and limits as JSON.
    pub fn info(&self) -> std::result::Result<String, JsValue> {
        match self.models.try_borrow() {
            Ok(models) => Ok(models.info().to_string()),
            Err(_) => Err(to_js(Error::input("info", "a request is running; wait for it to settle"))),
        }
    }
}

fn load_options(json: &str) -> Result<LoadOptions> {
    serde_json::from_str(json).map_err(|error| Error::input("options", error.to_string()))
}

/// Chunks from the page's store.
struct JsSource {
    manifest: Manifest,
    read_chunk: Function,
    on_all_read: Function,
}

impl ChunkSource for JsSource {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        let failed = |error: JsValue| Error::Io { what: format!("chunk {index}"), problem: message(&error) };
        let promise: Promise =
            self.read_chunk.call1(&JsValue::NULL, &(index as u32).into()).map_err(failed)?.unchecked_into();
        let bytes: Uint8Array = JsFuture::from(promise).await.map_err(failed)?.unchecked_into();
        Ok(bytes.to_vec())
    }

    fn all_read(&self) {
        // Only a report; what it throws is the page's own affair.
        let _ = self.on_all_read.call0(&JsValue::NULL);
    }
}

fn picture(image: &JsValue) -> Result<Option<Source>> {
    if image.is_undefined() || image.is_null() {
        return Ok(None);
    }
    if let Some(bytes) = image.dyn_ref::<Uint8Array>() {
        return Ok(Some(Source::Encoded(bytes.to_vec())));
    }
    let field = |name: &str| js_sys::Reflect::get(image, &name.into()).unwrap_or(JsValue::UNDEFINED);
    let size = |name: &str| field(name).as_f64().map(|value| value as usize);
    match (size("width"), size("height")) {
        (Some(width), Some(height)) => {
            let picture = Picture::from_rgba(width, height, &Uint8Array::new(&field("data")).to_vec())?;
            Ok(Some(picture.into()))
        }
        _ => Err(Error::Image("expected encoded bytes or { width, height, data }".into())),
    }
}

/// A JS `Error` with the stable `code` of ours.
fn to_js(error: Error) -> JsValue {
    let js: JsValue = js_sys::Error::new(&error.to_string()).into();
    // Setting a property on a fresh object cannot fail.
    let _ = js_sys::Reflect::set(&js, &"code".into(), &error.code().into());
    js
}

fn message(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => format!("{error:?}"),
    }
}
