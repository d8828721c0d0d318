//! Files to RGB, with the result of Pillow's `Image.open(f).convert("RGB")`.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::LimitErrorKind;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{ImageError, Rgb, gif, jpeg};
use crate::files::require_regular;

/// The largest image decoded, in pixels: where Pillow stops with a
/// `DecompressionBombError` (twice its `MAX_IMAGE_PIXELS`).
pub const MAX_PIXELS: usize = 178_956_970;

/// The longest side decoded. Resizing needs memory for one side of the input times
/// the other of the output.
pub(super) const MAX_SIDE: u64 = 1 << 18;

/// Bytes a decoder may allocate: an image of [`MAX_PIXELS`] with 16-bit alpha.
const MAX_ALLOC: u64 = MAX_PIXELS as u64 * 8;

/// Reads and decodes a file; see [`decode_bytes`].
pub fn decode_file(path: impl AsRef<Path>) -> Result<Rgb, ImageError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    match require_regular(path).and_then(|()| std::fs::read(path)) {
        Ok(bytes) => decode_bytes(&bytes, &name),
        Err(source) => Err(ImageError::Read { name, source }),
    }
}

/// Decodes JPEG, PNG, WebP, BMP or GIF (first frame), told apart by content.
///
/// Alpha is dropped, not blended; palettes, grey and bilevel are expanded; the
/// EXIF orientation is ignored. JPEG pixels are those of libjpeg-turbo to the
/// bit. A truncated file is an error, as in Pillow without
/// `LOAD_TRUNCATED_IMAGES`; so is damaged JPEG data, which Pillow lets pass.
/// `name` is only used in errors.
///
/// Known differences to Pillow: values of 16-bit BMP differ by up to 1, GIF
/// frames are cut at the logical screen, and transparent 16-bit grey keeps its
/// upper eight bits.
pub fn decode_bytes(bytes: &[u8], name: &str) -> Result<Rgb, ImageError> {
    let name = name.to_owned();
    if bytes.is_empty() {
        return Err(ImageError::Empty { name });
    }
    let Ok(format) = image::guess_format(bytes) else {
        return Err(ImageError::NotAnImage { name });
    };
    // The decoders are fuzzed, but one odd file must not end a run.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        ImageFormat::Jpeg => {
            jpeg::decode(bytes, MAX_PIXELS).map_err(|fault| jpeg_error(fault, name.clone()))
        }
        ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp | ImageFormat::Gif => {
            decode_other(bytes, format, &name)
        }
        _ => Err(ImageError::Unsupported { name: name.clone(), what: label(format) }),
    }));
    let panicked = |_| Err(ImageError::Damaged { name, reason: "its decoder gave up".to_owned() });
    decoded.unwrap_or_else(panicked)
}

fn jpeg_error(fault: jpeg::Fault, name: String) -> ImageError {
    match fault {
        jpeg::Fault::Truncated => ImageError::Truncated { name },
        jpeg::Fault::Damaged(reason) => ImageError::Damaged { name, reason: reason.to_owned() },
        jpeg::Fault::Unsupported(what) => ImageError::Unsupported { name, what: what.to_owned() },
        jpeg::Fault::TooLarge(width, height) => {
            ImageError::TooLarge { name, width: width as u64, height: height as u64 }
        }
    }
}

/// Everything but JPEG.
fn decode_other(bytes: &[u8], format: ImageFormat, name: &str) -> Result<Rgb, ImageError> {
    let fault = |error| image_error(error, format, name);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    let (wide, high) = (u64::from(width), u64::from(height));
    if wide * high > MAX_PIXELS as u64 || wide.max(high) > MAX_SIDE {
        return Err(ImageError::TooLarge { name: name.to_owned(), width: wide, height: high });
    }
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(fault)?;
    if let (ImageFormat::Gif, Some(colour)) = (format, gif::uncovered(bytes)) {
        fill_transparent(&mut pixels, colour);
    }
    let rgb = Rgb::new(width as usize, height as usize, drop_alpha(pixels));
    rgb.filter(|rgb| !rgb.data.is_empty()).ok_or_else(|| ImageError::Damaged {
        name: name.to_owned(),
        reason: "it has no pixels".to_owned(),
    })
}

fn fill_transparent(pixels: &mut DynamicImage, [r, g, b]: [u8; 3]) {
    if let DynamicImage::ImageRgba8(pixels) = pixels {
        pixels.pixels_mut().filter(|p| p.0[3] == 0).for_each(|p| p.0 = [r, g, b, 0]);
    }
}

