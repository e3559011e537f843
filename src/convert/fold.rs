//! Convolutions as they are run: what a checkpoint has beside their weight is folded into weight and bias.

use std::collections::HashMap;

use super::checkpoint::Checkpoint;
use crate::Result;
use crate::model::parameters::{BatchNorm, Fold, Needed};
use crate::quant::Format;

/// A checkpoint, whose tensors have those parts folded in of which the model keeps nothing.
pub struct Folded<'a, C> {
    checkpoint: &'a C,
    /// Tensors of which there is something to fold, by name.
    folds: HashMap<&'a str, (&'a Needed, &'a Fold)>,
}

impl<'a, C: Checkpoint> Folded<'a, C> {
    /// The `checkpoint` of a model with the tensors `plan`.
    pub fn new(checkpoint: &'a C, plan: &'a [Needed]) -> Self {
        let folds = plan.iter().filter_map(|needed| Some((needed.name.as_str(), (needed, needed.fold.as_ref()?))));
        Self { checkpoint, folds: folds.collect() }
    }

    /// All numbers of a vector.
    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.checkpoint.values(name, 0, len)
    }

    /// By what norm and scale multiply each row of a convolution.
    fn factors(&self, fold: &Fold, rows: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut norm = vec![1.0; rows];
        if let Some(BatchNorm { name, eps }) = &fold.norm {
            let variance = self.vector(&format!("{name}.running_var"), rows)?;
            norm = self.vector(&format!("{name}.weight"), rows)?;
            norm.iter_mut().zip(&variance).for_each(|(weight, variance)| *weight /= (variance + eps).sqrt());
        }
        let scale = match &fold.scale {
            Some(scale) => self.vector(scale, rows)?,
            None => vec![1.0; rows],
        };
        Ok((norm, scale))
    }

    fn bias(&self, needed: &Needed, fold: &Fold) -> Result<Vec<f32>> {
        let rows = needed.shape[0];
        let mut bias = if fold.bias { self.vector(&needed.name, rows)? } else { vec![0.0; rows] };
        let (norm, scale) = self.factors(fold, rows)?;
        let (mut mean, mut shift) = (vec![0.0; rows], vec![0.0; rows]);
        if let Some(BatchNorm { name, .. }) = &fold.norm {
            mean = self.vector(&format!("{name}.running_mean"), rows)?;
            shift = self.vector(&format!("{name}.bias"), rows)?;
        }
        for row in 0..rows {
            bias[row] = ((bias[row] - mean[row]) * norm[row] + shift[row]) * scale[row];
        }
        Ok(bias)
    }
}

impl<C: Checkpoint> Checkpoint for Folded<'_, C> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.shape(name)
    }

    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>> {
        let Some((needed, fold)) = self.folds.get(name) else { return self.checkpoint.values(name, start, end) };
        if !needed.is_matrix() {
            return Ok(self.bias(needed, fold)?[start..end].to_vec());
        }
        let cols: usize = needed.shape[1..].iter().product();
        let (norm, scale) = self.factors(fold, needed.shape[0])?;
        let mut values = self.checkpoint.values(name, start, end)?;
        values.iter_mut().zip(start..).for_each(|(value, at)| *value *= norm[at / cols] * scale[at / cols]);
        Ok(values)
    }

    fn format(&self, needed: &Needed, asked: Option<Format>) -> Format {
        self.checkpoint.format(needed, asked)
    }

    fn blocks(
        &self,
        name: &str,
        format: Format,
        start: usize,
        end: usize,
        quants: &mut Vec<u8>,
        scales: &mut Vec<u8>,
    ) -> Result<bool> {
        Ok(!self.folds.contains_key(name) && self.checkpoint.blocks(name, format, start, end, quants, scales)?)
    }
}
