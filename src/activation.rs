//! Activations: their names in config.json and their definitions. The shaders have them in `shaders/shared/`.

/// What a linear layer applies to its sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    #[default]
    None,
    /// `x/2 (1 + erf(x/√2))`
    Gelu,
    /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`
    GeluTanh,
    /// `x σ(1.702 x)`
    QuickGelu,
    /// `x σ(x)`
    Silu,
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `σ(x)`
    Sigmoid,
}

impl Activation {
    pub const ALL: [Activation; 8] = [
        Activation::None,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
    ];

    /// What a message offers where [`Activation::named`] knows none.
    pub const NAMES: &str = "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, relu, relu6, sigmoid";

    /// The activation that transformers (`ACT2FN`) calls so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Activation::GeluTanh,
            "quick_gelu" => Activation::QuickGelu,
            "silu" | "swish" => Activation::Silu,
            "relu" => Activation::Relu,
            "relu6" => Activation::Relu6,
            "sigmoid" => Activation::Sigmoid,
            _ => return None,
        })
    }

    /// By the definition.
    pub fn of(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Activation::None => x,
            Activation::Gelu => x / 2.0 * (1.0 + erf(x / 2f64.sqrt())),
            Activation::GeluTanh => {
                x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Silu => x * sigmoid(x),
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Sigmoid => sigmoid(x),
        }
    }
}

/// The error function by its Taylor series, to about 1e-11 where it is not yet ±1.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
