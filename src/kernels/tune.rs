//! Which variant of each operation runs on a device.

use super::*;
use crate::device::{each_kind, kind};

/// Chooses a variant for each hot operation and sets it for this process. `stored` are choices made on the same adapter
/// and for the same `shapes` and `precision` before, by operation: they are compared, but nothing is timed. On a CPU there is one way to do
/// each.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device is lost, or if no variant of an operation computes correctly on it.
pub async fn tune(
    opened: &Opened,
    shapes: &ModelShapes,
    precision: Precision,
    work: &TuneWork<'_>,
    stored: &BTreeMap<String, String>,
) -> Result<Variants> {
    each_kind!(Kind, kind(&opened.device), |B, _| B::tune(opened, shapes, precision, work, stored).await)
}

/// Sets for this process what [`tune`] chose for a model, where another one was tuned for meanwhile.
pub fn select(device: &Device, variants: &Variants) {
    each_kind!(Kind, kind(device), |B, _| B::select(variants))
}