/// Pixels as Pillow converts them. Of 16 bits it keeps the upper eight, but
/// plain 16-bit grey is cut at 255, so that most of it is white.
fn drop_alpha(image: DynamicImage) -> Vec<u8> {
    let upper = |v: u16| (v >> 8) as u8;
    match image {
        DynamicImage::ImageLuma16(p) => p.iter().flat_map(|&v| [v.min(255) as u8; 3]).collect(),
        DynamicImage::ImageLumaA16(p) => p.pixels().flat_map(|p| [upper(p.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(p) => p.iter().map(|&v| upper(v)).collect(),
        DynamicImage::ImageRgba16(p) => {
            p.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(upper)).collect()
        }
        image => image.into_rgb8().into_raw(),
    }
}

fn image_error(error: image::ImageError, format: ImageFormat, name: &str) -> ImageError {
    let name = name.to_owned();
    match error {
        image::ImageError::Unsupported(_) => {
            ImageError::Unsupported { name, what: format!("this kind of {}", label(format)) }
        }
        image::ImageError::Limits(e) if matches!(e.kind(), LimitErrorKind::InsufficientMemory) => {
            ImageError::Damaged { name, reason: "it asks for too much memory".to_owned() }
        }
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { name }
        }
        error => {
            // Messages of decoders may span lines.
            let text = error.to_string();
            let reason = text.split_whitespace().collect::<Vec<_>>().join(" ");
            ImageError::Damaged { name, reason }
        }
    }
}

fn label(format: ImageFormat) -> String {
    format.extensions_str().first().unwrap_or(&"this format").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, Rgba};

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.into().write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    fn rgba() -> ImageBuffer<Rgba<u8>, Vec<u8>> {
        ImageBuffer::from_fn(5, 4, |x, y| Rgba([x as u8 * 50, y as u8 * 60, 7, x as u8]))
    }

    fn message(bytes: &[u8]) -> String {
        decode_bytes(bytes, "dog.jpg").unwrap_err().to_string()
    }

    #[test]
    fn alpha_is_dropped() {
        let image = decode_bytes(&encode(rgba(), ImageFormat::Png), "x").unwrap();
        assert_eq!((image.width, image.height), (5, 4));
        assert_eq!(image.data[3 * 7..3 * 8], [100, 60, 7]);
    }

    #[test]
    fn sixteen_bits_as_in_pillow() {
        let grey: ImageBuffer<Luma<u16>, Vec<u16>> =
            ImageBuffer::from_fn(2, 1, |x, _| Luma([200 + 300 * x as u16]));
        let image = decode_bytes(&encode(grey, ImageFormat::Png), "x").unwrap();
        assert_eq!(image.data, [200, 200, 200, 255, 255, 255]);
        let colour: ImageBuffer<image::Rgb<u16>, Vec<u16>> =
            ImageBuffer::from_fn(1, 1, |_, _| image::Rgb([0x12FF, 0x3400, 0xFFFF]));
        let image = decode_bytes(&encode(colour, ImageFormat::Png), "x").unwrap();
        assert_eq!(image.data, [0x12, 0x34, 0xFF]);
    }

    #[test]
    fn errors_name_the_file_in_one_line() {
        assert!(message(b"").starts_with("dog.jpg: the file is empty"));
        assert!(message(b"<html>sorry</html>").starts_with("dog.jpg: not an image"));
        assert!(message(b"II*\0 a camera's file").starts_with("dog.jpg: TIFF is not supported"));
        assert!(message(b"\xFF\xD8\xFF\xE0").starts_with("dog.jpg: the image is truncated"));
        let missing = decode_file("no/such/cat.png").unwrap_err().to_string();
        assert!(missing.starts_with("no/such/cat.png: cannot read"), "{missing}");
    }

    #[test]
    fn no_part_of_a_file_passes_for_the_whole() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP] {
            let whole = encode(rgba(), format);
            assert!(decode_bytes(&whole, "x").is_ok(), "{format:?}");
            // At the very end there is only padding, a checksum or an end mark.
            for end in 0..whole.len() - 4 {
                let text = message(&whole[..end]);
                assert!(text.starts_with("dog.jpg: ") && !text.contains('\n'), "{text}");
            }
        }
    }

    #[test]
    fn bombs_are_refused_by_their_header() {
        let mut bmp = encode(rgba(), ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
        assert!(
            message(&bmp).contains("60000 x 60000 pixels exceed the limit"),
            "{}",
            message(&bmp)
        );
        // Few pixels, but a line of them.
        let line = encode(ImageBuffer::<Luma<u8>, _>::new(1, 300_000), ImageFormat::Png);
        assert!(message(&line).contains("1 x 300000 pixels exceed"), "{}", message(&line));
        let jpeg = b"\xFF\xD8\xFF\xC0\0\x0B\x08\xEA\x60\xEA\x60\x01\x01\x11\0";
        assert!(message(jpeg).contains("60000 x 60000 pixels exceed the limit"));
    }
}
