//! A vision transformer: patches of a picture to hidden states. Field names are the checkpoint's.

use burn::tensor::Tensor;

use super::config::{SelectStrategy, VisionConfig};
use super::linear::{Linear, LinearParameters, Stack};
use super::loader::Loader;
use super::norm::{Norm, NormParameters};
use super::parameters::{Needed, Parameter, Parameters, Role};
use super::tower::{CHANNELS, TransformerSpec};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::device::tensors;
use crate::error::Result;
use crate::kernels::{self, Heads};

const PREFIX: &str = "vision_tower.vision_model";

/// What a [`Transformer`] is loaded by.
pub struct TransformerParameters<'a> {
    vision: &'a VisionConfig,
    tower: &'a TransformerSpec,
    class_embedding: Option<Parameter>,
    patch_embedding: LinearParameters,
    position_embedding: Parameter,
    pre_layrnorm: Option<NormParameters>,
    layers: Vec<LayerParameters>,
}

impl<'a> TransformerParameters<'a> {
    /// Declares the tower; layers above the deepest that is read from are neither loaded nor run.
    pub fn declare(parameters: &mut Parameters, vision: &'a VisionConfig, tower: &'a TransformerSpec) -> Self {
        let (hidden, patch) = (tower.hidden_size, tower.patch_size);
        let embedding = |name: &str| format!("{PREFIX}.embeddings.{name}");
        let vector = |parameters: &mut Parameters, name: &str, shape: &[usize]| {
            parameters.declare(Parameter::one(Needed::new(embedding(name), shape, Role::Vector)))
        };
        let class_embedding = tower.class_token.then(|| vector(parameters, "class_embedding", &[hidden]));
        let patches = Stack::one(embedding("patch_embedding"), hidden);
        let kernel = [CHANNELS, patch, patch];
        Self {
            vision,
            tower,
            class_embedding,
            patch_embedding: LinearParameters::declare(
                parameters,
                &patches,
                &kernel,
                tower.patch_bias,
                Role::PatchEmbedding,
            ),
            position_embedding: vector(parameters, "position_embedding.weight", &[tower.positions(), hidden]),
            pre_layrnorm: tower
                .pre_norm
                .then(|| NormParameters::declare(parameters, &format!("{PREFIX}.pre_layrnorm"), hidden, tower.norm)),
            layers: (0..vision.layers_needed())
                .map(|index| LayerParameters::declare(parameters, &layer_name(index), tower))
                .collect(),
        }
    }

    pub async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<Transformer> {
        let tower = self.tower;
        let class = match &self.class_embedding {
            Some(class) => loader.values(class).await?,
            None => Vec::new(),
        };
        let patch_embedding = self.patch_embedding.load(loader).await?;
        let mut positions = loader.values(&self.position_embedding).await?;
        let patch_positions = positions.split_off(class.len());
        let class_row: Vec<f32> = class.iter().zip(&positions).map(|(class, position)| class + position).collect();
        let pre_layrnorm = match &self.pre_layrnorm {
            Some(norm) => Some(norm.load(loader).await?),
            None => None,
        };
        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(layer.load(loader).await?);
        }
        let rows = |values: Vec<f32>| {
            let shape = [values.len() / tower.hidden_size, tower.hidden_size];
            tensors::floats(values, shape, loader.device())
        };
        Ok(Transformer {
            patch_embedding,
            class_row: tower.class_token.then(|| rows(class_row)),
            patch_positions: rows(patch_positions),
            pre_layrnorm,
            layers,
            feature_layers: self.vision.feature_layers.clone(),
            select: self.vision.select_strategy,
        })
    }
}

fn layer_name(index: usize) -> String {
    format!("{PREFIX}.encoder.layers.{index}")
}

/// Whether a tensor of a checkpoint, by its canonical name, lies above the layers that are read from.
pub fn is_above(vision: &VisionConfig, tower: &TransformerSpec, name: &str) -> bool {
    let layers = vision.layers_needed()..tower.num_hidden_layers;
    name.starts_with(&format!("{PREFIX}.post_layernorm."))
        || layers.into_iter().any(|index| name.starts_with(&format!("{}.", layer_name(index))))
}

