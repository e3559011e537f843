//! In how many ways a device does an operation: a GPU in some variants, a CPU in one.

use llava_web::quant::Format;

use crate::Bench;

/// One way, by the name it has in reports.
pub struct Way {
    pub name: &'static str,
    #[cfg(feature = "gpu")]
    variant: Option<Variant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    Decode,
    Flash,
}

/// The ways of a linear layer of `n` rows: `all`, or those that are made for this kind of adapter.
pub fn linear(bench: &Bench<'_>, n: usize, format: Format, all: bool) -> Vec<Way> {
    if bench.on_cpu() { one() } else { gpu::linear(bench, n, format, all) }
}

/// The ways of attention: `all`, or those that are made for this kind of adapter.
pub fn attention(bench: &Bench<'_>, of: Attention, all: bool) -> Vec<Way> {
    if bench.on_cpu() { one() } else { gpu::attention(bench, of, all) }
}

fn one() -> Vec<Way> {
    vec![Way {
        name: "",
        #[cfg(feature = "gpu")]
        variant: None,
    }]
}

#[cfg(feature = "gpu")]
use gpu::Variant;

#[cfg(feature = "gpu")]
pub use gpu::reset;

#[cfg(feature = "gpu")]
mod gpu {
    use llava_web::kernels::{self, AttentionUse, AttentionVariant, LinearUse, LinearVariant};

    use super::*;

    pub enum Variant {
        Linear(LinearUse, LinearVariant),
        Attention(AttentionUse, AttentionVariant),
    }

    impl Way {
        /// Has the operation go this way until [`reset`].
        pub fn take(&self) {
            match self.variant {
                Some(Variant::Linear(of, variant)) => kernels::set_linear_variant(of, Some(variant)),
                Some(Variant::Attention(of, variant)) => kernels::set_attention_variant(of, Some(variant)),
                None => {}
            }
        }
    }

    /// Has all operations go the way that the adapter has them go.
    pub fn reset() {
        for of in LinearUse::ALL {
            kernels::set_linear_variant(of, None);
        }
        kernels::set_norm_variant(None);
        kernels::set_attention_variant(AttentionUse::Decode, None);
        kernels::set_attention_variant(AttentionUse::Flash, None);
    }

    pub fn linear(bench: &Bench<'_>, n: usize, format: Format, all: bool) -> Vec<Way> {
        let adapter = &bench.opened.adapter;
        let of = LinearUse::of(n);
        let runs = |variant: &LinearVariant| {
            let own_kind = all || variant.for_cpu() == adapter.software;
            own_kind && variant.takes(of) && variant.fits(format) && variant.available(&adapter.features)
        };
        let way = |variant: LinearVariant| Way { name: variant.name(), variant: Some(Variant::Linear(of, variant)) };
        LinearVariant::ALL.into_iter().filter(runs).map(way).collect()
    }

    pub fn attention(bench: &Bench<'_>, of: Attention, all: bool) -> Vec<Way> {
        let adapter = &bench.opened.adapter;
        let of = match of {
            Attention::Decode => AttentionUse::Decode,
            Attention::Flash => AttentionUse::Flash,
        };
        let runs = |variant: &AttentionVariant| {
            let own_kind = all || variant.for_cpu() == adapter.software;
            own_kind && variant.available(of, &adapter.features)
        };
        let way =
            |variant: AttentionVariant| Way { name: variant.name(), variant: Some(Variant::Attention(of, variant)) };
        AttentionVariant::ALL.into_iter().filter(runs).map(way).collect()
    }
}

#[cfg(not(feature = "gpu"))]
impl Way {
    pub fn take(&self) {}
}

#[cfg(not(feature = "gpu"))]
pub fn reset() {}

#[cfg(not(feature = "gpu"))]
mod gpu {
    use super::*;

    pub fn linear(_bench: &Bench<'_>, _n: usize, _format: Format, _all: bool) -> Vec<Way> {
        one()
    }

    pub fn attention(_bench: &Bench<'_>, _of: Attention, _all: bool) -> Vec<Way> {
        one()
    }
}
