//! One image file, decoded as its author saw it: upright, and all of it.

use super::{DataError, Rgb};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use quantizers::formats::is_lfs_pointer;
use std::io::Cursor;
use std::path::Path;

/// Decodes a PNG or JPEG, turned as its EXIF orientation says.
///
/// # Errors
/// A file that cannot be read, is no image, or ends before its last pixels.
pub(super) fn decode(path: &Path) -> Result<Rgb, DataError> {
    let bytes = fs_err::read(path).map_err(|source| DataError::File {
        path: path.to_owned(),
        source,
    })?;
    let failed = |source: image::ImageError| DataError::Image {
        path: path.to_owned(),
        source: Box::new(source),
    };
    if is_lfs_pointer(&bytes) {
        return Err(DataError::LfsPointer {
            path: path.to_owned(),
        });
    }
    let reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(|error| failed(error.into()))?;
    // The decoder fills what is missing of a JPEG with grey.
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_whole(&bytes) {
        return Err(DataError::CutShort {
            path: path.to_owned(),
        });
    }
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    Ok(Rgb {
        height: image.height(),
        width: image.width(),
        pixels: image.into_raw(),
    })
}

/// Whether the data of a JPEG run to its end-of-image marker. Thumbnails inside of segments are skipped with them.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    // Markers: FF and a code; those of segments are followed by a length that counts itself.
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut at = 2;
    let mut scanning = false;
    while let Some(&byte) = bytes.get(at) {
        let marker = bytes.get(at + 1).copied();
        match (byte, marker) {
            (0xff, Some(END)) => return scanning,
            // A fill byte, a stuffed zero, a restart, or another start of image: no segment.
            (0xff, Some(0xff)) => at += 1,
            (0xff, Some(0x00 | 0x01 | 0xd0..=0xd8)) => at += 2,
            (0xff, Some(marker)) => {
                let length = [bytes.get(at + 2).copied(), bytes.get(at + 3).copied()];
                let [Some(high), Some(low)] = length else {
                    return false;
                };
                scanning |= marker == SCAN;
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
            // Data of a scan; between segments there is nothing else.
            _ => at += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    /// 16 x 8: the left half white, the right black.
    fn pixels() -> Vec<u8> {
        (0..16 * 8)
            .flat_map(|at| [if at % 16 < 8 { 255 } else { 0 }; 3])
            .collect()
    }

    fn jpeg(orientation: Option<u16>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
        if let Some(orientation) = orientation {
            // A little-endian TIFF header, one entry: tag 0x0112, one short.
            let mut exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
            exif.extend(orientation.to_le_bytes());
            exif.extend([0; 6]);
            encoder.set_exif_metadata(exif).unwrap();
        }
        encoder
            .write_image(&pixels(), 16, 8, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Rgb, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        fs_err::write(&path, bytes).unwrap();
        decode(&path)
    }

    #[test]
    fn the_orientation_of_a_photo_is_applied() {
        let plain = decoded(&jpeg(None)).unwrap();
        assert_eq!((plain.height, plain.width), (8, 16));
        // Tag 6: the first row is the right side, so the left half goes to the top.
        let turned = decoded(&jpeg(Some(6))).unwrap();
        assert_eq!((turned.height, turned.width), (16, 8));
        assert!(turned.pixels[0] > 250 && turned.pixels[turned.pixels.len() - 1] < 5);
        // Tag 3: upside down.
        let over = decoded(&jpeg(Some(3))).unwrap();
        assert!(over.pixels[0] < 5);
    }

    #[test]
    fn a_photo_that_is_cut_short_is_an_error() {
        let whole = jpeg(Some(1));
        for share in 1..8 {
            let error = decoded(&whole[..whole.len() * share / 8]);
            assert!(error.is_err(), "{share}/8");
        }
        assert!(matches!(
            decoded(&whole[..whole.len() - 2]),
            Err(DataError::CutShort { .. })
        ));
        let with_more = [&whole[..], b"more"].concat();
        assert!(decoded(&with_more).is_ok());
    }

    #[test]
    fn a_png_that_is_cut_short_is_an_error() {
        let mut bytes = Cursor::new(Vec::new());
        image::RgbImage::from_raw(16, 8, pixels())
            .unwrap()
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        let bytes = bytes.into_inner();
        assert!(decoded(&bytes).is_ok());
        assert!(decoded(&bytes[..bytes.len() - 20]).is_err());
    }
}
