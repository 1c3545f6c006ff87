//! Images for vision encoders: random, with the spectrum and the edges of photographs.

use crate::data::{Content, DataError, ImageSet, Sampler};
use crate::sampling::{generator, unit};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// How often discs cover an image before it counts as full.
const LAYERS: f64 = 4.0;
/// How much of a leaf's colour is hue instead of brightness: photographs vary mostly in brightness.
const CHROMA: f64 = 0.35;
/// Texture on leaves, relative to the contrast between them.
const TEXTURE: f64 = 0.35;

/// Dead leaves (Matheron 1968): discs of random grey and hue hide each other, radii r with a density
/// like 1 / r^3, which makes the picture look alike at every scale and gives it the 1 / f amplitude
/// spectrum and the edges of photographs (Ruderman 1997; Lee, Mumford & Huang 2001). On them lies a
/// texture with the same spectrum: octaves of noise of equal variance. Brightness and contrast vary
/// from image to image, and 8 bits cut what is too bright or too dark, as a camera does.
///
/// Images are made at the size the model was trained for and go through its image processor, so that
/// pixels get the range and normalisation it expects.
#[derive(Debug, Clone, Copy)]
pub struct ImageSampler {
    /// `[channels, height, width]`.
    image: [usize; 3],
}

impl ImageSampler {
    /// For a model of images `[channels, height, width]`.
    pub fn new(image: [usize; 3]) -> Self {
        Self { image }
    }
}

impl Sampler for ImageSampler {
    fn content(&mut self, count: usize, _length: usize, seed: u64) -> Result<Content, DataError> {
        let [channels, height, width] = self.image;
        if channels != 3 {
            return Err(DataError::NotADecoder {
                found: "takes images of other than three channels",
            });
        }
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let images: Vec<Vec<u8>> = (0..count)
            .into_par_iter()
            .map(|index| {
                let mut generator = generator("synthetic images", seed, index as u64);
                picture(height, width, &mut generator)
            })
            .collect();
        Ok(Content::Images(ImageSet::from_pixels(
            "synthetic".as_ref(),
            images.concat(),
            [side(height), side(width)],
            vec![0; count],
        )))
    }
}

/// One image `[height, width, 3]`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=255 first"
)]
fn picture(height: usize, width: usize, generator: &mut ChaCha8Rng) -> Vec<u8> {
    let brightness = 0.25 + 0.5 * unit(generator);
    let contrast = 0.4 + 0.6 * unit(generator);
    let leaves = leaves(height, width, generator);
    let texture = texture(height, width, generator);
    leaves
        .iter()
        .zip(&texture)
        .flat_map(|(colour, texture)| {
            colour.map(|value| {
                let value = brightness + contrast * (value + TEXTURE * texture);
                (value * 255.0).round().clamp(0.0, 255.0) as u8
            })
        })
        .collect()
}

/// A colour around 0: brightness -0.5 to 0.5, less hue.
fn colour(generator: &mut ChaCha8Rng) -> [f64; 3] {
    let grey = unit(generator) - 0.5;
    [0; 3].map(|_| grey + CHROMA * (unit(generator) - 0.5))
}

/// Discs over each other, a colour per pixel, row by row.
fn leaves(height: usize, width: usize, generator: &mut ChaCha8Rng) -> Vec<[f64; 3]> {
    let largest = height.max(width) as f64 / 2.0;
    let smallest = (largest / 32.0).max(1.0).min(largest);
    let mut pixels = vec![colour(generator); height * width];
    let goal = LAYERS * (height * width) as f64;
    let mut covered = 0.0;
    while covered < goal {
        // Inversion of the density r^-3 between the smallest and the largest radius.
        let [near, far] = [smallest, largest].map(|radius| radius.powi(-2));
        let radius = (near - unit(generator) * (near - far)).powf(-0.5);
        let centre = [height, width].map(|side| {
            // Centres lie outside, too, or borders would show more background.
            unit(generator) * (side as f64 + 2.0 * radius) - radius
        });
        let colour = colour(generator);
        for y in span(centre[0], radius, height) {
            let half = radius * radius - (y as f64 + 0.5 - centre[0]).powi(2);
            for x in span(centre[1], half.max(0.0).sqrt(), width) {
                pixels[y * width + x] = colour;
                covered += 1.0;
            }
        }
        // A disc wholly outside the pixels still counts, so that this ends.
        covered += 1.0;
    }
    pixels
}

/// The pixels of a line whose middles are within `reach` of `centre`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the line"
)]
fn span(centre: f64, reach: f64, side: usize) -> std::ops::Range<usize> {
    let pixel = |edge: f64| (edge + 0.5).floor().clamp(0.0, side as f64) as usize;
    pixel(centre - reach)..pixel(centre + reach)
}

/// Noise of equal variance per octave, each bilinear between the points of a grid; variance about 1.
fn texture(height: usize, width: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
    let side = height.max(width);
    let mut sum = vec![0.0; height * width];
    let mut octaves = 0.0_f64;
    let mut cells = 1;
    while cells < side {
        let points = cells + 2;
        // Uniform of variance 1; a random shift hides the grid.
        let grid: Vec<f64> = (0..points * points)
            .map(|_| (unit(generator) - 0.5) * 12.0_f64.sqrt())
            .collect();
        let shift = [unit(generator), unit(generator)];
        let place = |pixel: usize, shift: f64| {
            let at = pixel as f64 * cells as f64 / side as f64 + shift;
            (at.floor(), at.fract())
        };
        for y in 0..height {
            let (row, down) = place(y, shift[0]);
            for x in 0..width {
                let (column, right) = place(x, shift[1]);
                sum[y * width + x] += bilinear(&grid, points, [row, column], [down, right]);
            }
        }
        octaves += 1.0;
        cells *= 2;
    }
    // Between grid points bilinear noise has 4/9 of their variance on average.
    let scale = (octaves.max(1.0) * 4.0 / 9.0).sqrt().recip();
    sum.iter().map(|value| value * scale).collect()
}

/// The value between four points of a grid of `points` per line.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole numbers within the grid"
)]
fn bilinear(grid: &[f64], points: usize, corner: [f64; 2], fraction: [f64; 2]) -> f64 {
    let first = corner[0] as usize * points + corner[1] as usize;
    let [down, right] = fraction;
    let line = |start: usize| grid[start] * (1.0 - right) + grid[start + 1] * right;
    line(first) * (1.0 - down) + line(first + points) * down
}
