//! Which variant of each hot operation runs on this adapter. Every candidate made for this kind of adapter is compared with
//! the naive version in one form, and the correct ones are timed on the model's own weights and caches. The fastest is then
//! compared in every form in which the model runs it, and if one is wrong, the next. What has no variants is compared too.

use std::cell::Cell;
use std::collections::BTreeMap;

use web_time::Instant;

use super::check::{self, Inputs};
use super::*;
use crate::device;
use crate::error::{Error, Result};

/// The operations that have variants; few rows after many, whose bits they must have, and a norm after one row, which it may be
/// folded into.
const LINEAR: [(&str, LinearUse); 3] =
    [("linear_vec", LinearUse::Vec), ("linear_mat", LinearUse::Mat), ("linear_few", LinearUse::Few)];
const NORM: &str = "linear_norm";
const ATTENTION: [(&str, AttentionUse); 2] =
    [("attention_decode", AttentionUse::Decode), ("attention_flash", AttentionUse::Flash)];

/// How much of what a variant computes is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The form that is timed: each further one is a pipeline to compile, for nothing if another variant is faster.
    Timed,
    /// Every form in which the model runs it.
    All,
}

/// One way to run an operation.
struct Candidate {
    name: &'static str,
    /// Made for this kind of adapter; the others are only tried when all of these are wrong.
    preferred: bool,
    select: Box<dyn Fn()>,
}

/// Chooses a variant for each hot operation and sets it for this process. `stored` are choices made on the same adapter
/// and for the same `shapes` and `precision` before, by operation: they are compared, but nothing is timed.
///
/// # Errors
/// [`Error::Gpu`] if the device is lost, or if no variant of an operation computes correctly on it.
pub async fn tune(
    gpu: &device::Opened,
    shapes: &ModelShapes,
    precision: Precision,
    work: &TuneWork<'_>,
    stored: &BTreeMap<String, String>,
) -> Result<Variants> {
    let adapter = &gpu.adapter;
    let device = &gpu.device;
    // A driver that got everything right once is only asked for what it may choose from.
    let inputs: &[Inputs] = if stored.is_empty() { &[Inputs::Plain, Inputs::Outliers] } else { &[Inputs::Plain] };
    let stored = |operation: &str| stored.get(operation).map(String::as_str);
    let mut chosen = Variants::new();
    for ((operation, use_), n) in LINEAR.into_iter().zip([1, 64, 20]) {
        let fits = |variant: &LinearVariant| {
            variant.available(&adapter.features)
                && variant.takes(use_)
                && shapes.decoder.iter().any(|format| variant.fits(*format))
                && variant.precision() <= precision
                && (use_ != LinearUse::Few || variant.goes_with(linear_variant(LinearUse::Mat)))
        };
        let candidate = |variant: LinearVariant| Candidate {
            name: variant.name(),
            preferred: variant.for_cpu() == adapter.software,
            select: Box::new(move || set_linear_variant(use_, Some(variant))),
        };
        let candidates: Vec<Candidate> = LinearVariant::ALL.into_iter().filter(fits).map(candidate).collect();
        let check = async |extent| match extent {
            Extent::Timed => check::Linear::new(use_, shapes.decoder[0], Inputs::Plain, device).sum().await,
            Extent::All => linear_is_correct(use_, shapes, inputs, device).await,
        };
        let x = Tensor::zeros([n, shapes.intermediate], device);
        let launch = |turn: usize| {
            let weight = work.weights[turn % work.weights.len()];
            drop(linear(x.clone(), weight, None, None, Activation::None));
        };
        chosen.insert(operation, choose(operation, candidates, stored(operation), check, &launch, gpu).await?);
    }
    {
        let foldable = linear_variant(LinearUse::Vec).is_lanes() && matches!(shapes.norms[0], NormShape::RmsNorm(_));
        let fits = |variant: &NormVariant| {
            variant.available(&adapter.features) && (foldable || *variant == NormVariant::Alone)
        };
        let candidate = |variant: NormVariant| Candidate {
            name: variant.name(),
            preferred: true,
            select: Box::new(move || set_norm_variant(Some(variant))),
        };
        let candidates = NormVariant::ALL.into_iter().filter(fits).map(candidate).collect();
        let check = async |extent| match extent {
            Extent::Timed => {
                check::Linear::normed(LinearUse::Vec, shapes.decoder[0], Inputs::Plain, device).gated().await
            }
            // The norm and the linear layer are compared each by itself.
            Extent::All if norm_variant() == NormVariant::Alone => Ok(true),
            Extent::All => norm_is_correct(shapes, inputs, device).await,
        };
        let hidden = work.gated[0].cols;
        let (x, weight) = (Tensor::zeros([1, hidden], device), Tensor::ones([hidden], device));
        let launch = |turn: usize| {
            let norm = RmsNorm { weight: &weight, eps: 1e-5 };
            let gated = work.gated[turn % work.gated.len()];
            drop(linear_gated(x.clone(), Some(norm), gated, None, Activation::Silu));
        };
        chosen.insert(NORM, choose(NORM, candidates, stored(NORM), check, &launch, gpu).await?);
    }
    for ((operation, use_), n) in ATTENTION.into_iter().zip([1, 37]) {
        let candidate = |variant: AttentionVariant| Candidate {
            name: variant.name(),
            preferred: variant.for_cpu() == adapter.software,
            select: Box::new(move || set_attention_variant(use_, Some(variant))),
        };
        let available = |variant: &AttentionVariant| variant.available(use_, &adapter.features);
        let candidates = AttentionVariant::ALL.into_iter().filter(available).map(candidate).collect();
        let check = async |extent| match extent {
            Extent::Timed => check::attention_over_cache(n, shapes.heads, shapes.kv_cache, Inputs::Plain, device).await,
            Extent::All => attention_is_correct(use_, n, shapes, inputs, device).await,
        };
        let q = Tensor::zeros([n, shapes.heads.heads * shapes.heads.head_dim], device);
        let state = Buffer::zeros(4, device);
        state.write(&[TIMED_CONTEXT - n as u32, 0, 0, 0]);
        let launch = |turn: usize| {
            let cache = work.caches[turn % work.caches.len()];
            drop(attention(q.clone(), cache, &state, shapes.heads));
        };
        chosen.insert(operation, choose(operation, candidates, stored(operation), check, &launch, gpu).await?);
    }
    if inputs.contains(&Inputs::Outliers) {
        for operation in check::WITHOUT_VARIANTS {
            let way = match device::validated(&gpu.device, check::without_variants(operation, shapes, device)).await {
                Ok(true) => continue,
                Ok(false) => "the only way there is".to_string(),
                Err(error) => format!("the only way there is ({})", error.to_string().trim_end()),
            };
            return Err(computed_wrongly(operation, &way, adapter));
        }
    }
    Ok(chosen)
}

