//! Puts two bundles into one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::folder::{FolderSource, SECOND_FOLDER, io, read_file};
use super::manifest::{MANIFEST_FILE, Manifest, Second, broken};
use super::source::ChunkSource;
use super::writer::{new_folder, remove_strays, write_file};
use crate::{Error, Result};

/// What a pair is made of, as a JSON file says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The bundles' folders, relative to the file's own.
    first: PathBuf,
    second: PathBuf,
    /// As in [`Second`].
    question: String,
    answer: String,
}

/// Makes one bundle in `out` of the two that the file `description` names: `{ first, second, question, answer }`. With `force` a
/// bundle in `out` is replaced, once all else is in place.
///
/// # Errors
/// The file cannot be read or lacks a field, one of the two is no whole bundle or sees no pictures, question or answer do not
/// fit, or `out` holds a bundle or cannot be written.
pub fn pair(description: &Path, out: &Path, force: bool) -> Result<Manifest> {
    let what = description.display().to_string();
    let Description { first, second, question, answer } =
        serde_json::from_slice(&fs::read(description).map_err(io(description))?)
            .map_err(|error| Error::bundle(what, error.to_string()))?;
    let [first, second] = [first, second].map(|folder| description.with_file_name("").join(folder));
    new_folder(out, force)?;
    let folders = [(&first, out.to_owned()), (&second, out.join(SECOND_FOLDER))];
    let mut manifests = Vec::new();
    for (from, to) in folders {
        let manifest = FolderSource::open(from)?.manifest().clone();
        if manifest.memory.as_ref().is_some_and(|memory| memory.image_tokens == 0) {
            let problem = format!("the model in {} sees no pictures; give one with a vision tower", from.display());
            return Err(Error::input("pair", problem));
        }
        let chunks = to.join("chunks");
        fs::create_dir_all(&chunks).map_err(io(&chunks))?;
        for entry in [&manifest.tokenizer].into_iter().chain(&manifest.chunks) {
            let path = to.join(&entry.file);
            write_file(&path, &read_file(from, entry)?)?;
            File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
        }
        manifests.push(manifest);
    }
    let [mut manifest, second] = <[Manifest; 2]>::try_from(manifests).expect("of two folders");
    manifest.second = Some(Box::new(Second { question, answer, manifest: second }));
    manifest.validate()?;
    let json = serde_json::to_vec(&manifest).map_err(|error| broken(error.to_string()))?;
    write_file(&out.join(MANIFEST_FILE), &json)?;
    remove_strays(out, &manifest)?;
    if let Some(second) = &manifest.second {
        remove_strays(&out.join(SECOND_FOLDER), &second.manifest)?;
    }
    Ok(manifest)
}
