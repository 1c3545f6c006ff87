//! A folder with one folder of images per class.

use super::{Content, DataError, DataSpec, ImageSet, Request, Source};
use std::path::{Path, PathBuf};

/// Endings of the images that can be decoded.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// `folder/<class>/<image>.png`: classes and images in the order of their names.
#[derive(Debug, Clone, Copy)]
pub struct ImageFolder;

impl Source for ImageFolder {
    fn name(&self) -> &'static str {
        "images"
    }

    fn summary(&self) -> &'static str {
        "a folder of class folders of PNG or JPEG images"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { path, .. } if path.is_dir())
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let DataSpec::Path { path, .. } = spec else {
            return Err(super::unknown_kind(spec));
        };
        read(path).map(Content::Images)
    }
}

fn read(folder: &Path) -> Result<ImageSet, DataError> {
    let (mut files, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let images: Vec<PathBuf> = entries(&class)?
            .into_iter()
            .filter(|p| is_image(p))
            .collect();
        if images.is_empty() {
            continue;
        }
        labels.resize(labels.len() + images.len(), classes.len());
        files.extend(images);
        classes.push(
            class
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into()),
        );
    }
    if files.is_empty() {
        return Err(DataError::Kind {
            origin: folder.display().to_string(),
            expected: "one folder of PNG or JPEG images per class",
            found: "no such folder",
        });
    }
    Ok(ImageSet::from_files(folder, files, labels, classes))
}

/// The paths in `folder`, sorted: directory order differs between machines.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let error = |source| DataError::File {
        path: folder.to_owned(),
        source,
    };
    let mut paths = fs_err::read_dir(folder)
        .map_err(error)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_png(path: &Path, colour: [u8; 3]) {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(3, 2, image::Rgb(colour))
            .save(path)
            .unwrap();
    }

    #[test]
    fn classes_and_images_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        write_png(&folder.path().join("dog/2.png"), [2, 2, 2]);
        write_png(&folder.path().join("dog/1.png"), [1, 1, 1]);
        write_png(&folder.path().join("cat/9.PNG"), [9, 8, 7]);
        fs_err::write(folder.path().join("dog/notes.txt"), "x").unwrap();
        fs_err::create_dir(folder.path().join("empty")).unwrap();
        let set = read(folder.path()).unwrap();
        assert_eq!(set.classes(), ["cat", "dog"]);
        assert_eq!(set.labels(), [0, 1, 1]);
        let first = set.image(0).unwrap();
        assert_eq!(
            (first.height, first.width, &first.pixels[..3]),
            (2, 3, &[9, 8, 7][..])
        );
        assert_eq!(set.image(1).unwrap().pixels[0], 1);
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(DataError::Kind { .. })));
    }
}
