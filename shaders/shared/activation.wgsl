// activate(x, which): the activation of that number, in the order of `kernels::Activation`. A number of the uniform, not a
// constant: a pipeline for each of them would be compiled for the sake of a few instructions per output.

// Abramowitz and Stegun 7.1.26: within 1.5e-7 of the error function.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return sign(x) * (1.0 - poly * exp(-x * x));
}

fn activate(x: f32, which: u32) -> f32 {
    switch which {
        case 1u: {
            return 0.5 * x * (1.0 + erf(x * 0.7071067811865476));
        }
        case 2u: {
            // tanh is clamped: some drivers overflow in exp and return NaN.
            return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -10.0, 10.0)));
        }
        case 3u: {
            return x / (1.0 + exp(-1.702 * x));
        }
        case 4u: {
            return x / (1.0 + exp(-x));
        }
        case 5u: {
            return max(x, 0.0);
        }
        case 6u: {
            return clamp(x, 0.0, 6.0);
        }
        case 7u: {
            return 1.0 / (1.0 + exp(-x));
        }
        default: {
            return x;
        }
    }
}
