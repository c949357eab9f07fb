"""The decode step: every kind of photo comes out upright, bounded and RGB; hostile bytes do not come out at all."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from support_glue import load_glue

decoding = load_glue("decode", "decoding")
headers = load_glue("decode", "headers")

LIMITS = decoding.Limits()
RED, BLUE = (200, 30, 30), (30, 30, 200)


def picture(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    """Red on the left half, blue on the right."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image.quantize(16, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def close_to(pixel: npt.NDArray[np.uint8], colour: tuple[int, ...], tolerance: int = 12) -> bool:
    return bool(np.abs(pixel.astype(int) - np.array(colour)).max() <= tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_common_formats_keep_size_and_colours(kind: str) -> None:
    pixels = decoding.decode(encoded(picture(), kind, quality=95), limits=LIMITS)
    assert pixels.shape == (40, 60, 3) and pixels.dtype == np.uint8
    assert close_to(pixels[20, 10], RED) and close_to(pixels[20, 50], BLUE)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF")]
)
def test_every_mode_becomes_rgb(mode: str, kind: str) -> None:
    pixels = decoding.decode(encoded(picture(mode=mode), kind), limits=LIMITS)
    assert pixels.shape == (40, 60, 3)
    if mode in ("CMYK", "P"):
        assert close_to(pixels[20, 10], RED, 25) and close_to(pixels[20, 50], BLUE, 25)
    else:
        assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = picture(mode=mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 30, 40))
    image.putalpha(alpha)
    pixels = decoding.decode(encoded(image, "PNG"), limits=LIMITS)
    assert (pixels[:, :30] == 255).all()
    assert (pixels[:, 30:] < 255).any()


def test_half_transparency_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (8, 8), (100, 0, 0, 128))
    pixels = decoding.decode(encoded(image, "PNG"), limits=LIMITS)
    assert close_to(pixels[4, 4], (177, 127, 127), 1)


def test_transparent_palette_lies_over_white() -> None:
    image = picture(mode="P")
    transparent = image.getpixel((0, 0))
    pixels = decoding.decode(encoded(image, "PNG", transparency=transparent), limits=LIMITS)
    assert (pixels[20, 10] == 255).all() and close_to(pixels[20, 50], BLUE, 25)


def test_transparent_webp_lies_over_white() -> None:
    pixels = decoding.decode(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "WEBP", lossless=True), limits=LIMITS)
    assert (pixels == 255).all()