/// Sets what was chosen.
pub fn select(variants: &Variants) {
    let name = |operation: &str| variants.get(operation).map(|chosen| chosen.variant);
    for (operation, use_) in LINEAR {
        set_linear_variant(
            use_,
            LinearVariant::ALL.into_iter().find(|variant| Some(variant.name()) == name(operation)),
        );
    }
    set_norm_variant(NormVariant::ALL.into_iter().find(|variant| Some(variant.name()) == name(NORM)));
    for (operation, use_) in ATTENTION {
        let variant = AttentionVariant::ALL.into_iter().find(|variant| Some(variant.name()) == name(operation));
        set_attention_variant(use_, variant);
    }
}

/// Compares the selected variant with everything that is made of its sums, on the formats of the model.
async fn linear_is_correct(use_: LinearUse, shapes: &ModelShapes, inputs: &[Inputs], device: &Device) -> Result<bool> {
    for &inputs in inputs {
        for &format in &shapes.decoder {
            let check = check::Linear::new(use_, format, inputs, device);
            // An f16 cache cannot hold outliers.
            let rope_cache = inputs == Inputs::Outliers || check.rope_cache(shapes.kv_cache).await?;
            let as_many = use_ != LinearUse::Few || check::few_as_many(format, device).await?;
            if !(check.sum().await? && check.gated().await? && rope_cache && as_many) {
                return Ok(false);
            }
        }
        // The head takes one row, the vision side many.
        let others = match (use_, &shapes.vision) {
            (LinearUse::Vec, _) => &shapes.head,
            (LinearUse::Mat, Some(vision)) => &vision.formats,
            (LinearUse::Mat, None) | (LinearUse::Few, _) => continue,
        };
        for &format in others.iter().filter(|format| !shapes.decoder.contains(format)) {
            if !check::Linear::new(use_, format, inputs, device).sum().await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Compares the selected variant with everything that a norm may be ahead of.
async fn norm_is_correct(shapes: &ModelShapes, inputs: &[Inputs], device: &Device) -> Result<bool> {
    for &inputs in inputs {
        for &format in &shapes.decoder {
            let check = check::Linear::normed(LinearUse::Vec, format, inputs, device);
            // An f16 cache cannot hold outliers.
            let rope_cache = inputs == Inputs::Outliers || check.rope_cache(shapes.kv_cache).await?;
            if !(check.gated().await? && rope_cache) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Compares the selected variant on heads like the model's; where many queries share keys, on few heads.
async fn attention_is_correct(
    use_: AttentionUse,
    n: usize,
    shapes: &ModelShapes,
    inputs: &[Inputs],
    device: &Device,
) -> Result<bool> {
    let few = |Heads { heads, kv_heads, head_dim }: Heads| {
        let kept = kv_heads.min(2);
        Heads { heads: heads / kv_heads * kept, kv_heads: kept, head_dim }
    };
    let heads = if use_ == AttentionUse::Decode { shapes.heads } else { few(shapes.heads) };
    for &inputs in inputs {
        let correct = check::attention_over_cache(n, heads, shapes.kv_cache, inputs, device).await?;
        let full = match (use_, &shapes.vision) {
            (AttentionUse::Flash, Some(VisionShapes { heads: Some(heads), .. })) => {
                check::attention_over_all(few(*heads), inputs, device).await?
            }
            _ => true,
        };
        if !(correct && full) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Selects the stored candidate if it is still correct, else the fastest of the correct ones.
async fn choose(
    operation: &str,
    candidates: Vec<Candidate>,
    stored: Option<&str>,
    check: impl AsyncFn(Extent) -> Result<bool>,
    launch: &dyn Fn(usize),
    gpu: &device::Opened,
) -> Result<Chosen> {
    let mut wrong = Vec::new();
    let mut microseconds = BTreeMap::new();
    // A variant that does not even compile fails the comparison; a lost device fails that of all of them.
    let mut correct = async |candidate: &Candidate, extent| {
        (candidate.select)();
        let correct = device::validated(&gpu.device, check(extent)).await.unwrap_or(false);
        if !correct {
            wrong.push(candidate.name);
        }
        correct
    };
    if let Some(candidate) = candidates.iter().find(|candidate| Some(candidate.name) == stored)
        && correct(candidate, Extent::All).await
    {
        return Ok(Chosen { variant: candidate.name, microseconds, wrong });
    }
    for preferred in [true, false] {
        let others = candidates.iter().filter(|candidate| Some(candidate.name) != stored);
        let mut passed: Vec<&Candidate> = others.filter(|candidate| candidate.preferred == preferred).collect();
        if passed.len() > 1 {
            let all = std::mem::take(&mut passed);
            for candidate in all {
                if correct(candidate, Extent::Timed).await {
                    microseconds.insert(candidate.name, time(launch, gpu).await?);
                    passed.push(candidate);
                }
            }
            passed.sort_by(|a, b| microseconds[a.name].total_cmp(&microseconds[b.name]));
        }
        for candidate in passed {
            if correct(candidate, Extent::All).await {
                return Ok(Chosen { variant: candidate.name, microseconds, wrong });
            }
        }
    }
    Err(computed_wrongly(operation, &format!("whichever way it is tried ({})", wrong.join(", ")), &gpu.adapter))
}

fn computed_wrongly(operation: &str, way: &str, adapter: &device::Adapter) -> Error {
    let name = &adapter.name;
    Error::Gpu(format!(
        "`{operation}` is refused or computed wrongly by \"{name}\", {way}: update the browser or the graphics driver"
    ))
}

/// Milliseconds that a run takes at least, so that the wait for its end and the clock's grain weigh little.
const RUN_MS: f64 = 15.0;
/// Of as many runs the fastest counts.
const RUNS: usize = 3;
/// Most launches of a recording, which is replayed, as in decoding: the host must not be what is measured.
const RECORDED: usize = 64;
/// Positions in the cache when attention is timed; a smaller cache is read to its end.
const TIMED_CONTEXT: u32 = 256;

/// Microseconds of one launch. `launch` is given a running number, to take turns by.
async fn time(launch: &dyn Fn(usize), gpu: &device::Opened) -> Result<f64> {
    let turn = Cell::new(0);
    let next = || launch(turn.replace(turn.get() + 1));
    let one = || {
        next();
        Ok(())
    };
    // The pipeline for these shapes may not be there yet.
    milliseconds(gpu, &one).await?;
    let once = milliseconds(gpu, &one).await?.min(milliseconds(gpu, &one).await?);
    if once >= RUN_MS {
        return fastest(gpu, 1, &one).await;
    }
    // On a fast GPU `once` is the wait, and more of them fit.
    let count = ((4.0 * RUN_MS / once) as usize).min(RECORDED);
    let run = || (0..count).for_each(|_| next());
    let recorded = device::record(&gpu.device, run).await?;
    fastest(gpu, count, &|| recorded.replay(run)).await
}

/// Microseconds of each of the `launches` that `enqueue` enqueues.
async fn fastest(gpu: &device::Opened, launches: usize, enqueue: &dyn Fn() -> Result<()>) -> Result<f64> {
    let (mut repeats, mut fastest) = (1, f64::INFINITY);
    let mut runs = 0;
    while runs < RUNS {
        let ms = milliseconds(gpu, &|| (0..repeats).try_for_each(|_| enqueue())).await?;
        if ms < RUN_MS {
            repeats = (repeats as f64 * (1.2 * RUN_MS / ms).min(16.0)).ceil() as usize;
            continue;
        }
        fastest = fastest.min(ms * 1e3 / (repeats * launches) as f64);
        runs += 1;
    }
    Ok(fastest)
}

/// How long the GPU takes for what `run` enqueues, the wait included.
async fn milliseconds(gpu: &device::Opened, run: &dyn Fn() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    device::sync(&gpu.device).await?;
    Ok((start.elapsed().as_secs_f64() * 1e3).max(1e-3))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_lite::future::block_on;

    use super::*;
    use crate::kernels::alone::alone;

    /// Launches of which those of the later candidates do more: by some microseconds of a GPU, less than a wait.
    fn work(gpu: &device::Opened, selected: &Rc<Cell<usize>>) -> impl Fn(usize) {
        let (state, selected) = (Buffer::zeros(4, &gpu.device), selected.clone());
        move |_| (0..8usize.pow(selected.get() as u32)).for_each(|_| advance(&state, 1))
    }

    /// What [`choose`] makes of candidates `(name, preferred, correct)`. What is called subtly wrong is so beyond the first look.
    fn chosen(candidates: &[(&'static str, bool, bool)], stored: Option<&str>) -> Result<Chosen> {
        let _alone = alone();
        let gpu = block_on(device::open()).unwrap();
        let selected = Rc::new(Cell::new(usize::MAX));
        let candidate = |(i, (name, preferred, _)): (usize, &(&'static str, bool, bool))| {
            let selected = selected.clone();
            Candidate { name, preferred: *preferred, select: Box::new(move || selected.set(i)) }
        };
        let list = candidates.iter().enumerate().map(candidate).collect();
        let check = async |extent| match candidates[selected.get()] {
            ("does not compile", ..) => Err(Error::Gpu("a launch error".into())),
            ("subtly wrong", ..) => Ok(extent == Extent::Timed),
            (.., correct) => Ok(correct),
        };
        let chosen = block_on(choose("operation", list, stored, check, &work(&gpu, &selected), &gpu))?;
        assert_eq!(candidates[selected.get()].0, chosen.variant, "the one reported is the one selected");
        Ok(chosen)
    }

    #[test]
    fn the_fastest_correct_variant_for_the_adapter_is_chosen() {
        let found = chosen(&[("other kind", false, true), ("fast", true, true), ("slow", true, true)], None).unwrap();
        assert_eq!(found.variant, "fast");
        assert_eq!(found.microseconds.keys().copied().collect::<Vec<_>>(), ["fast", "slow"]);
    }

    #[test]
    fn a_timing_takes_turns_and_finds_the_time_of_one_launch() {
        let _alone = alone();
        let gpu = block_on(device::open()).unwrap();
        let state = Buffer::zeros(4, &gpu.device);
        let timed = |count: usize| {
            let expected = Cell::new(0);
            let launch = |turn: usize| {
                assert_eq!(turn, expected.replace(turn + 1));
                (0..count).for_each(|_| advance(&state, 1));
            };
            block_on(time(&launch, &gpu)).unwrap()
        };
        let (one, eight) = (timed(1), timed(8));
        assert!(eight > 3.0 * one, "{one} us for one, {eight} us for eight");
    }

    #[test]
    fn a_wrong_variant_is_never_chosen() {
        let candidates = [("wrong", true, false), ("does not compile", true, true), ("right", true, true)];
        let found = chosen(&candidates, Some("wrong")).unwrap();
        assert_eq!((found.variant, found.wrong), ("right", vec!["wrong", "does not compile"]));
        let candidates = [("subtly wrong", true, true), ("right", true, true)];
        let found = chosen(&candidates, None).unwrap();
        assert_eq!((found.variant, found.wrong), ("right", vec!["subtly wrong"]));
        assert_eq!(found.microseconds.len(), 2);
        // Better one made for other machines than a wrong one.
        assert_eq!(chosen(&[("wrong", true, false), ("other kind", false, true)], None).unwrap().variant, "other kind");
        let error = chosen(&[("wrong", true, false)], None).unwrap_err().to_string();
        assert!(error.contains("operation") && error.contains("wrong"), "{error}");
    }

    #[test]
    fn a_stored_choice_is_compared_but_not_timed() {
        let candidates = [("fast", true, true), ("slow", true, true)];
        let found = chosen(&candidates, Some("slow")).unwrap();
        assert_eq!((found.variant, found.microseconds.len()), ("slow", 0));
        assert_eq!(chosen(&candidates, Some("no longer there")).unwrap().variant, "fast");
    }
}
