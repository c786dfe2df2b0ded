"""Decode the bytes of an image file to RGB pixels."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

UNDECODABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Supported formats. Others are not opened; for one of them PIL would call Ghostscript."""
BEHIND = (255, 255, 255)
"""Background colour of transparent images."""
CONVERTED = {
    "1": "grey",
    "L": "grey",
    "LA": "grey",
    "P": "palette",
    "CMYK": "CMYK",
    "RGBA": "transparent",
    "F": "16-bit",
}
TURNED = range(2, 9)
"""EXIF orientations of images that must be rotated or mirrored."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A decoded RGB image, the face box in its pixels, and the kind it was converted from (empty for RGB)."""

    image: Image.Image
    box: Box | None
    converted: str


def decode_face(content: bytes, box: Box | None = None, crop: float | None = None) -> Face:
    """Decode an image to upright RGB; with `crop`, only its box, enlarged on each side by this fraction of the side.

    A box is in stored pixels, before an EXIF orientation is applied; boxes of rotated images are dropped. Decodes the
    first frame of a file with several. Raises one of `UNDECODABLE`.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise ValueError(f"{opened.width} x {opened.height} pixels are more than the limit for an image")
            return rgb_face(opened, box, crop)
    except UnidentifiedImageError:
        raise ValueError(f"these {len(content)} bytes are not an image") from None
    except UNDECODABLE:
        raise
    except Exception as error:  # malicious bytes can make a decoder raise anything
        raise ValueError(f"cannot be decoded ({type(error).__name__}: {error})") from None


def rgb_face(picture: Image.Image, box: Box | None = None, crop: float | None = None) -> Face:
    """Convert an opened picture as `decode_face` does: RGB, upright, with `crop` only its box."""
    converted = CONVERTED.get(picture.mode, "16-bit" if picture.mode.startswith("I") else "")
    turned = _orientation(picture) in TURNED
    image = picture
    if box is not None and crop is not None:
        if turned and picture.format == "TIFF":  # Pillow turns it while it loads, and the box is in stored pixels
            raise ValueError("a TIFF with an EXIF orientation has a face box; save the image upright, with its box")
        image, box = _cut(picture, box, crop)
    image = _rgb(ImageOps.exif_transpose(image) if turned else image)
    return Face(image, None if turned else box, "EXIF" if turned else converted)


def resized(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The image resized to pixels (size, size, 3) uint8."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _orientation(image: Image.Image) -> int:
    # Only TIFF stores it elsewhere. Asking for missing EXIF data would take a thirtieth of the decoding time.
    has = "exif" in image.info or image.format == "TIFF"
    return int(image.getexif().get(ExifTags.Base.Orientation, 1)) if has else 1


def _cut(image: Image.Image, box: Box, margin: float) -> tuple[Image.Image, Box]:
    x0, y0, x1, y1 = box
    wider, higher = margin * (x1 - x0), margin * (y1 - y0)
    left, top = max(0, round(x0 - wider)), max(0, round(y0 - higher))
    right, bottom = min(image.width, round(x1 + wider)), min(image.height, round(y1 + higher))
    if left >= right or top >= bottom:
        raise ValueError(f"the face box {box} is outside this image of {image.width} x {image.height} pixels")
    return image.crop((left, top, right, bottom)), (x0 - left, y0 - top, x1 - left, y1 - top)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image).astype(np.float64)
        if not np.isfinite(levels).all():
            raise ValueError("a pixel is not a finite number")
        high = max(float(levels.max()), 1.0) if image.mode == "F" else 65535
        if image.mode == "I" and levels.max() <= 255:  # 8-bit values in 32-bit integers
            high = 255
        return Image.fromarray((levels.clip(0, high) * (255 / high)).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, BEHIND)
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
