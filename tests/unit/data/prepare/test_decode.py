"""Any image file to upright RGB: compared with PIL, and with arrays written out."""

import io

import numpy as np
import pytest
from PIL import Image

from ferbench.data.prepare.decode import decode_face

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (10, 20, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


TURNS = {
    1: COLOURS,
    2: COLOURS[:, ::-1],
    3: COLOURS[::-1, ::-1],
    4: COLOURS[::-1],
    5: COLOURS.transpose(1, 0, 2),
    6: np.rot90(COLOURS, -1),
    7: COLOURS[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(COLOURS, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_turns_images_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    face = decode_face(encoded(Image.fromarray(COLOURS), kind, exif=exif))
    assert np.array_equal(np.asarray(face.image), TURNS[orientation])
    assert face.converted == ("" if orientation == 1 else "EXIF")


def test_a_turned_image_is_cut_as_it_is_stored_and_its_box_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    face = decode_face(encoded(Image.fromarray(COLOURS), exif=exif), box=(2, 1, 8, 6), crop=0.0)
    assert np.array_equal(np.asarray(face.image), np.rot90(COLOURS[1:6, 2:8], -1))
    assert face.box is None
    with pytest.raises(ValueError, match="save the image upright"):  # Pillow turns a TIFF before it can be cut
        decode_face(encoded(Image.fromarray(COLOURS), "TIFF", exif=exif), box=(2, 1, 8, 6), crop=0.0)


def test_grey_of_8_bits_in_32_keeps_its_levels() -> None:
    levels = np.arange(200, dtype=np.int32).reshape(10, 20)
    pixels = np.asarray(decode_face(encoded(Image.fromarray(levels), "TIFF")).image)
    assert np.array_equal(pixels, np.repeat(levels[..., None], 3, 2))


def test_grey_of_16_bits_keeps_its_levels() -> None:
    levels = np.linspace(0, 65535, 200).astype(np.uint16).reshape(10, 20)
    pixels = np.asarray(decode_face(encoded(Image.fromarray(levels))).image)
    assert np.array_equal(pixels, np.repeat((levels / 257).round().astype(np.uint8)[..., None], 3, 2))


@pytest.mark.parametrize("level", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_levels_that_are_no_numbers_are_damage(level: float) -> None:
    levels = np.full((4, 4), 7, np.float32)
    levels[1, 2] = level
    with pytest.raises(ValueError, match="not a finite number"):
        decode_face(encoded(Image.fromarray(levels), "TIFF"))


def test_transparent_images_stand_on_white() -> None:
    alpha = np.zeros((10, 20, 1), np.uint8)
    alpha[:, 10:] = 255
    pixels = np.asarray(decode_face(encoded(Image.fromarray(np.concatenate([COLOURS, alpha], 2)))).image)
    assert (pixels[:, :10] == 255).all()
    assert np.array_equal(pixels[:, 10:], COLOURS[:, 10:])


def test_cmyk_photographs_keep_their_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30))
    pixels = np.asarray(decode_face(encoded(red.convert("CMYK"), "JPEG", quality=95)).image)
    assert np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize(("mode", "kind"), [("L", "grey"), ("1", "grey"), ("P", "palette"), ("RGBA", "transparent")])
def test_what_was_converted_is_told(mode: str, kind: str) -> None:
    face = decode_face(encoded(Image.fromarray(COLOURS).convert(mode)))
    assert (face.image.mode, face.converted) == ("RGB", kind)


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert (np.asarray(decode_face(content).image) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("margin", "cut", "box"),
    [
        (0.0, (slice(2, 8), slice(4, 14)), (0, 0, 10, 6)),
        (0.1, (slice(1, 9), slice(3, 15)), (1, 1, 11, 7)),
        (1.0, (slice(0, 10), slice(0, 20)), (4, 2, 14, 8)),
    ],
    ids=["tight", "wider", "beyond the image"],
)
def test_a_face_is_cut_out_with_its_margin(
    margin: float, cut: tuple[slice, slice], box: tuple[float, float, float, float]
) -> None:
    face = decode_face(encoded(Image.fromarray(COLOURS)), box=(4, 2, 14, 8), crop=margin)
    assert np.array_equal(np.asarray(face.image), COLOURS[cut])
    assert face.box == box


def test_a_box_outside_the_image_is_damage() -> None:
    with pytest.raises(ValueError, match="outside this image of 20 x 10 pixels"):
        decode_face(encoded(Image.fromarray(COLOURS)), box=(30, 2, 40, 8), crop=0.0)


def test_without_crop_the_box_stays() -> None:
    assert decode_face(encoded(Image.fromarray(COLOURS)), box=(4, 2, 14, 8)).box == (4, 2, 14, 8)


def test_a_file_that_would_start_another_program_is_not_opened() -> None:
    with pytest.raises(ValueError, match="are not an image"):
        decode_face(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_file_cut_short_anywhere_is_damage(cut: int) -> None:
    content = encoded(Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)), "JPEG")
    with pytest.raises((ValueError, OSError, SyntaxError)):
        decode_face(content[:cut])
