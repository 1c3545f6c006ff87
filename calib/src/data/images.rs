//! Labelled images, in memory or one file each.

use super::{DataError, Rgb, picture};
use std::path::{Path, PathBuf};

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

    /// Renumbers classes to a model's own numbers: `numbers` holds one for each of [`ImageSet::classes`].
    ///
    /// # Panics
    /// Another count of numbers than of classes.
    pub fn renumber(&mut self, numbers: &[usize]) {
        assert_eq!(numbers.len(), self.classes.len(), "a number for each class");
        for label in &mut self.labels {
            *label = numbers[*label];
        }
        let mut names = vec![String::new(); numbers.iter().max().map_or(0, |last| last + 1)];
        for (class, &number) in self.classes.iter().zip(numbers) {
            names[number].clone_from(class);
        }
        self.classes = names;
    }

    /// Image `index`, decoded.
    ///
    /// # Errors
    /// A file that cannot be read, is no PNG or JPEG, or is cut short.
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
            Store::Files(files) => picture::decode(&files[index]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_the_numbers_of_the_model() {
        let classes = ["cat", "dog"].map(str::to_owned).to_vec();
        let files = vec![PathBuf::from("a"), PathBuf::from("b"), PathBuf::from("c")];
        let mut set = ImageSet::from_files(Path::new("set"), files, vec![0, 1, 1], classes);
        set.renumber(&[3, 0]);
        assert_eq!(set.labels(), [3, 0, 0]);
        assert_eq!(set.classes(), ["dog", "", "", "cat"]);
    }
}
