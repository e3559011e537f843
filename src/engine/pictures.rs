//! From a picture to its embeddings; those of the picture encoded last are kept.

use burn::tensor::{Device, Tensor};
use sha2::{Digest, Sha256};

use super::cache_record::ImageHash;
use super::layers::{Halt, Layers};
use crate::device::{self, tensors};
use crate::error::{Error, Result};
use crate::image::{self, AspectRatio, Patches, PreprocessorConfig, Source};
use crate::kernels::Window;
use crate::model::Vision;

/// How a model is given pictures.
pub struct Pictures {
    preprocessor: PreprocessorConfig,
    window: Window,
    last: Option<Encoded>,
}

/// The picture encoded last.
struct Encoded {
    file: Option<FileHash>,
    hash: ImageHash,
    /// `[image tokens, hidden]`
    features: Tensor<2>,
}

/// SHA-256 of an encoded picture and of how it is made square: tells a known file without decoding it.
pub type FileHash = [u8; 32];

/// The hash of an encoded picture.
pub fn file_hash(source: &Source, aspect_ratio: Option<AspectRatio>) -> Option<FileHash> {
    match source {
        Source::Encoded(bytes) => {
            let way = format!("{aspect_ratio:?}\0");
            Some(Sha256::new_with_prefix(way).chain_update(bytes).finalize().into())
        }
        Source::Decoded(_) => None,
    }
}

/// A request's picture.
pub struct Image {
    file: Option<FileHash>,
    pub hash: ImageHash,
    content: Content,
}

enum Content {
    /// Embeddings of the picture encoded last.
    Known(Box<Tensor<2>>),
    New(Patches),
}

impl Pictures {
    /// For a vision tower whose first layer goes over pictures so.
    pub fn new(preprocessor: PreprocessorConfig, window: Window) -> Self {
        Self { preprocessor, window, last: None }
    }

    /// Finds out which picture it is. Only a new one is decoded and cut into patches.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::TooLarge`].
    pub fn identify(&self, source: &Source, aspect_ratio: Option<AspectRatio>) -> Result<Image> {
        let file = file_hash(source, aspect_ratio);
        if let Some(last) = &self.last
            && file.is_some()
            && last.file == file
        {
            return Ok(Image { file, hash: last.hash, content: Content::Known(Box::new(last.features.clone())) });
        }
        let picture = source.picture()?;
        let patches = image::patches(&picture, &self.preprocessor, aspect_ratio, self.window)?;
        let hash = Sha256::digest(bytemuck::cast_slice(&patches.values)).into();
        let content = match &self.last {
            Some(last) if last.hash == hash => Content::Known(Box::new(last.features.clone())),
            _ => Content::New(patches),
        };
        Ok(Image { file, hash, content })
    }

    /// Embeddings of a picture, `[image tokens, hidden]`, by way of `vision` if it is a new one. They are kept.
    ///
    /// # Errors
    /// [`Halt`] by `go_on`, or if the device was lost.
    pub async fn features(
        &mut self,
        image: Image,
        vision: &Vision,
        device: &Device,
        go_on: &mut dyn FnMut() -> bool,
    ) -> std::result::Result<Tensor<2>, Halt> {
        let Image { file, hash, content } = image;
        let features = match content {
            Content::Known(features) => *features,
            Content::New(patches) => encode(patches, vision, device, go_on).await?,
        };
        self.last = Some(Encoded { file, hash, features: features.clone() });
        Ok(features)
    }
}

/// Runs the vision tower and the projector.
///
/// # Errors
/// [`Halt`] by `go_on`, or if the device was lost.
pub async fn encode(
    patches: Patches,
    vision: &Vision,
    device: &Device,
    go_on: &mut dyn FnMut() -> bool,
) -> std::result::Result<Tensor<2>, Halt> {
    let patches = tensors::floats(patches.values, [patches.rows, patches.cols], device);
    let mut layers = Layers::new(device, go_on);
    let features = vision.image_features(patches, &mut async || layers.after_layer().await).await?;
    device::sync(device).await?;
    Ok(features)
}

/// The error for a picture that is given to a model without a vision tower.
pub fn sees_nothing() -> Error {
    let cure = "this model has no vision tower and answers text alone; leave the picture out, or load a LLaVA model";
    Error::input("image", cure)
}
