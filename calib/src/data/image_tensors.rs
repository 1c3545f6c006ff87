//! Images of one size in a safetensors file.

use super::{Content, DataError, DataSpec, Extent, ImageSet, Request, Source, file_error, path_of};
use quantizers::formats::TensorFolder;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// `images` U8 `[n, height, width, 3]` and `labels` U8, I32 or I64 `[n]`.
#[derive(Debug, Clone, Copy)]
pub struct ImageTensors;

impl Source for ImageTensors {
    fn name(&self) -> &'static str {
        "image-tensors"
    }

    fn summary(&self) -> &'static str {
        "safetensors with `images` u8 [n, height, width, 3] and `labels` [n]"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "safetensors"
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let DataSpec::Path { path, .. } = spec else {
            return Err(super::unknown_kind(spec));
        };
        let bytes = fs_err::read(path).map_err(|source| file_error(path, source))?;
        read(path, &bytes).map(Content::Images)
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        let folder = TensorFolder::open(path_of(spec)?).ok()?;
        Some(Extent::of_images(
            folder.info("images")?.shape.first().copied()?,
        ))
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<ImageSet, DataError> {
    let wrong = |key: &str, expected: &str, found: String| DataError::Content {
        path: path.to_owned(),
        key: key.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| wrong("header", "a safetensors file", error.to_string()))?;
    let tensor = |name: &str, expected: &str| {
        file.tensor(name)
            .map_err(|error| wrong(name, expected, error.to_string()))
    };

    let expected = "U8 [n, height, width, 3]";
    let images = tensor("images", expected)?;
    let (Dtype::U8, &[count, height, width, 3]) = (images.dtype(), images.shape()) else {
        return Err(wrong("images", expected, describe(&images)));
    };
    let side = |pixels| {
        u32::try_from(pixels).map_err(|_| wrong("images", "sides below 2^32", describe(&images)))
    };
    let size = [side(height)?, side(width)?];
    if count == 0 {
        return Err(DataError::NoRows {
            origin: path.display().to_string(),
        });
    }

    let expected = format!("U8, I32 or I64 [{count}] of class numbers");
    let labels = tensor("labels", &expected)?;
    if labels.shape() != [count] {
        return Err(wrong("labels", &expected, describe(&labels)));
    }
    let numbers = class_numbers(&labels).ok_or_else(|| {
        wrong(
            "labels",
            &expected,
            format!("{}, or a negative one", describe(&labels)),
        )
    })?;
    Ok(ImageSet::from_pixels(
        path,
        images.data().to_vec(),
        size,
        numbers,
    ))
}

fn class_numbers(labels: &TensorView<'_>) -> Option<Vec<usize>> {
    let data = labels.data();
    match labels.dtype() {
        Dtype::U8 => Some(data.iter().map(|&number| usize::from(number)).collect()),
        Dtype::I32 => {
            let (numbers, _) = data.as_chunks::<4>();
            numbers
                .iter()
                .map(|&n| usize::try_from(i32::from_le_bytes(n)).ok())
                .collect()
        }
        Dtype::I64 => {
            let (numbers, _) = data.as_chunks::<8>();
            numbers
                .iter()
                .map(|&n| usize::try_from(i64::from_le_bytes(n)).ok())
                .collect()
        }
        _ => None,
    }
}

fn describe(tensor: &TensorView<'_>) -> String {
    format!("{:?} {:?}", tensor.dtype(), tensor.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn file(images: (&[usize], &[u8]), labels: &[i64]) -> Vec<u8> {
        let labels_data: Vec<u8> = labels.iter().flat_map(|n| n.to_le_bytes()).collect();
        let images = TensorView::new(Dtype::U8, images.0.to_vec(), images.1).unwrap();
        let labels = TensorView::new(Dtype::I64, vec![labels.len()], &labels_data).unwrap();
        let tensors = BTreeMap::from([("images", images), ("labels", labels)]);
        safetensors::serialize(tensors, None).unwrap()
    }

    #[test]
    fn images_and_labels_are_paired() {
        let pixels: Vec<u8> = (0..24).collect();
        let bytes = file((&[2, 2, 2, 3], &pixels), &[7, 1]);
        let set = read(Path::new("x.safetensors"), &bytes).unwrap();
        assert_eq!(set.labels(), [7, 1]);
        assert!(set.classes().is_empty());
        assert_eq!(set.image(1).unwrap().pixels, pixels[12..]);
    }

    #[test]
    fn other_shapes_and_negative_labels_are_refused() {
        let bytes = file((&[2, 3, 2, 2], &[0; 24]), &[7, 1]);
        let error = read(Path::new("x.safetensors"), &bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`x.safetensors`: `images`: expected U8 [n, height, width, 3], found U8 [2, 3, 2, 2]"
        );
        let bytes = file((&[1, 1, 1, 3], &[0; 3]), &[-1]);
        assert!(read(Path::new("x.safetensors"), &bytes).is_err());
        assert!(read(Path::new("x.safetensors"), b"junk").is_err());
    }
}
