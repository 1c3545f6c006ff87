//! A folder with one folder of images per class.

use super::{Content, DataError, DataSpec, Extent, ImageSet, Remark, Request, Source, path_of};
use std::path::{Path, PathBuf};

/// Endings of the images that can be decoded.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// Files that systems and editors leave behind, besides hidden ones.
const DROPPINGS: [&str; 4] = ["thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"];
/// Endings of the same.
const DROPPED_ENDINGS: [&str; 6] = ["~", ".tmp", ".swp", ".bak", ".part", ".crdownload"];

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

    fn load(&self, spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        let DataSpec::Path { path, .. } = spec else {
            return Err(super::unknown_kind(spec));
        };
        let (images, skipped) = read(path)?;
        request.remarks.extend(skipped.remarks(path));
        Ok(Content::Images(images))
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        let classes = fs_err::read_dir(path_of(spec)?).ok()?.flatten();
        let in_class = |class: PathBuf| {
            let files = fs_err::read_dir(class).into_iter().flatten().flatten();
            let paths = files.map(|file| file.path());
            paths
                .filter(|path| has_image_ending(path) && !is_dropping(path))
                .count()
        };
        let paths = classes.map(|class| class.path());
        let count = paths.filter(|path| !is_dropping(path)).map(in_class).sum();
        Some(Extent::of_images(count))
    }
}

/// What is neither a class nor an image.
#[derive(Debug, Default, PartialEq, Eq)]
struct Skipped {
    /// Hidden files and folders, and what editors leave.
    droppings: usize,
    /// Image files of no bytes.
    empty: usize,
    /// Class folders without an image.
    folders: usize,
    /// Files of another kind, and images that lie in no class folder.
    others: usize,
}

impl Skipped {
    fn remarks(&self, folder: &Path) -> Vec<Remark> {
        let folder = folder.display();
        let hidden = [
            (self.droppings, "hidden or left by an editor"),
            (self.empty, "images of no bytes"),
            (self.folders, "class folders without an image"),
        ];
        let hidden: Vec<String> = hidden
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let mut remarks = Vec::new();
        if !hidden.is_empty() {
            remarks.push(Remark::Detail(format!(
                "`{folder}`: skipped {}",
                hidden.join(", ")
            )));
        }
        if self.others > 0 {
            remarks.push(Remark::Note(format!(
                "`{folder}`: {} skipped: no PNG or JPEG image in a class folder",
                match self.others {
                    1 => "1 file is".to_owned(),
                    count => format!("{count} files are"),
                }
            )));
        }
        remarks
    }
}

fn read(folder: &Path) -> Result<(ImageSet, Skipped), DataError> {
    let (mut files, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    let mut skipped = Skipped::default();
    for class in entries(folder)? {
        if is_dropping(&class) {
            skipped.droppings += 1;
            continue;
        }
        if !class.is_dir() {
            skipped.others += usize::from(is_image(&class));
            continue;
        }
        let images = images(&class, &mut skipped)?;
        if images.is_empty() {
            skipped.folders += 1;
            continue;
        }
        labels.resize(labels.len() + images.len(), classes.len());
        files.extend(images);
        classes.push(name_of(&class));
    }
    if files.is_empty() {
        return Err(DataError::Kind {
            origin: folder.display().to_string(),
            expected: "one folder of PNG or JPEG images per class",
            found: "no such folder",
        });
    }
    let set = ImageSet::from_files(folder, files, labels, classes);
    Ok((set, skipped))
}

/// The images of one class.
fn images(class: &Path, skipped: &mut Skipped) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    for path in entries(class)? {
        if is_dropping(&path) {
            skipped.droppings += 1;
        } else if !is_image(&path) {
            skipped.others += 1;
        } else if fs_err::metadata(&path).is_ok_and(|found| found.len() == 0) {
            skipped.empty += 1;
        } else {
            images.push(path);
        }
    }
    Ok(images)
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

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into())
}

fn is_dropping(path: &Path) -> bool {
    let name = name_of(path).to_lowercase();
    let is_backup = DROPPED_ENDINGS.iter().any(|ending| name.ends_with(ending));
    name.starts_with('.')
        || DROPPINGS.contains(&name.as_str())
        || is_backup
        || (name.starts_with('#') && name.ends_with('#'))
}

fn is_image(path: &Path) -> bool {
    has_image_ending(path) && path.is_file()
}

fn has_image_ending(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
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
        let (set, skipped) = read(folder.path()).unwrap();
        assert_eq!(set.classes(), ["cat", "dog"]);
        assert_eq!(set.labels(), [0, 1, 1]);
        assert_eq!((skipped.others, skipped.folders), (1, 1));
        let first = set.image(0).unwrap();
        assert_eq!(
            (first.height, first.width, &first.pixels[..3]),
            (2, 3, &[9, 8, 7][..])
        );
        assert_eq!(set.image(1).unwrap().pixels[0], 1);
    }

    #[test]
    fn droppings_are_neither_classes_nor_images() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "cat/1.png",
            ".thumbnails/1.png",
            "__MACOSX/1.png",
            "cat/._1.png",
            "cat/1.png~",
        ] {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::new(3, 2)
                .save_with_format(path, image::ImageFormat::Png)
                .unwrap();
        }
        fs_err::write(folder.path().join("cat/2.png"), "").unwrap();
        fs_err::write(folder.path().join("cat/Thumbs.db"), "x").unwrap();
        let (set, skipped) = read(folder.path()).unwrap();
        assert_eq!((set.classes().len(), set.len()), (1, 1));
        assert_eq!((skipped.droppings, skipped.empty), (5, 1));
        assert!(matches!(
            &skipped.remarks(folder.path())[..],
            [Remark::Detail(_)]
        ));
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(DataError::Kind { .. })));
    }
}
