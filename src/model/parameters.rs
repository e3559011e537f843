//! The parameters of a model, as its modules declare them: what loading reads, the converter writes, a made-up model makes up
//! and the plan of memory counts.

use crate::quant::Format;

/// What a tensor is for: decides its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Norms, biases, class and position embedding: small, and always f32.
    Vector,
    /// The convolution that cuts the picture into patches: its columns rarely fit blocks.
    PatchEmbedding,
    /// Linear layers of the vision tower.
    Vision,
    /// Linear layers of the projector.
    Projector,
    Embedding,
    /// Linear layers of the decoder.
    Decoder,
    Head,
}

impl Role {
    /// The format for this role when `asked` is asked for: the vision side is never stored below 8 bits, where it
    /// costs most and saves least.
    pub fn format(self, asked: Format) -> Format {
        match self {
            Role::Vector => Format::F32,
            Role::PatchEmbedding if asked.is_quantized() => Format::F16,
            Role::Vision | Role::Projector if asked.bits() < 8.0 => Format::Q8,
            _ => asked,
        }
    }

    /// What a summary calls it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Vector => "norms, biases, positions",
            Role::PatchEmbedding => "patch embedding",
            Role::Vision => "vision tower",
            Role::Projector => "projector",
            Role::Embedding => "token embedding",
            Role::Decoder => "decoder",
            Role::Head => "head",
        }
    }
}

/// One tensor the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Canonical name.
    pub name: String,
    /// Shape in the checkpoint. The bundle folds everything after the rows into columns.
    pub shape: Vec<usize>,
    pub role: Role,
    /// A norm's factors, which are about 1 in any model.
    pub is_scale: bool,
    /// Its rows are this many heads, whose two halves rotate with each other.
    pub rotated_heads: Option<usize>,
}

impl Needed {
    /// A tensor of which there is nothing more to say.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, role: Role) -> Self {
        Self { name: name.into(), shape: shape.into(), role, is_scale: false, rotated_heads: None }
    }

    /// Shape in the bundle: `[rows, cols]` or `[len]`.
    pub fn stored_shape(&self) -> Vec<usize> {
        match self.shape[..] {
            [rows, ref cols @ ..] if cols.len() > 1 => vec![rows, cols.iter().product()],
            _ => self.shape.clone(),
        }
    }
}

/// How a weight may be cut that is larger than a buffer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Not at all: it must lie in one buffer.
    Never,
    /// Between any rows.
    Rows,
    /// It is two matrices of equal height, which are cut at the same rows.
    Pairs,
}

/// What is one to the model: a tensor, or several whose rows lie below each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The tensor's name, or what a checkpoint that stores them joined calls them.
    pub name: String,
    /// All of one role, alike in all but their rows.
    pub tensors: Vec<Needed>,
    pub cut: Cut,
}

impl Parameter {
    /// A parameter that is one tensor.
    pub fn one(tensor: Needed) -> Self {
        Self { name: tensor.name.clone(), tensors: vec![tensor], cut: Cut::Rows }
    }

    /// Rows of all tensors together; the length of a vector.
    pub fn rows(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.shape[0]).sum()
    }

    /// Columns of a matrix, in the bundle's shape.
    pub fn cols(&self) -> usize {
        self.tensors[0].shape[1..].iter().product()
    }

    pub fn role(&self) -> Role {
        self.tensors[0].role
    }
}

/// The parameters declared so far, in the order in which they are loaded.
#[derive(Debug, Default)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// Takes down a parameter, and gives it back to be loaded by.
    pub fn declare(&mut self, parameter: Parameter) -> Parameter {
        self.0.push(parameter.clone());
        parameter
    }

    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// The tensors of all of them.
    pub fn tensors(&self) -> impl Iterator<Item = &Needed> {
        self.0.iter().flat_map(|parameter| &parameter.tensors)
    }
}
