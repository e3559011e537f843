//! The CLIP vision tower: patches of a picture to hidden states. Field names are the checkpoint's.

use burn::tensor::{Tensor, TensorData};

use super::linear::Linear;
use super::loader::Loader;
use crate::bundle::source::WeightSource;
use crate::error::Result;
use crate::kernels::{self, Activation, Heads};
use crate::model::config::{ClipConfig, SelectStrategy, VisionConfig};

/// CLIP's vision transformer up to the deepest layer LLaVA reads from.
pub struct VisionTower {
    patch_embedding: Linear,
    /// Class embedding with its position added, `[1, hidden]`.
    class_row: Tensor<2>,
    /// Positions of the patches, `[patches, hidden]`.
    patch_positions: Tensor<2>,
    pre_layrnorm: LayerNorm,
    layers: Vec<Layer>,
    /// Indices of the hidden states to return: 0 is the embedding, `i` the output of layer `i`.
    feature_layers: Vec<usize>,
    select: SelectStrategy,
}

impl VisionTower {
    /// Loads the tower; layers above the deepest that is read from are neither loaded nor run.
    pub async fn load<S: WeightSource>(loader: &mut Loader<'_, S>, vision: &VisionConfig) -> Result<Self> {
        let config = &vision.tower;
        let prefix = "vision_tower.vision_model";
        let hidden = config.hidden_size;
        let patches = config.positions() - 1;
        let class = loader.values(&format!("{prefix}.embeddings.class_embedding"), &[hidden]).await?;
        let patch_embedding =
            Linear::load(loader, &format!("{prefix}.embeddings.patch_embedding"), hidden, config.patch_values(), false)
                .await?;
        let positions = format!("{prefix}.embeddings.position_embedding.weight");
        let mut positions = loader.values(&positions, &[patches + 1, hidden]).await?;
        let patch_positions = positions.split_off(hidden);
        let class_row: Vec<f32> = class.iter().zip(&positions).map(|(c, p)| c + p).collect();
        let pre_layrnorm =
            LayerNorm::load(loader, &format!("{prefix}.pre_layrnorm"), hidden, config.layer_norm_eps).await?;
        let mut layers = Vec::new();
        for index in 0..vision.layers_needed() {
            layers.push(Layer::load(loader, &format!("{prefix}.encoder.layers.{index}"), config).await?);
        }
        let device = loader.device();
        Ok(Self {
            patch_embedding,
            class_row: Tensor::from_data(TensorData::new(class_row, [1, hidden]), device),
            patch_positions: Tensor::from_data(TensorData::new(patch_positions, [patches, hidden]), device),
            pre_layrnorm,
            layers,
            feature_layers: vision.feature_layers.clone(),
            select: vision.select_strategy,
        })
    }

    /// `patches` `[patches, channels*patch*patch]` -> selected hidden states `[tokens, hidden * feature layers]`,
    /// where `tokens` is `patches` (`default`) or `patches + 1` (`full`, class token first). Awaits `after_layer` after
    /// each layer, and ends with its error.
    pub async fn forward<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        let embedded = self.patch_embedding.forward(patches, Activation::None, Some(self.patch_positions.clone()));
        let mut x = self.pre_layrnorm.forward(Tensor::cat(vec![self.class_row.clone(), embedded], 0));
        let mut features = vec![None; self.feature_layers.len()];
        for depth in 0..=self.layers.len() {
            if depth > 0 {
                x = self.layers[depth - 1].forward(x);
                after_layer().await?;
            }
            for (slot, _) in features.iter_mut().zip(&self.feature_layers).filter(|(_, layer)| **layer == depth) {
                *slot = Some(x.clone());
            }
        }
        let mut features: Vec<Tensor<2>> = features.into_iter().flatten().collect();
        let joined = match features.len() {
            1 => features.remove(0),
            _ => Tensor::cat(features, 1),
        };
        Ok(match self.select {
            SelectStrategy::Full => joined,
            SelectStrategy::Default => {
                let [tokens, width] = joined.dims();
                joined.slice([1..tokens, 0..width])
            }
        })
    }
}

/// Pre-norm transformer layer with full (unmasked) attention.
struct Layer {
    layer_norm1: LayerNorm,
    qkv_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: Heads,
    activation: Activation,
}

impl Layer {
    async fn load<S: WeightSource>(loader: &mut Loader<'_, S>, name: &str, config: &ClipConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        let layer_norm1 =
            LayerNorm::load(loader, &format!("{name}.layer_norm1"), hidden, config.layer_norm_eps).await?;
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|p| (format!("{name}.self_attn.{p}"), hidden));
        Ok(Self {
            layer_norm1,
            qkv_proj: Linear::load_stacked(loader, &qkv, hidden, true, 1).await?,
            out_proj: Linear::load(loader, &format!("{name}.self_attn.out_proj"), hidden, hidden, true).await?,
            layer_norm2: LayerNorm::load(loader, &format!("{name}.layer_norm2"), hidden, config.layer_norm_eps).await?,
            fc1: Linear::load(loader, &format!("{name}.mlp.fc1"), config.intermediate_size, hidden, true).await?,
            fc2: Linear::load(loader, &format!("{name}.mlp.fc2"), hidden, config.intermediate_size, true).await?,
            heads: config.heads(),
            activation: config.hidden_act,
        })
    }

    /// `[tokens, hidden]` -> `[tokens, hidden]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let qkv = self.qkv_proj.forward(self.layer_norm1.forward(x.clone()), Activation::None, None);
        let attended = kernels::attention_full(qkv, self.heads);
        let x = self.out_proj.forward(attended, Activation::None, Some(x));
        let mlp = self.fc1.forward(self.layer_norm2.forward(x.clone()), self.activation, None);
        self.fc2.forward(mlp, Activation::None, Some(x))
    }
}

struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f32,
}

impl LayerNorm {
    async fn load<S: WeightSource>(loader: &mut Loader<'_, S>, name: &str, len: usize, eps: f32) -> Result<Self> {
        Ok(Self {
            weight: loader.vector(&[(format!("{name}.weight"), len)]).await?,
            bias: loader.vector(&[(format!("{name}.bias"), len)]).await?,
            eps,
        })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
