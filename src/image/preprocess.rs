//! CLIPImageProcessor: resize, centre crop, rescale, normalize; LLaVA's own squaring before it where asked.

use serde_json::Value;

use super::{
    Picture,
    resize::{Canvas, Crop, Filter, resize_window},
};
use crate::{
    error::{Error, Result},
    kernels::Window,
    model::{config::VisionConfig, tower::LARGEST_IMAGE},
};

/// OpenAI CLIP's channel statistics, the class defaults of CLIPImageProcessor.
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Classes that preprocess as described here; a suffix (`Fast`, `Pil`) only says with which library.
const PROCESSORS: [&str; 3] = ["CLIPImageProcessor", "CLIPFeatureExtractor", "LlavaImageProcessor"];

/// Pixel values beyond this are a mistake in the file: no network is trained on them, and sums of them may overflow.
const LARGEST_VALUE: f32 = 1e4;

/// What happens to the parts of a picture that do not fit a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AspectRatio {
    /// The centre is kept, the ends of the longer side are cut off (transformers' default).
    Crop,
    /// The picture is centred on a square of the mean colour, so that nothing is lost (LLaVA's `image_aspect_ratio`).
    Pad,
}

/// The size a picture is brought to before cropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    ShortestEdge(usize),
    Exact { width: usize, height: usize },
}

/// preprocessor_config.json, with the class defaults for what it leaves out.
#[derive(Clone, Debug)]
pub struct PreprocessorConfig {
    pub image_aspect_ratio: AspectRatio,
    /// `None`: not resized.
    resize: Option<(Size, Filter)>,
    /// Width and height; `None`: not cropped.
    crop: Option<(usize, usize)>,
    rescale_factor: f64,
    /// Channel mean and deviation; `None`: not normalized.
    normalize: Option<([f64; 3], [f64; 3])>,
    /// `int(mean * 255)`, what `pad` fills with.
    background: [u8; 3],
    /// The picture side the vision tower takes.
    side: usize,
}

/// Input of the vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    pub width: usize,
    pub height: usize,
    /// `[3, height, width]`
    pub values: Vec<f32>,
}

impl PreprocessorConfig {
    /// Reads the checkpoint's preprocessor_config.json, or `{}` where there is none; sizes it leaves out are those of the
    /// vision tower in `config`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the field that asks for something else than CLIP's preprocessing.
    pub fn from_json(preprocessor: &Value, config: &VisionConfig) -> Result<Self> {
        let kind =
            field(preprocessor, "image_processor_type").or_else(|| field(preprocessor, "feature_extractor_type"));
        let known = |kind: &str| PROCESSORS.iter().any(|processor| kind.starts_with(processor));
        if let Some(kind) = kind.filter(|kind| !kind.as_str().is_some_and(known)) {
            return Err(unsupported("image_processor_type", format!("{kind}; only CLIPImageProcessor is supported")));
        }
        let side = config.tower.image_size();
        let do_resize = flag(preprocessor, "do_resize", true)?;
        let do_crop = flag(preprocessor, "do_center_crop", true)?;
        let mean = triple(preprocessor, "image_mean", CLIP_MEAN)?;
        let std = triple(preprocessor, "image_std", CLIP_STD)?;
        let resample = field(preprocessor, "resample").map_or(Some(3), Value::as_u64);
        let resample = resample.ok_or_else(|| unsupported("resample", "must be PIL's number of a filter"))?;
        let read = Self {
            image_aspect_ratio: aspect_ratio(preprocessor)?,
            resize: match do_resize {
                true => Some((size(field(preprocessor, "size"), side)?, Filter::from_pil(resample)?)),
                false => None,
            },
            crop: match do_crop {
                true => Some(crop_size(field(preprocessor, "crop_size"), side)?),
                false => None,
            },
            rescale_factor: match flag(preprocessor, "do_rescale", true)? {
                true => number(preprocessor, "rescale_factor", 1.0 / 255.0)?,
                false => 1.0,
            },
            normalize: flag(preprocessor, "do_normalize", true)?.then_some((mean, std)),
            background: mean.map(|mean| (mean * 255.0) as u8),
            side,
        };
        let channels = [0, 1, 2].map(|channel| [0, 255].map(|byte| read.value(channel, byte)));
        if !channels.as_flattened().iter().all(|value| value.abs() <= LARGEST_VALUE) {
            let problem =
                format!("with `image_mean` and `rescale_factor` makes values that are none, or above {LARGEST_VALUE}");
            return Err(unsupported("image_std", problem));
        }
        Ok(read)
    }