/// A vision transformer up to the deepest layer that is read from.
pub struct Transformer {
    patch_embedding: Linear,
    /// Class embedding with its position added, `[1, hidden]`.
    class_row: Option<Tensor<2>>,
    /// Positions of the patches, `[patches, hidden]`.
    patch_positions: Tensor<2>,
    pre_layrnorm: Option<Norm>,
    layers: Vec<Layer>,
    /// Indices of the hidden states to return: 0 is the embedding, `i` the output of layer `i`.
    feature_layers: Vec<usize>,
    select: SelectStrategy,
}

impl Transformer {
    /// `patches` `[patches, channels*patch*patch]` -> selected hidden states `[tokens, hidden * feature layers]`,
    /// where `tokens` is one less than the tower's positions (`default`) or all of them (`full`, class token first). Awaits
    /// `after_layer` after each layer, and ends with its error.
    pub async fn forward<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        let mut x = self.patch_embedding.forward(patches, Activation::None, Some(self.patch_positions.clone()));
        if let Some(class_row) = &self.class_row {
            x = tensors::cat(vec![class_row.clone(), x], 0);
        }
        if let Some(norm) = &self.pre_layrnorm {
            x = norm.forward(x);
        }
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
        let joined = tensors::cat(features.into_iter().flatten().collect(), 1);
        Ok(match self.select {
            SelectStrategy::Full => joined,
            SelectStrategy::Default => {
                let [tokens, width] = joined.dims();
                tensors::slice(joined, [1..tokens, 0..width])
            }
        })
    }
}

struct LayerParameters {
    layer_norm1: NormParameters,
    qkv_proj: LinearParameters,
    out_proj: LinearParameters,
    layer_norm2: NormParameters,
    fc1: LinearParameters,
    fc2: LinearParameters,
    heads: Heads,
    activation: Activation,
}

impl LayerParameters {
    fn declare(parameters: &mut Parameters, name: &str, tower: &TransformerSpec) -> Self {
        let (hidden, ffn) = (tower.hidden_size, tower.intermediate_size);
        let heads = tower.heads();
        let norm = |parameters: &mut Parameters, part: &str| {
            NormParameters::declare(parameters, &format!("{name}.{part}"), hidden, tower.norm)
        };
        let stacked = |parameters: &mut Parameters, stack: Stack, cols: usize| {
            LinearParameters::declare(parameters, &stack, &[cols], true, Role::Vision)
        };
        let linear = |parameters: &mut Parameters, part: &str, rows: usize, cols: usize| {
            stacked(parameters, Stack::one(format!("{name}.{part}"), rows), cols)
        };
        Self {
            layer_norm1: norm(parameters, "layer_norm1"),
            qkv_proj: stacked(parameters, Stack::qkv(name, heads, false), hidden),
            out_proj: linear(parameters, "self_attn.out_proj", hidden, hidden),
            layer_norm2: norm(parameters, "layer_norm2"),
            fc1: linear(parameters, "mlp.fc1", ffn, hidden),
            fc2: linear(parameters, "mlp.fc2", hidden, ffn),
            heads,
            activation: tower.hidden_act,
        }
    }

    async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<Layer> {
        Ok(Layer {
            layer_norm1: self.layer_norm1.load(loader).await?,
            qkv_proj: self.qkv_proj.load(loader).await?,
            out_proj: self.out_proj.load(loader).await?,
            layer_norm2: self.layer_norm2.load(loader).await?,
            fc1: self.fc1.load(loader).await?,
            fc2: self.fc2.load(loader).await?,
            heads: self.heads,
            activation: self.activation,
        })
    }
}

/// Pre-norm transformer layer with full (unmasked) attention.
struct Layer {
    layer_norm1: Norm,
    qkv_proj: Linear,
    out_proj: Linear,
    layer_norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    heads: Heads,
    activation: Activation,
}

impl Layer {
    /// `[tokens, hidden]` -> `[tokens, hidden]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let qkv = self.qkv_proj.forward(self.layer_norm1.forward(x.clone()), Activation::None, None);
        let attended = kernels::attention_full(qkv, self.heads);
        let x = self.out_proj.forward(attended, Activation::None, Some(x));
        let mlp = self.fc1.forward(self.layer_norm2.forward(x.clone()), self.activation, None);
        self.fc2.forward(mlp, Activation::None, Some(x))
    }
}
