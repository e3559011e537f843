//! Which loops go over the weights of a format.

/// `$body` for the format of `$matrix`, which it calls `$format`.
macro_rules! for_format {
    ($matrix:expr, $format:ident => $body:expr) => {
        match $matrix.format {
            crate::quant::Format::Q4 => {
                type $format = crate::kernels::cpu::weight::Q4;
                $body
            }
            crate::quant::Format::Q4K => {
                type $format = crate::kernels::cpu::weight::Q4K;
                $body
            }
            crate::quant::Format::Q5K => {
                type $format = crate::kernels::cpu::weight::Q5K;
                $body
            }
            crate::quant::Format::Q6K => {
                type $format = crate::kernels::cpu::weight::Q6K;
                $body
            }
            crate::quant::Format::Q8 => {
                type $format = crate::kernels::cpu::weight::Q8;
                $body
            }
            crate::quant::Format::F16 => {
                type $format = crate::kernels::cpu::weight::F16;
                $body
            }
            _ => {
                type $format = crate::kernels::cpu::weight::Decoded;
                $body
            }
        }
    };
}
pub(super) use for_format;
