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
    /// Convolutions of each channel by itself: small, and decoded when they are loaded.
    Depthwise,
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
            Role::PatchEmbedding | Role::Depthwise if asked.is_quantized() => Format::F16,
            Role::Vision | Role::Projector if asked.bits() < 8.0 => Format::Q8,
            _ => asked,
        }
    }

    /// What a summary calls it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Vector => "norms, biases, positions",
            Role::PatchEmbedding => "patch embedding",
            Role::Depthwise => "depthwise convolutions",
            Role::Vision => "vision tower",
            Role::Projector => "projector",
            Role::Embedding => "token embedding",
            Role::Decoder => "decoder",
            Role::Head => "head",
        }
    }
}

/// One tensor the model needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// Canonical name.
    pub name: String,
    /// Shape in the checkpoint. The bundle folds everything after the rows into columns.
    pub shape: Vec<usize>,
    pub role: Role,
    /// What its values are about in a made-up model: norms' factors are about 1 in any.
    pub centre: f32,
    /// Its rows are this many heads, whose two halves rotate with each other.
    pub rotated_heads: Option<usize>,
    /// What a checkpoint has of it stands beside other things that the converter makes one with it.
    pub fold: Option<Fold>,
}

/// What a checkpoint has beside a convolution's weight, and what becomes part of its weight and bias: `scale * norm(conv(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The convolution has a bias of its own.
    pub bias: bool,
    /// A batch norm behind it.
    pub norm: Option<BatchNorm>,
    /// A factor for each channel, behind the norm.
    pub scale: Option<String>,
}

impl Fold {
    /// Whether a bias comes of it.
    pub fn has_bias(&self) -> bool {
        self.bias || self.norm.is_some()
    }
}

/// Statistics of a batch norm, `{name}.weight`, `bias`, `running_mean` and `running_var`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    pub name: String,
    pub eps: f32,
}

impl Needed {
    /// A tensor of which there is nothing more to say.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, role: Role) -> Self {
        Self { name: name.into(), shape: shape.into(), role, centre: 0.0, rotated_heads: None, fold: None }
    }

    /// What it is made of in a checkpoint: itself, or for what is folded the convolution's own tensor and what is folded in.
    pub fn sources(&self) -> Vec<Needed> {
        let itself = Self { fold: None, ..self.clone() };
        let Some(fold) = self.fold.as_ref().filter(|_| !self.is_matrix()) else { return vec![itself] };
        let vector = |name: String, centre| Self { centre, ..Self::new(name, self.shape.clone(), Role::Vector) };
        let mut sources = Vec::new();
        sources.extend(fold.bias.then_some(itself));
        if let Some(BatchNorm { name, .. }) = &fold.norm {
            let parts = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
            sources.extend(parts.map(|(part, centre)| vector(format!("{name}.{part}"), centre)));
        }
        if let Some(name) = &fold.scale {
            sources.push(Self { shape: vec![self.shape[0], 1, 1], ..vector(name.clone(), 0.5) });
        }
        sources
    }

    /// Whether it has rows of several numbers.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() > 1
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
#[derive(Debug, Clone, PartialEq)]
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
