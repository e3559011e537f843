//! Futures as promises of JS.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

/// A promise of what `future` ends in, which is polled in microtasks of this thread.
///
/// Where memory is shared between threads, wasm-bindgen's own executor waits in ways that not every browser has.
pub fn promise(future: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    let mut future = Some(future);
    Promise::new(&mut |resolve, reject| {
        let future = future.take().expect("a promise runs its executor once");
        let settle = async move {
            let (settle, value) = match future.await {
                Ok(value) => (resolve, value),
                Err(error) => (reject, error),
            };
            // Of a promise these do not throw.
            let _ = settle.call1(&JsValue::UNDEFINED, &value);
        };
        let (runnable, task) = async_task::spawn_local(settle, |runnable: async_task::Runnable| {
            queue_microtask(&Closure::once_into_js(move || _ = runnable.run()));
        });
        task.detach();
        runnable.schedule();
    })
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = queueMicrotask)]
    fn queue_microtask(callback: &JsValue);
}