    /// Pixel values of a picture, as the vision tower takes them. `aspect_ratio` overrides the checkpoint's own.
    pub fn preprocess(&self, picture: &Picture, aspect_ratio: Option<AspectRatio>) -> PixelValues {
        self.normalize(&self.fit(picture, aspect_ratio.unwrap_or(self.image_aspect_ratio)))
    }

    /// The 8-bit half of [`preprocess`](Self::preprocess): the picture squared, resized and cropped.
    pub fn fit(&self, picture: &Picture, aspect_ratio: AspectRatio) -> Picture {
        let canvas = match aspect_ratio {
            AspectRatio::Pad => Canvas::square(picture, self.background),
            AspectRatio::Crop => Canvas::bare(picture),
        };
        let (width, height) = (canvas.width, canvas.height);
        let (size, filter) = match self.resize {
            None => ((width, height), Filter::Bicubic),
            Some((Size::Exact { width, height }, filter)) => ((width, height), filter),
            // The longer side is truncated, not rounded: transformers' `int(size * long / short)`.
            Some((Size::ShortestEdge(edge), filter)) if width <= height => ((edge, edge * height / width), filter),
            Some((Size::ShortestEdge(edge), filter)) => ((edge * width / height, edge), filter),
        };
        let (crop_width, crop_height) = self.crop.unwrap_or(size);
        let start = |size: usize, crop: usize| (size as isize - crop as isize).div_euclid(2);
        let window = Crop {
            left: start(size.0, crop_width),
            top: start(size.1, crop_height),
            width: crop_width,
            height: crop_height,
        };
        resize_window(&canvas, size, &window, filter)
    }

    /// Bytes to floats in transformers' order of operations: scaled in f64, normalized in f32.
    fn normalize(&self, picture: &Picture) -> PixelValues {
        let pixels = picture.width * picture.height;
        let mut values = Vec::with_capacity(3 * pixels);
        for channel in 0..3 {
            let table: [f32; 256] = std::array::from_fn(|byte| self.value(channel, byte));
            values.extend(picture.rgb.iter().skip(channel).step_by(3).map(|byte| table[usize::from(*byte)]));
        }
        PixelValues { width: picture.width, height: picture.height, values }
    }

    /// What a byte of a channel becomes.
    fn value(&self, channel: usize, byte: usize) -> f32 {
        let scaled = (byte as f64 * self.rescale_factor) as f32;
        self.normalize.map_or(scaled, |(mean, std)| (scaled - mean[channel] as f32) / std[channel] as f32)
    }
}

/// What the vision tower's first layer reads of a picture, from left to right and top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    pub rows: usize,
    pub cols: usize,
    /// `[rows, cols]`: one patch a row, in the order of the first layer's weight (channel, y, x).
    pub values: Vec<f32>,
}

/// A picture preprocessed and cut into the patches that the kernel of `window` comes to.
///
/// # Errors
/// [`Error::Unsupported`] if preprocessor_config.json leads to another size than the vision tower's.
pub fn patches(
    picture: &Picture,
    preprocessor: &PreprocessorConfig,
    aspect_ratio: Option<AspectRatio>,
    window: Window,
) -> Result<Patches> {
    let pixels = preprocessor.preprocess(picture, aspect_ratio);
    let side = preprocessor.side;
    if (pixels.width, pixels.height) != (side, side) {
        let problem = format!("gives {}x{}, but the vision tower takes {side}x{side}", pixels.width, pixels.height);
        return Err(unsupported("crop_size", problem));
    }
    Ok(pixels.patches(window))
}