def test_large_transparent_picture_does_not_darken_at_the_edge_of_transparency() -> None:
    image = Image.new("RGBA", (3000, 20), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 1501, 20))
    pixels = decoding.decode(encoded(image, "PNG"), limits=LIMITS)
    assert pixels.min() >= 254


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    values = np.tile(np.linspace(0, 65535, 50).astype(np.uint16), (10, 1))
    pixels = decoding.decode(encoded(Image.fromarray(values), "PNG"), limits=LIMITS)
    assert pixels[0, 0, 0] == 0 and pixels[0, -1, 0] == 255
    assert np.abs(pixels[0, :, 0].astype(int) - (values[0] >> 8)).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in (RED, BLUE, (0, 255, 0))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert close_to(decoding.decode(data, limits=LIMITS)[10, 15], RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    quarters = Image.new("RGB", (64, 32), RED)  # red top left, green top right, blue bottom left, black bottom right
    quarters.paste((0, 160, 0), (32, 0, 64, 16))
    quarters.paste(BLUE, (0, 16, 32, 32))
    quarters.paste((0, 0, 0), (32, 16, 64, 32))
    # Pillow's own transposition, undone, is how a camera would have stored the upright picture.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters.transpose(undo[orientation]) if orientation in undo else quarters
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoding.decode(encoded(stored, kind, exif=exif, quality=95), limits=LIMITS)
    assert pixels.shape == (32, 64, 3)
    assert close_to(pixels[8, 16], RED, 25) and close_to(pixels[8, 48], (0, 160, 0), 25)
    assert close_to(pixels[24, 16], BLUE, 25) and close_to(pixels[24, 48], (0, 0, 0), 25)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_spoil_the_photo() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffrubbish")
    assert decoding.decode(data, limits=LIMITS).shape == (40, 60, 3)


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (4096, 100), (1025, 700), (2500, 2500), (100, 3000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_shrink_to_the_longest_side_and_keep_their_shape(kind: str, width: int, height: int) -> None:
    pixels = decoding.decode(encoded(picture(width, height), kind), limits=LIMITS)
    assert max(pixels.shape[:2]) == 1024
    assert abs(pixels.shape[1] / pixels.shape[0] / (width / height) - 1) < 0.02 or min(pixels.shape[:2]) < 50
    middle = pixels.shape[0] // 2
    assert close_to(pixels[middle, pixels.shape[1] // 4], RED) and close_to(pixels[middle, -2], BLUE)


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = decoding.decode(encoded(Image.fromarray(stripes), "PNG"), limits=LIMITS)
    assert np.abs(pixels.astype(int) - 127).mean() < 12


def test_one_pixel_is_a_picture() -> None:
    pixels = decoding.decode(encoded(picture(1, 1), "PNG"), limits=LIMITS)
    square, frame = decoding.letterbox(pixels, size=320)
    assert square.shape == (1, 3, 320, 320) and frame[0, 0] == 320


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is no picture",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"RIFF\x10\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff",
        b"RIFF\x10\0\0\0WEBPwhat" + bytes(20),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff" + b"\xff" * 100,
        b"BM" + bytes(100),
        png_header(10, 10),
        png_header(0, 10),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    with pytest.raises(decoding.DecodeError) as caught:
        decoding.decode(data, limits=LIMITS)
    assert caught.value.reason == "IMAGE_UNREADABLE"
    assert str(caught.value).startswith("IMAGE_UNREADABLE: ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_pictures_are_refused_whole(kind: str, share: float) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(decoding.DecodeError, match="IMAGE_UNREADABLE"):
        decoding.decode(data[: int(len(data) * share)], limits=LIMITS)


def test_progressive_jpeg_truncated_is_refused() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG", progressive=True)
    assert decoding.decode(data, limits=LIMITS).shape == (120, 160, 3)
    with pytest.raises(decoding.DecodeError, match="IMAGE_UNREADABLE"):
        decoding.decode(data[: len(data) // 2], limits=LIMITS)


def test_too_many_bytes_are_refused_unseen() -> None:
    with pytest.raises(decoding.DecodeError) as caught:
        decoding.decode(b"x" * (20 * 1024 * 1024 + 1), limits=LIMITS)
    assert caught.value.reason == "IMAGE_TOO_LARGE"


def bombs() -> dict[str, bytes]:
    """Headers of 60,000 x 60,000 pixels (WebP cannot say more than 16,384 in most of its forms)."""
    jpeg = bytearray(encoded(picture(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    gif = bytearray(encoded(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    gif_frame = bytearray(encoded(picture(), "GIF"))
    at = gif_frame.index(b",\0\0\0\0")
    gif_frame[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    # Pillow allocates for a frame that will be disposed of while it opens the image; found by make fuzz.
    gif_disposed = gif_frame.replace(b",\0\0\0\0", b"!\xf9\x04\x0c\0\0\0\0,\0\0\0\0", 1)
    extended = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (59_999).to_bytes(3, "little") * 2 + bytes(20)
    lossless = b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f" + (16_383 | 16_383 << 14).to_bytes(4, "little") + bytes(20)
    lossy = (
        b"RIFF\x20\0\0\0WEBPVP8 \x10\0\0\0" + b"\x30\x01\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(9)
    )
    return {
        "png": png_header(60_000, 60_000),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "gif-frame": bytes(gif_frame),
        "gif-disposed": bytes(gif_disposed),
        "webp-extended": extended,
        "webp-lossless": lossless,
        "webp-lossy": lossy,
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_from_its_header_and_allocates_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs()[name]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    tracemalloc.start()
    with pytest.raises(decoding.DecodeError) as caught:
        decoding.decode(data, limits=LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason == "IMAGE_TOO_LARGE"
    assert peak < 1_000_000


def test_limits_are_settings() -> None:
    small = decoding.Limits(max_bytes=10_000, max_pixels=60 * 40 - 1, longest_side=1024)
    with pytest.raises(decoding.DecodeError, match="IMAGE_TOO_LARGE"):
        decoding.decode(encoded(picture(), "PNG"), limits=small)
    assert decoding.decode(encoded(picture(200, 100), "PNG"), limits=decoding.Limits(longest_side=50)).shape == (
        25,
        50,
        3,
    )


def test_letterbox_is_centred_and_its_frame_leads_back() -> None:
    pixels = np.full((100, 50, 3), 200, np.uint8)
    pixels[60:, :] = 10
    square, frame = decoding.letterbox(pixels, size=320)
    assert square.shape == (1, 3, 320, 320) and square.dtype == np.uint8 and frame.dtype == np.float32
    scale, pad_x, pad_y, width, height = frame[0].tolist()
    assert (scale, pad_x, pad_y, width, height) == pytest.approx((3.2, 80, 0, 50, 100))
    assert (square[0, :, :, : int(pad_x)] == decoding.GREY).all()
    edge = np.argmin(np.diff(square[0, 0, :, 160].astype(int))) + 1
    assert (edge - pad_y) / scale == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_header_says_what_pillow_says(kind: str) -> None:
    for size in ((60, 40), (7, 300)):
        data = encoded(picture(*size), kind)
        assert headers.declared_size(data) == (kind, *size)
    if kind == "WEBP":
        alpha = encoded(picture(61, 43, "RGBA"), "WEBP")
        lossless = encoded(picture(61, 43), "WEBP", lossless=True)
        assert headers.declared_size(alpha) == headers.declared_size(lossless) == ("WEBP", 61, 43)


@pytest.mark.filterwarnings("ignore")
def test_no_random_bytes_break_out() -> None:
    """Whatever happens to a photo's bytes, the answer is a picture within bounds or a DecodeError."""
    random = np.random.default_rng(11)
    originals = [encoded(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")]
    small = decoding.Limits(max_pixels=100_000)
    for round_ in range(400):
        data = bytearray(originals[round_ % 4])
        for _ in range(random.integers(1, 12)):
            data[random.integers(0, len(data))] = random.integers(0, 256)
        try:
            pixels = decoding.decode(bytes(data), limits=small)
        except decoding.DecodeError:
            continue
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and max(pixels.shape[:2]) <= 1024


def scanned(times: int, *, width: int, height: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = encoded(Image.new("L", (width, height), 200), "JPEG", progressive=True)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    return bytes(whole[:-2] + last * (times - headers.jpeg_scans(whole)) + whole[-2:])


def test_scans_are_counted_as_the_decoder_meets_them() -> None:
    assert headers.jpeg_scans(encoded(picture(), "JPEG")) == 1
    assert headers.jpeg_scans(encoded(picture(), "JPEG", progressive=True)) == 10
    assert headers.jpeg_scans(scanned(57, width=60, height=40)) == 57
    plain = encoded(picture(), "JPEG")
    comment = b"\xff\xfe\x00\x08" + b"\xff\xda\xff\xd9\xff\xda"
    assert headers.jpeg_scans(plain[:2] + comment + plain[2:]) == 1  # what a comment holds is neither begin nor end
    assert headers.jpeg_scans(plain + b"\xff\xda" * 100) == 1  # nor what a phone hangs behind its photo
    assert headers.jpeg_scans(b"\xff\xd8\xff") == 0


def test_a_jpeg_that_is_all_work_and_no_picture_is_refused() -> None:
    """20 MiB of such scans of 49 megapixels would take more than two hours."""
    with pytest.raises(decoding.DecodeError, match="IMAGE_TOO_LARGE: the JPEG goes over its pixels too many times"):
        decoding.decode(scanned(40, width=7000, height=7000), limits=LIMITS)
    assert decoding.decode(scanned(40, width=600, height=400), limits=LIMITS).shape == (400, 600, 3)
