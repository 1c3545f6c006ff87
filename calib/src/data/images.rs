//! Labelled images, in memory or one file each.

use super::DataError;
use quantizers::nearest::nearest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One image of 8-bit RGB, rows from the top: `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels down.
    pub height: u32,
    /// Pixels across.
    pub width: u32,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

/// Images with a class each.
#[derive(Debug, Clone)]
pub struct ImageSet {
    origin: String,
    store: Store,
    labels: Vec<usize>,
    classes: Vec<String>,
}

#[derive(Debug, Clone)]
enum Store {
    /// All images one after another, of one size.
    Pixels {
        data: Vec<u8>,
        height: u32,
        width: u32,
    },
    /// One file per image, decoded when asked for.
    Files(Vec<PathBuf>),
}

impl ImageSet {
    /// Images `[labels.len(), height, width, 3]` in memory; classes have numbers only.
    pub(crate) fn from_pixels(
        origin: &Path,
        data: Vec<u8>,
        [height, width]: [u32; 2],
        labels: Vec<usize>,
    ) -> Self {
        let store = Store::Pixels {
            data,
            height,
            width,
        };
        Self {
            origin: origin.display().to_string(),
            store,
            labels,
            classes: Vec::new(),
        }
    }

    /// Image files with the index of their class.
    pub(super) fn from_files(
        origin: &Path,
        files: Vec<PathBuf>,
        labels: Vec<usize>,
        classes: Vec<String>,
    ) -> Self {
        let store = Store::Files(files);
        Self {
            origin: origin.display().to_string(),
            store,
            labels,
            classes,
        }
    }

    /// Where the images were read.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Class number of each image.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Class names by number; empty where the source has numbers only.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Renumbers classes to a model's own numbers (`label2id` of config.json), by name.
    ///
    /// Sources without names are left alone: their numbers are the model's.
    ///
    /// # Errors
    /// A class the model does not know; the nearest name is given.
    pub fn relabel(&mut self, numbers: &BTreeMap<String, usize>) -> Result<(), DataError> {
        let renumbered: Vec<usize> = self
            .classes
            .iter()
            .map(|class| {
                numbers
                    .get(class)
                    .copied()
                    .ok_or_else(|| DataError::Column {
                        origin: format!("label2id of the model, for {}", self.origin),
                        column: class.clone(),
                        nearest: nearest(class, numbers.keys().map(String::as_str)),
                        columns: numbers.keys().cloned().collect(),
                    })
            })
            .collect::<Result<_, _>>()?;
        if renumbered.is_empty() {
            return Ok(());
        }
        for label in &mut self.labels {
            *label = renumbered[*label];
        }
        let mut names = vec![String::new(); renumbered.iter().max().map_or(0, |last| last + 1)];
        for (class, &number) in self.classes.iter().zip(&renumbered) {
            names[number].clone_from(class);
        }
        self.classes = names;
        Ok(())
    }

    /// Image `index`, decoded.
    ///
    /// # Errors
    /// A file that cannot be read or is no PNG or JPEG.
    ///
    /// # Panics
    /// `index` is not below [`ImageSet::len`].
    pub fn image(&self, index: usize) -> Result<Rgb, DataError> {
        match &self.store {
            Store::Pixels {
                data,
                height,
                width,
            } => {
                let size = *height as usize * *width as usize * 3;
                let pixels = data[index * size..(index + 1) * size].to_vec();
                Ok(Rgb {
                    height: *height,
                    width: *width,
                    pixels,
                })
            }
            Store::Files(files) => decode(&files[index]),
        }
    }
}

fn decode(path: &Path) -> Result<Rgb, DataError> {
    let bytes = fs_err::read(path).map_err(|source| DataError::File {
        path: path.to_owned(),
        source,
    })?;
    let image = image::load_from_memory(&bytes)
        .map_err(|source| DataError::Image {
            path: path.to_owned(),
            source: Box::new(source),
        })?
        .into_rgb8();
    Ok(Rgb {
        height: image.height(),
        width: image.width(),
        pixels: image.into_raw(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_the_numbers_of_the_model() {
        let classes = ["cat", "dog"].map(str::to_owned).to_vec();
        let files = vec![PathBuf::from("a"), PathBuf::from("b"), PathBuf::from("c")];
        let mut set = ImageSet::from_files(Path::new("set"), files, vec![0, 1, 1], classes);
        let numbers = BTreeMap::from([("dog".to_owned(), 0), ("cat".to_owned(), 3)]);
        set.relabel(&numbers).unwrap();
        assert_eq!(set.labels(), [3, 0, 0]);
        assert_eq!(set.classes(), ["dog", "", "", "cat"]);
        let mut other = ImageSet::from_files(
            Path::new("set"),
            vec![PathBuf::from("a")],
            vec![0],
            vec!["dogs".to_owned()],
        );
        assert_eq!(
            other.relabel(&numbers).unwrap_err().hint().unwrap(),
            "did you mean `dog`?"
        );
    }
}
