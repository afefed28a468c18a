# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from pali.config import PixelConfig
from pali.image import MAX_PIXELS, ImageError, decode_image, load_image, resize, upright_size


def file_bytes(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def two_halves(width=40, height=20, left=(200, 30, 10), right=(10, 60, 220)) -> Image.Image:
    image = Image.new("RGB", (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    return image


def empty_png(width: int, height: int) -> bytes:
    """A whole, valid PNG of black bits: a 30,000 x 30,000 one is 110 kB small."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    packer = zlib.compressobj()
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    image = two_halves()
    path = tmp_path / "a.png"
    image.save(path)
    expected = np.asarray(image)
    for source in (
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        image,
        expected,
    ):
        np.testing.assert_array_equal(decode_image(source), expected)
    floats = decode_image(expected / 255.0)
    np.testing.assert_array_equal(floats, expected)


@pytest.mark.parametrize(
    "kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG", "MPO", "AVIF", "JPEG2000"]
)
def test_formats(kind):
    pixels = decode_image(file_bytes(two_halves(), kind))
    assert pixels.shape == (20, 40, 3)
    assert pixels.dtype == np.uint8
    assert abs(int(pixels[10, 5, 0]) - 200) < 12
    assert abs(int(pixels[10, 35, 2]) - 220) < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = two_halves()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(file_bytes(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(pixels, np.asarray(upright))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", [None, 0, *range(1, 9), 77])
def test_the_upright_size_is_that_of_the_pixels(kind, orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture = Image.new("RGB", (7, 4))
    content = file_bytes(picture, kind, exif=exif)
    assert upright_size(content, "x") == decode_image(content).shape[:2]
    with pytest.raises(ImageError, match="x is not a picture but an empty file"):
        upright_size(b"", "x")


def test_broken_exif_does_not_cost_the_picture():
    content = file_bytes(two_halves(), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff")
    pixels = decode_image(content)
    assert upright_size(content, "x") == pixels.shape[:2]
    np.testing.assert_array_equal(pixels, np.asarray(two_halves()))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "YCbCr"])
def test_colour_modes_become_rgb(mode):
    image = two_halves(left=(255, 255, 255), right=(0, 0, 0)).convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    pixels = decode_image(file_bytes(image, kind))
    assert pixels.shape == (20, 40, 3)
    assert pixels[10, 5].min() > 235
    assert pixels[10, 35].max() < 20


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    pixels = decode_image(file_bytes(Image.fromarray(values)))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(256))


def test_16_bit_colour():
    """PIL cannot write such a PNG: written here by hand, 2 x 1 pixels."""
    row = b"\x00" + struct.pack(">6H", 65535, 32768, 0, 0, 257, 65535)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")):
        png += (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )
    assert decode_image(png).tolist() == [[[255, 128, 0], [0, 1, 255]]]


def test_float_tiff():
    values = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 1))
    np.testing.assert_array_equal(
        decode_image(file_bytes(Image.fromarray(values), "TIFF"))[0, :, 0], range(256)
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_white(mode):
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 2, 2))
    pixels = decode_image(image.convert(mode))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 3].tolist() == [255, 255, 255]


def test_palette_transparency_is_laid_over_white():
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.paste(1, (0, 0, 2, 2))
    pixels = decode_image(file_bytes(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 3].tolist() == [255, 255, 255]


def test_half_transparency_mixes():
    assert decode_image(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))[0, 0, 0] in (126, 127, 128)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_give_their_first_frame(kind):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    data = file_bytes(first, kind, save_all=True, append_images=[second], duration=100)
    pixels = decode_image(data)
    assert pixels[4, 4, 0] > 240
    assert pixels[4, 4, 2] < 15


def test_resize_is_antialiased():
    """Fine stripes average to grey; without antialiasing some would survive."""
    stripes = np.zeros((64, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 16)
    assert small.shape == (16, 16, 3)
    assert np.all(np.abs(small.astype(int) - 127) <= 4)


def test_resize_is_bilinear_with_half_pixel_centres():
    """Doubling 0, 100 by hand: pixel centres at 1/4 and 3/4 of the way, edges held."""
    image = np.repeat(np.array([[0], [100]], np.uint8)[:, :, None], 3, axis=2)
    image = np.repeat(image, 2, axis=1)
    assert resize(image, 4)[:, 0, 0].tolist() == [0, 25, 75, 100]


def test_resize_keeps_a_picture_of_the_right_size():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(resize(image, 4), image)


def test_load_image_squeezes_the_whole_picture_onto_a_square():
    pixels = load_image(two_halves(400, 100), 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels[4, 0].tolist() == [200, 30, 10]
    assert pixels[4, 7].tolist() == [10, 60, 220]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", [None, 1, 6, 9])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_loading_gives_the_pixels_of_decoding_and_then_resizing(mode, orientation, fit):
    noise = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)
    grey = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    image = grey if mode == "I;16" else Image.fromarray(noise).convert(mode)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "TIFF" if mode == "CMYK" else "PNG", exif=exif)
    pixels = PixelConfig(fit=fit)
    for size in (8, (40, 12), (23, 31)):
        expected = resize(decode_image(file.getvalue()), size, pixels)
        np.testing.assert_array_equal(load_image(file.getvalue(), size, pixels), expected)


def test_a_picture_that_is_given_stays_as_it_is():
    """Nothing is copied on the way, and what comes out can be written to."""
    image = two_halves()
    for pixels in (decode_image(image), load_image(image, (20, 40)), load_image(image, 8)):
        pixels[:] = 0
    assert image.tobytes() == two_halves().tobytes()
    array = np.array(two_halves())
    load_image(array, (20, 40))[:] = 0
    assert array.any()


# Bad input: each names the picture, says what is wrong, and is an ImageError.


def refused(source, name=None) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(source, name)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    message = refused(tmp_path / "holliday.jpg")
    assert "holliday.jpg: no such file; did you mean" in message
    assert message.endswith("holiday.jpg?")
    assert "there is no folder" in refused(tmp_path / "nowhere" / "a.png")


def test_folder_is_not_a_picture(tmp_path):
    assert "is a folder" in refused(tmp_path)


def test_unreadable_names():
    assert "cannot be read" in refused("a\0b.png")
    assert "download it first" in refused("https://example.org/dog.png")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello, I am no picture\n", "but a text file"),
        (b"", "but an empty file"),
        (b"<!DOCTYPE html><html><body>404", "but a web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (os.urandom(1) * 3 + b"\xff\xfe\xfd" * 50, "is not a picture; expected JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "but a text file"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, says):
    path = tmp_path / "fake.png"
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith(f"{path} is not a picture")
    assert says in message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("keep", [0.4, 0.9])
def test_truncated_files(kind, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = file_bytes(Image.fromarray(noise), kind)
    message = refused(data[: int(len(data) * keep)], "half.bin")
    assert message.startswith("half.bin")
    assert "cut short" in message or "not a picture" in message


def test_corrupted_png():
    data = bytearray(file_bytes(two_halves(300, 300)))
    data[len(data) // 2] ^= 0xFF
    assert "cannot be decoded" in refused(bytes(data), "x.png")


def test_decompression_bomb_is_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(empty_png(30_000, 30_000))
    message = refused(path)
    assert "huge.png is too large (900 megapixels; the limit is 178)" in message


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_itself_is_ours():
    """Between PIL's limit and ours PIL stays silent: our own check must be the one that speaks."""
    width = MAX_PIXELS // 1000 + 1
    message = refused(empty_png(width, 1000), "wide.png")
    assert f"{width} x 1000" in message
    assert "the limit is 178" in message


def test_arrays_that_are_no_pictures():
    assert "shape 3x8x8" in refused(np.zeros((3, 8, 8), np.uint8))
    assert "transpose" in refused(np.zeros((3, 8, 8), np.uint8))
    assert "shape 8x8x3x1" in refused(np.zeros((8, 8, 3, 1), np.uint8))
    assert "shape 0x8x3" in refused(np.zeros((0, 8, 3), np.uint8))
    assert "between 0 and 1" in refused(np.full((8, 8, 3), 200.0))
    assert "between 0 and 1" in refused(np.full((8, 8, 3), np.nan))
    assert "int32" in refused(np.zeros((8, 8, 3), np.int32))
    assert "is a dict" in refused({})


def test_a_pipe_is_read_to_its_end(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(file_bytes(two_halves())))
    writer.start()
    try:
        np.testing.assert_array_equal(decode_image(pipe), np.asarray(two_halves()))
    finally:
        writer.join()


def test_names_that_are_no_utf8_can_be_printed(tmp_path):
    message = refused(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    assert "caf\\xe9.png" in message
    message.encode("utf-8")


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), 1.0),
        (np.array([[0.0, 0.5, 1.0001]], np.float32), 1.0),
        (np.array([[np.nan, 0.5, 1.0]], np.float32), 1.0),
        (np.array([[np.inf, 0.5, 1.0]], np.float32), 1.0),
        (np.array([[0.0, 100.0, 200.0]], np.float32), 255.0),
        (np.array([[0.0, 30000.0, 60000.0]], np.float32), 65535.0),
        (np.array([[0, 30000, 60000]], np.int32), 65535.0),
    ],
)
def test_deep_grey_is_scaled_by_what_is_white_there(values, white):
    pixels = decode_image(Image.fromarray(values))[0, :, 0]
    expected = np.nan_to_num(np.clip(values[0] / white, 0, 1)) * 255
    np.testing.assert_allclose(pixels, expected, atol=0.6)


def test_grey_beyond_sixteen_bits_is_refused():
    deep = Image.fromarray(np.array([[0, 2**20]], np.int32))
    with pytest.raises(ImageError, match=r"grey values up to 1\.0\d*e\+06; save it with 8 or 16"):
        decode_image(deep)