impl PixelValues {
    /// Cuts a picture of `window`'s side into patches, with zeros where they go beyond it; what no patch covers is dropped.
    pub fn patches(&self, window: Window) -> Patches {
        let Window { side, kernel, out, .. } = window;
        let (rows, cols) = (out * out, 3 * kernel * kernel);
        let mut values = vec![0.0; rows * cols];
        let mut patches = values.chunks_exact_mut(cols);
        for (row, column) in (0..out).flat_map(|row| (0..out).map(move |column| (row, column))) {
            let patch = patches.next().expect("a patch for each place");
            let ((down, first_y), (across, first_x)) = (window.covered(row), window.covered(column));
            for channel in 0..3 {
                for (y, inner) in down.clone().zip(first_y..) {
                    let pixels = &self.values[(channel * side + y) * side..][across.clone()];
                    patch[(channel * kernel + inner) * kernel + first_x..][..pixels.len()].copy_from_slice(pixels);
                }
            }
        }
        Patches { rows, cols, values }
    }
}

/// A field that is there and not null.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

fn unsupported(name: &str, problem: impl Into<String>) -> Error {
    Error::unsupported(format!("preprocessor.{name}"), problem)
}

fn flag(object: &Value, name: &str, default: bool) -> Result<bool> {
    let value = field(object, name).map_or(Some(default), Value::as_bool);
    value.ok_or_else(|| unsupported(name, "must be true or false"))
}

fn number(object: &Value, name: &str, default: f64) -> Result<f64> {
    let value = field(object, name).map_or(Some(default), Value::as_f64);
    value.ok_or_else(|| unsupported(name, "must be a number"))
}

fn triple(object: &Value, name: &str, default: [f64; 3]) -> Result<[f64; 3]> {
    let Some(value) = field(object, name) else { return Ok(default) };
    if let Some(all) = value.as_f64() {
        return Ok([all; 3]);
    }
    let numbers: Option<Vec<f64>> = value.as_array().and_then(|values| values.iter().map(Value::as_f64).collect());
    let numbers = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
    numbers.ok_or_else(|| unsupported(name, "must be three numbers"))
}

fn side(value: Option<&Value>, name: &str) -> Result<usize> {
    let side = value.and_then(Value::as_u64).filter(|side| (1..=LARGEST_IMAGE as u64).contains(side));
    let problem = || unsupported(name, format!("must be whole numbers from 1 to {LARGEST_IMAGE}"));
    side.map(|side| side as usize).ok_or_else(problem)
}

fn size(value: Option<&Value>, default: usize) -> Result<Size> {
    match value {
        None => Ok(Size::ShortestEdge(default)),
        Some(Value::Object(object)) if object.contains_key("longest_edge") => {
            Err(unsupported("size", "longest_edge is not supported"))
        }
        Some(Value::Object(object)) if object.contains_key("shortest_edge") => {
            Ok(Size::ShortestEdge(side(object.get("shortest_edge"), "size")?))
        }
        Some(Value::Object(object)) => {
            Ok(Size::Exact { width: side(object.get("width"), "size")?, height: side(object.get("height"), "size")? })
        }
        // CLIPImageProcessor reads a bare number as the shortest edge.
        number => Ok(Size::ShortestEdge(side(number, "size")?)),
    }
}

fn crop_size(value: Option<&Value>, default: usize) -> Result<(usize, usize)> {
    match value {
        None => Ok((default, default)),
        Some(Value::Object(object)) => {
            Ok((side(object.get("width"), "crop_size")?, side(object.get("height"), "crop_size")?))
        }
        number => side(number, "crop_size").map(|side| (side, side)),
    }
}

fn aspect_ratio(preprocessor: &Value) -> Result<AspectRatio> {
    match field(preprocessor, "image_aspect_ratio").map(|value| value.as_str().unwrap_or_default()) {
        // LlavaImageProcessor says the same with `do_pad`.
        None if flag(preprocessor, "do_pad", false)? => Ok(AspectRatio::Pad),
        None | Some("crop" | "square") => Ok(AspectRatio::Crop),
        Some("pad") => Ok(AspectRatio::Pad),
        Some(other) => {
            Err(unsupported("image_aspect_ratio", format!("`{other}`; only `pad` and `crop` are supported")))
        }
    }
}
