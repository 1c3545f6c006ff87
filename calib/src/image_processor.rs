//! From 8-bit images to the normalised pixels a vision model takes.

use crate::data::{DataError, Rgb};
use crate::json_file::{self, JsonFileError};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The steps of `preprocessor_config.json`, in the order transformers runs them.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    resize: Option<Size>,
    algorithm: ResizeAlg,
    /// Height and width of the part kept from the middle.
    crop: Option<[u32; 2]>,
    rescale: Option<f64>,
    /// Mean and standard deviation per channel.
    normalize: Option<[[f32; 3]; 2]>,
}

/// How large an image becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Exactly this height and width.
    Exact([u32; 2]),
    /// The shorter side becomes this, the ratio is kept.
    ShortestEdge(u32),
}

impl ImageProcessor {
    /// Reads `preprocessor_config.json` of a model folder.
    ///
    /// # Errors
    /// No such file, or a setting that is not supported.
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("preprocessor_config.json");
        let config = json_file::read(&path).map_err(|error| match error {
            JsonFileError::Read(source) => DataError::File {
                path: path.clone(),
                source,
            },
            error => DataError::Content {
                path: path.clone(),
                key: "file".to_owned(),
                expected: "JSON".to_owned(),
                found: error.to_string(),
            },
        })?;
        Self::from_config(&config, &path)
    }

    /// Reads the settings themselves; `origin` is named in errors.
    ///
    /// # Errors
    /// A setting that is missing or not supported.
    pub fn from_config(config: &Value, origin: &Path) -> Result<Self, DataError> {
        let settings = Settings { config, origin };
        let resize = settings.size()?;
        let crop = settings.crop()?;
        let rescale = settings.rescale()?;
        let normalize = settings.normalize()?;
        Ok(Self {
            resize,
            algorithm: settings.algorithm()?,
            crop,
            rescale,
            normalize,
        })
    }

    /// Pixels of one image, `[3, height, width]` row-major, and `[height, width]`.
    ///
    /// # Errors
    /// An image that cannot be resized, or is smaller than the crop.
    pub fn pixels(&self, image: &Rgb, origin: &str) -> Result<(Vec<f32>, [usize; 2]), DataError> {
        let resized = self.resized(image, origin)?;
        let cropped = self.cropped(resized, origin)?;
        let [height, width] = [cropped.height as usize, cropped.width as usize];
        let plane = height * width;
        let mut planes = vec![0.0; 3 * plane];
        for (position, pixel) in cropped.pixels.chunks_exact(3).enumerate() {
            for (channel, &value) in pixel.iter().enumerate() {
                planes[channel * plane + position] = self.scaled(channel, value);
            }
        }
        Ok((planes, [height, width]))
    }

    /// `(value * factor - mean) / std`, the product rounded to f32 first, as transformers does.
    fn scaled(&self, channel: usize, value: u8) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is meant")]
        let rescaled = self
            .rescale
            .map_or(f32::from(value), |f| (f64::from(value) * f) as f32);
        match &self.normalize {
            Some([mean, std]) => (rescaled - mean[channel]) / std[channel],
            None => rescaled,
        }
    }

    fn resized(&self, image: &Rgb, origin: &str) -> Result<Rgb, DataError> {
        let [height, width] = match self.resize {
            None => return Ok(image.clone()),
            Some(Size::Exact(sides)) => sides,
            Some(Size::ShortestEdge(edge)) => shortest_edge(image, edge),
        };
        if [height, width] == [image.height, image.width] {
            return Ok(image.clone());
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DataError::Image {
            path: PathBuf::from(origin),
            source,
        };
        let source = Image::from_vec_u8(
            image.width,
            image.height,
            image.pixels.clone(),
            PixelType::U8x3,
        )
        .map_err(|error| failed(Box::new(error)))?;
        let mut target = Image::new(width, height, PixelType::U8x3);
        Resizer::new()
            .resize(
                &source,
                &mut target,
                &ResizeOptions::new().resize_alg(self.algorithm),
            )
            .map_err(|error| failed(Box::new(error)))?;
        Ok(Rgb {
            height,
            width,
            pixels: target.into_vec(),
        })
    }

    fn cropped(&self, image: Rgb, origin: &str) -> Result<Rgb, DataError> {
        let Some([height, width]) = self.crop else {
            return Ok(image);
        };
        if height > image.height || width > image.width {
            return Err(DataError::Content {
                path: PathBuf::from(origin),
                key: "image".to_owned(),
                expected: format!("at least {height} x {width} pixels to crop from"),
                found: format!("{} x {}", image.height, image.width),
            });
        }
        let top = ((image.height - height) / 2) as usize;
        let left = ((image.width - width) / 2) as usize;
        let (stride, row) = (image.width as usize * 3, width as usize * 3);
        let rows = image
            .pixels
            .chunks_exact(stride)
            .skip(top)
            .take(height as usize);
        let pixels = rows
            .flat_map(|line| &line[left * 3..left * 3 + row])
            .copied()
            .collect();
        Ok(Rgb {
            height,
            width,
            pixels,
        })
    }
}

