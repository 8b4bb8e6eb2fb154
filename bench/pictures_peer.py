"""Small pictures in every format that is read, encoded, decoded, composited and resized by Pillow and NumPy.

Run with NumPy and Pillow:

    python bench/pictures_peer.py

It writes crates/tweedie/tests/fixtures/pictures.json: for each picture the file in base64, the size to resize to if any,
and the bytes that come out, channel by channel. The unit tests of `tweedie::data` read that file. Lossy formats and
resizing leave decoders some freedom, hence a tolerance in levels.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/pictures.json"
random = np.random.default_rng(20250311)
cases = []


def noise(height, width, channels):
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 5 + y / 9), np.cos(x / 7 - y / 6), np.sin((x + y) / 8)]
    return np.rint(128 + 100 * np.stack(waves, -1)).astype(np.uint8)


def encoded(picture, form, **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def on_white(values, alpha):
    values, alpha = values.astype(np.float64), alpha.astype(np.float64)
    return np.rint((values * alpha + 255 * (255 - alpha)) / 255).astype(np.uint8)


def case(name, file, pixels, tolerance=0, size=None):
    pixels = np.asarray(pixels)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = pixels.shape
    cases.append(
        {
            "name": name,
            "file": base64.b64encode(file).decode(),
            "size": size,
            "tolerance": tolerance,
            "shape": [channels, height, width],
            "pixels": pixels.transpose(2, 0, 1).ravel().tolist(),
        }
    )


colour, grey = noise(4, 5, 3), noise(4, 5, 1)
case("colour.png", encoded(Image.fromarray(colour), "PNG"), colour)
case("grey.png", encoded(Image.fromarray(grey[..., 0]), "PNG"), grey)
deep = random.integers(0, 65536, (3, 6), dtype=np.uint16)
case("deep.png", encoded(Image.fromarray(deep), "PNG"), np.rint(deep / 257).astype(np.uint8))
bits = random.integers(0, 2, (5, 9)).astype(bool)
case("bits.png", encoded(Image.fromarray(bits), "PNG"), 255 * bits.astype(np.uint8))
alpha = noise(4, 5, 1)
both = Image.fromarray(np.concatenate([colour, alpha], -1))
case("alpha.png", encoded(both, "PNG"), on_white(colour, alpha))
case("alpha.webp", encoded(both, "WEBP", lossless=True, exact=True), on_white(colour, alpha))
both = Image.fromarray(np.concatenate([grey, alpha], -1), "LA")
case("grey-alpha.png", encoded(both, "PNG"), on_white(grey, alpha))
palette = noise(1, 4, 3)[0]
indices = random.integers(0, 4, (4, 5), dtype=np.uint8)
few = Image.fromarray(indices, "P")
few.putpalette(palette.ravel().tolist())
see_through = (indices == 2)[..., None]
expected = np.where(see_through, 255, palette[indices])
case("palette.png", encoded(few, "PNG", transparency=2), expected)

wave = Image.fromarray(smooth(24, 16))
for name, options in [("baseline.jpg", {}), ("progressive.JPEG", {"progressive": True})]:
    file = encoded(wave, "JPEG", quality=95, subsampling=0, **options)
    case(name, file, Image.open(io.BytesIO(file)), 2)
file = encoded(wave.convert("L"), "JPEG", quality=95)
case("grey.jpg", file, Image.open(io.BytesIO(file)), 2)
for turn in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = turn
    file = encoded(wave, "JPEG", quality=95, subsampling=0, exif=exif)
    case(f"turned-{turn}.jpg", file, ImageOps.exif_transpose(Image.open(io.BytesIO(file))), 2)
file = encoded(wave, "WEBP", quality=95)
case("lossy.webp", file, Image.open(io.BytesIO(file)).convert("RGB"), 6)

for height, width, size, tolerance in [(24, 16, 7, 1), (17, 31, 8, 1), (12, 12, 20, 1), (66, 90, 8, 2)]:
    # Pillow clips between its two passes, which shows where noise is enlarged; averaging areas first shows in noise too.
    shrunk = size < height < 8 * size
    picture = Image.fromarray(noise(height, width, 3) if shrunk else smooth(height, width))
    left, top, side = max(0, width - height) // 2, max(0, height - width) // 2, min(height, width)
    square = picture.crop((left, top, left + side, top + side))
    fitted = square.resize((size, size), Image.Resampling.LANCZOS)
    case(f"{height}x{width}-to-{size}.png", encoded(picture, "PNG"), fitted, tolerance, size)

# Formats without loss, in the kinds that cameras and old programs write. Palettes are read as colours.
colour, grey = noise(5, 7, 3), noise(5, 7, 1)
case("colour.bmp", encoded(Image.fromarray(colour), "BMP"), colour)
case("grey.bmp", encoded(Image.fromarray(grey[..., 0]), "BMP"), np.repeat(grey, 3, -1))
case("colour.tif", encoded(Image.fromarray(colour), "TIFF"), colour)
case("lzw.tiff", encoded(Image.fromarray(colour), "TIFF", compression="tiff_lzw"), colour)
case("deflate.tiff", encoded(Image.fromarray(colour), "TIFF", compression="tiff_adobe_deflate"), colour)
case("grey.tif", encoded(Image.fromarray(grey[..., 0]), "TIFF"), grey)
deep = random.integers(0, 65536, (3, 6), dtype=np.uint16)
case("deep.tif", encoded(Image.fromarray(deep), "TIFF"), np.rint(deep / 257).astype(np.uint8))
alpha = noise(5, 7, 1)
case("alpha.tif", encoded(Image.fromarray(np.concatenate([colour, alpha], -1)), "TIFF"), on_white(colour, alpha))
palette, indices = noise(1, 4, 3)[0], random.integers(0, 4, (4, 5), dtype=np.uint8)
few = Image.fromarray(indices, "P")
few.putpalette(palette.ravel().tolist())
case("palette.gif", encoded(few, "GIF", optimize=False), palette[indices])
see_through = np.where((indices == 2)[..., None], 255, palette[indices])
case("see-through.gif", encoded(few, "GIF", optimize=False, transparency=2), see_through)
moving = [few, Image.fromarray(3 - indices, "P")]
moving[1].putpalette(palette.ravel().tolist())
file = encoded(moving[0], "GIF", optimize=False, save_all=True, append_images=moving[1:])
case("moving.gif", file, palette[indices])

versions = {"numpy": np.__version__, "pillow": PIL.__version__}
TARGET.write_text(json.dumps({"made_by": versions, "pictures": cases}) + "\n")
print(f"{len(cases)} pictures, {TARGET.stat().st_size} bytes")
