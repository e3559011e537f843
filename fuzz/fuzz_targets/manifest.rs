//! manifest.json: the one file of a bundle that is trusted before its hash can be checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::bundle::Manifest;
use llava_web::image::PreprocessorConfig;
use llava_web::model::config::LlavaConfig;
use llava_web::model::plan;

fuzz_target!(|json: &[u8]| {
    let Ok(manifest) = Manifest::from_json(json) else { return };
    let Ok(config) = LlavaConfig::from_json(&manifest.config, &manifest.generation) else { return };
    plan(&config);
    config.text.inv_freq();
    if let Some(vision) = &config.vision {
        let _ = PreprocessorConfig::from_json(&manifest.preprocessor, vision);
    }
});
