//! What a model is said to take on the device, beside what CubeCL's allocator holds for it.

use std::fs;

use burn::backend::DispatchDevice;
use cubecl::{MemoryPoolKind, MemoryScope};
use futures_lite::future::block_on;
use llava_web::bundle::FolderSource;
use llava_web::device::{self, Opened};
use llava_web::engine::{Engine, Input, LoadOptions};
use llava_web::image::Source;
use llava_web::kernels::KvFormat;

/// Bytes of what lives on, and of everything that is held.
fn held(gpu: &Opened) -> (u64, u64) {
    let DispatchDevice::Cube(device) = gpu.device.as_dispatch() else { panic!("a GPU") };
    let (mut lasting, mut all) = (0, 0);
    for stream in device.client().memory_report(MemoryScope::Device).streams {
        lasting += stream.pools.persistent.usage.bytes_in_use;
        all += stream.pools.persistent.usage.bytes_reserved + stream.pools.dedicated.usage.bytes_reserved;
        all += stream.auxiliary.iter().map(|memory| memory.pools.usage().bytes_reserved).sum::<u64>();
        for pool in stream.pools.dynamic {
            // What is small lies in pages of 8 MiB, however little it is: more than this whole model.
            let small = matches!(pool.kind, MemoryPoolKind::Sliced { .. });
            lasting += if small { pool.usage.bytes_in_use } else { 0 };
            all += if small { pool.usage.bytes_in_use } else { pool.usage.bytes_reserved };
        }
    }
    (lasting, all)
}

#[test]
fn a_model_takes_what_it_is_said_to_take() {
    let gpu = block_on(device::open()).unwrap();
    for kv_cache in KvFormat::ALL {
        let source = FolderSource::open("models/llava-sketches").unwrap();
        let options = LoadOptions { kv_cache: Some(kv_cache), ..LoadOptions::default() };
        let tokenizer = source.tokenizer().unwrap();
        let mut engine = block_on(Engine::load(gpu.clone(), &source, &tokenizer, options)).unwrap();
        // Of what the variants were tried on.
        gpu.device.memory_cleanup();
        let memory = engine.info()["memory"].clone();
        let [weights, context, work] = ["weights", "context", "work"].map(|part| memory[part].as_u64().unwrap());
        let (lasting, _) = held(&gpu);
        let picture = Source::Encoded(fs::read("tests/golden/pictures/tall.png").unwrap());
        // As much of a prompt as the context takes.
        let prompt = Some("a red circle and ".repeat(190));
        for picture in [Some(&picture), None] {
            let input = Input { prompt: prompt.clone(), max_tokens: Some(4), ..Input::default() };
            let output = block_on(engine.generate(picture, &input, &mut |_, _| true)).unwrap();
            assert!(output.prompt_tokens > 700, "{} of the context", output.prompt_tokens);
        }
        let (_, all) = held(&gpu);
        println!("{kv_cache:?}: weights {weights}, context {context}, lasting {lasting}; with work {work}: {all}");
        let ratio = lasting as f64 / (weights + context) as f64;
        assert!((0.99..1.03).contains(&ratio), "{lasting} bytes live on, {} are told: {ratio:.3}", weights + context);
        let told = weights + context + work;
        let ratio = all as f64 / told as f64;
        assert!((0.85..1.15).contains(&ratio), "{all} bytes are held, {told} are told: {ratio:.3}");
        drop(engine);
        gpu.device.memory_cleanup();
    }
}