/// Height and width with the shorter side `edge`; the longer one is truncated, as transformers does.
fn shortest_edge(image: &Rgb, edge: u32) -> [u32; 2] {
    let longer = |short: u32, long: u32| {
        let side = u64::from(edge) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(side).unwrap_or(u32::MAX)
    };
    if image.height <= image.width {
        [edge, longer(image.height, image.width)]
    } else {
        [longer(image.width, image.height), edge]
    }
}

/// The JSON with the name of its file.
struct Settings<'a> {
    config: &'a Value,
    origin: &'a Path,
}

impl Settings<'_> {
    fn flag(&self, key: &str, default: bool) -> bool {
        self.config
            .get(key)
            .and_then(Value::as_bool)
            .unwrap_or(default)
    }

    fn wrong(&self, key: &str, expected: &str) -> DataError {
        DataError::Content {
            path: self.origin.to_owned(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: self
                .config
                .get(key)
                .map_or_else(|| "nothing".to_owned(), Value::to_string),
        }
    }

    fn size(&self) -> Result<Option<Size>, DataError> {
        if !self.flag("do_resize", true) {
            return Ok(None);
        }
        self.sides("size")?
            .map(Some)
            .ok_or_else(|| self.wrong("size", "height and width, or shortest_edge"))
    }

    fn crop(&self) -> Result<Option<[u32; 2]>, DataError> {
        if !self.flag("do_center_crop", false) {
            return Ok(None);
        }
        match self.sides("crop_size")? {
            Some(Size::Exact(sides)) => Ok(Some(sides)),
            _ => Err(self.wrong("crop_size", "height and width")),
        }
    }

    fn rescale(&self) -> Result<Option<f64>, DataError> {
        if !self.flag("do_rescale", true) {
            return Ok(None);
        }
        match self.config.get("rescale_factor") {
            None | Some(Value::Null) => Ok(Some(1.0 / 255.0)),
            Some(factor) => match factor.as_f64() {
                Some(factor) => Ok(Some(factor)),
                None => Err(self.wrong("rescale_factor", "a number")),
            },
        }
    }

    fn normalize(&self) -> Result<Option<[[f32; 3]; 2]>, DataError> {
        if !self.flag("do_normalize", true) {
            return Ok(None);
        }
        Ok(Some([
            self.channels("image_mean")?,
            self.channels("image_std")?,
        ]))
    }

    /// A number, `{height, width}` or `{shortest_edge}`; `None` where the key is absent.
    fn sides(&self, key: &str) -> Result<Option<Size>, DataError> {
        let Some(value) = self.config.get(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let side = |value: Option<&Value>| {
            let pixels = value
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok());
            pixels.filter(|&pixels| pixels > 0)
        };
        if let Some(both) = side(Some(value)) {
            return Ok(Some(Size::Exact([both, both])));
        }
        if let (Some(height), Some(width)) = (side(value.get("height")), side(value.get("width"))) {
            return Ok(Some(Size::Exact([height, width])));
        }
        match (side(value.get("shortest_edge")), value.get("longest_edge")) {
            (Some(edge), None) => Ok(Some(Size::ShortestEdge(edge))),
            _ => Err(self.wrong(key, "height and width, or shortest_edge")),
        }
    }

    /// Pillow's numbers; its filters widen with the reduction, and so do these.
    fn algorithm(&self) -> Result<ResizeAlg, DataError> {
        let filter = match self.config.get("resample") {
            None | Some(Value::Null) => 2,
            Some(value) => value.as_u64().unwrap_or(u64::MAX),
        };
        Ok(ResizeAlg::Convolution(match filter {
            0 => return Ok(ResizeAlg::Nearest),
            1 => FilterType::Lanczos3,
            2 => FilterType::Bilinear,
            3 => FilterType::CatmullRom,
            4 => FilterType::Box,
            5 => FilterType::Hamming,
            _ => return Err(self.wrong("resample", "a Pillow filter, 0 to 5")),
        }))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the model computes in f32")]
    fn channels(&self, key: &str) -> Result<[f32; 3], DataError> {
        let error = || self.wrong(key, "three numbers");
        let values = self
            .config
            .get(key)
            .and_then(Value::as_array)
            .ok_or_else(error)?;
        let numbers: Option<Vec<f32>> = values
            .iter()
            .map(|value| value.as_f64().map(|number| number as f32))
            .collect();
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn processor(config: &Value) -> Result<ImageProcessor, DataError> {
        ImageProcessor::from_config(config, Path::new("preprocessor_config.json"))
    }

    fn half(size: &Value) -> Value {
        json!({ "do_resize": true, "size": size, "resample": 2, "do_rescale": true,
            "rescale_factor": 1.0 / 255.0, "do_normalize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5] })
    }

    #[test]
    fn channels_become_planes_between_minus_one_and_one() {
        let processor = processor(&half(&json!({ "height": 1, "width": 2 }))).unwrap();
        let image = Rgb {
            height: 1,
            width: 2,
            pixels: vec![0, 255, 51, 255, 0, 102],
        };
        let (pixels, sides) = processor.pixels(&image, "x").unwrap();
        assert_eq!(sides, [1, 2]);
        let expected = [-1.0, 1.0, 1.0, -1.0, -0.6, -0.2];
        for (found, expected) in pixels.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    /// A ramp of 0, 10, .. 150, resized by Pillow 11 with each filter to 2 x 2.
    #[test]
    fn filters_reduce_as_pillow_does() {
        let pillow: [[f32; 4]; 6] = [
            [50., 70., 130., 150.],
            [27., 47., 103., 123.],
            [36., 52., 98., 114.],
            [29., 47., 103., 121.],
            [25., 45., 105., 125.],
            [28., 46., 104., 122.],
        ];
        let pixels = (0..16u8).flat_map(|i| [i * 10; 3]).collect();
        let image = Rgb {
            height: 4,
            width: 4,
            pixels,
        };
        for (filter, expected) in pillow.iter().enumerate() {
            let config = json!({ "size": 2, "resample": filter, "do_rescale": false, "do_normalize": false });
            let (pixels, _) = processor(&config).unwrap().pixels(&image, "x").unwrap();
            assert_eq!(pixels[..4], expected[..], "filter {filter}");
        }
    }

    #[test]
    fn the_middle_is_cropped_after_the_shorter_side_is_set() {
        let mut config = half(&json!({ "shortest_edge": 4 }));
        config["do_center_crop"] = json!(true);
        config["crop_size"] = json!({ "height": 2, "width": 2 });
        let pixels = (0..32u8).flat_map(|i| [i; 3]).collect();
        let image = Rgb {
            height: 4,
            width: 8,
            pixels,
        };
        let processor = processor(&config).unwrap();
        let cropped = processor
            .cropped(processor.resized(&image, "x").unwrap(), "x")
            .unwrap();
        let corner: Vec<u8> = cropped.pixels.iter().step_by(3).copied().collect();
        assert_eq!(corner, [11, 12, 19, 20]);
    }

    #[test]
    fn settings_that_cannot_be_followed_are_refused() {
        assert!(processor(&json!({ "size": {"longest_edge": 5}, "do_normalize": false })).is_err());
        assert!(processor(&json!({ "do_resize": false, "image_mean": [0.5] })).is_err());
        let odd = json!({ "size": 5, "resample": 9, "do_normalize": false });
        let error = processor(&odd).unwrap_err().to_string();
        assert!(
            error.contains("`resample`: expected a Pillow filter, 0 to 5, found 9"),
            "{error}"
        );
    }
}
