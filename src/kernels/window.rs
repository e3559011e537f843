//! How a square kernel goes over a square map.

use serde::Serialize;

/// A kernel's way over a map, in places along one side. What it covers beyond the map is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Of the map.
    pub side: usize,
    pub kernel: usize,
    /// From one place of the kernel to the next.
    pub stride: usize,
    /// Zeros before the map's first place; how many come behind its last one follows.
    pub padding: usize,
    /// Places of the kernel: the side of what comes out.
    pub out: usize,
}

impl Window {
    /// Kernels side by side, as patches are cut: what is left over at the end is not seen.
    pub fn patches(side: usize, kernel: usize) -> Self {
        Self { side, kernel, stride: kernel, padding: 0, out: side / kernel }
    }

    /// As many zeros before as behind.
    pub fn symmetric(side: usize, kernel: usize, stride: usize) -> Self {
        let padding = (stride - 1 + kernel - 1) / 2;
        Self { side, kernel, stride, padding, out: (side + 2 * padding - kernel) / stride + 1 }
    }

    /// TensorFlow's `SAME`: a place of the kernel for each stride of the map, and an odd zero behind.
    pub fn same(side: usize, kernel: usize, stride: usize) -> Self {
        let out = side.div_ceil(stride);
        let zeros = ((out - 1) * stride + kernel).saturating_sub(side);
        Self { side, kernel, stride, padding: zeros / 2, out }
    }

    /// One place, which covers the map.
    pub fn whole(side: usize) -> Self {
        Self::patches(side, side)
    }

    /// Places of the map.
    pub fn inputs(&self) -> usize {
        self.side * self.side
    }

    /// Places of what comes out.
    pub fn outputs(&self) -> usize {
        self.out * self.out
    }

    /// Refuses tensors of other shapes than a depthwise convolution's.
    pub(super) fn check(&self, [n, inputs]: [usize; 2], [places, channels]: [usize; 2], bias: Option<usize>) {
        assert_eq!(n, self.inputs(), "depthwise: places of the map");
        assert_eq!(places, self.kernel * self.kernel, "depthwise: places of the kernel");
        assert!(channels.is_multiple_of(inputs), "depthwise: as many kernels for each of {inputs} channels");
        assert_eq!(bias.unwrap_or(channels), channels, "depthwise: numbers of the bias");
    }

    /// The map's places under the kernel at place `at` along one side, and which of the kernel's lies on the first of them.
    pub fn covered(&self, at: usize) -> (std::ops::Range<usize>, usize) {
        let start = at * self.stride;
        let first = self.padding.saturating_sub(start);
        let begin = (start + first).saturating_sub(self.padding).min(self.side);
        let end = (start + self.kernel).saturating_sub(self.padding).min(self.side);
        (begin..end.max(begin), first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_timm() {
        // timm's `pad_same_arg` and `get_padding`: zeros before, places.
        let same = |side, kernel, stride| {
            let window = Window::same(side, kernel, stride);
            (window.padding, window.out)
        };
        assert_eq!([same(224, 3, 2), same(97, 3, 2), same(56, 5, 2)], [(0, 112), (1, 49), (1, 28)]);
        assert_eq!([same(7, 5, 1), same(25, 5, 2), same(2, 1, 2)], [(2, 7), (2, 13), (0, 1)]);
        let symmetric = |side, kernel, stride| {
            let window = Window::symmetric(side, kernel, stride);
            (window.padding, window.out)
        };
        assert_eq!([symmetric(256, 3, 2), symmetric(64, 7, 2), symmetric(16, 7, 1)], [(1, 128), (3, 32), (3, 16)]);
        assert_eq!(Window::patches(13, 4), Window { side: 13, kernel: 4, stride: 4, padding: 0, out: 3 });
    }

    #[test]
    fn what_a_kernel_covers_lies_in_the_map() {
        let window = Window::symmetric(4, 7, 2);
        assert_eq!([window.covered(0), window.covered(1)], [(0..4, 3), (0..4, 1)]);
        assert_eq!(Window::same(4, 3, 2).covered(1), (2..4, 0));
        assert_eq!(Window::symmetric(1, 3, 1).covered(0), (0..1, 1));
    }
}
