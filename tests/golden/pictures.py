"""Small pictures of every kind a browser meets, and what transformers' preprocessing makes of them."""

import hashlib
import io
import json
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

PREPROCESSORS = {
    "clip32": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    "odd": {"size": 35, "crop_size": 29, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.3]},
    "stretch": {"size": {"height": 30, "width": 41}, "resample": 2, "do_center_crop": False},
    "crop_only": {"do_resize": False, "crop_size": {"height": 33, "width": 51}},
    "decoded": {"do_resize": False, "do_center_crop": False, "do_normalize": False},
}
EXIF_ORIENTATION = 0x0112


def scene(width, height, seed):
    """A smooth gradient with a few hard-edged discs: what resampling and JPEG both find hard."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    pixels = np.stack([np.sin(x / width * 3 + c) * np.cos(y / height * 2 - c) * 100 + 128 for c in range(3)], axis=-1)
    for _ in range(4):
        centre = rng.uniform(0, [width, height])
        radius = rng.uniform(0.1, 0.3) * max(width, height)
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        pixels[inside] = rng.integers(0, 256, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def png16(path, pixels):
    """A 16-bit RGB PNG, which Pillow reads but does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def exif(orientation):
    tags = Image.Exif()
    tags[EXIF_ORIENTATION] = orientation
    return tags


def resampled_jpeg(path, subsampling, factors):
    """A JPEG whose luma sampling factors Pillow reads but does not write: another header on the same coded units."""
    buffer = io.BytesIO()
    Image.fromarray(scene(64, 64, 9)).save(buffer, "JPEG", quality=60, subsampling=subsampling)
    data = bytearray(buffer.getvalue())
    data[data.index(b"\xff\xc0") + 11] = factors
    path.write_bytes(data)


def draw(folder):
    """Writes the pictures; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb = Image.fromarray(scene(45, 34, 1))
    pixels = np.asarray(rgb)
    alpha = np.linspace(0, 255, 45).astype(np.uint8)[None].repeat(34, 0)
    rgb.save(folder / "rgb.png")
    Image.fromarray(scene(19, 83, 2)).save(folder / "tall.png")
    Image.fromarray(scene(111, 17, 3)).save(folder / "wide.png")
    Image.fromarray(scene(157, 120, 4)).save(folder / "large.png")
    Image.fromarray(scene(61, 190, 8)).save(folder / "tower.png")
    Image.fromarray(scene(3, 2, 5)).save(folder / "tiny.png")
    Image.fromarray(scene(1, 1, 6)).save(folder / "pixel.png")
    Image.fromarray(np.random.default_rng(7).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "noise.png")
    Image.fromarray(np.dstack([pixels, alpha])).save(folder / "rgba.png")
    rgb.convert("L").save(folder / "grey.png")
    Image.merge("LA", [rgb.convert("L"), Image.fromarray(alpha)]).save(folder / "grey_alpha.png")
    rgb.convert("1").save(folder / "bilevel.png")
    rgb.quantize(13).save(folder / "palette.png")
    rgb.quantize(13).save(folder / "palette_transparent.png", transparency=3)
    rgb.quantize(13).save(folder / "palette_alpha.png", transparency=bytes([0, 255, 128, 0]))
    rgb.convert("L").quantize(9).convert("L").save(folder / "grey_transparent.png", transparency=int(np.asarray(rgb.convert("L").quantize(9).convert("L"))[5, 5]))
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 251).save(folder / "grey16.png")
    png16(folder / "rgb16.png", pixels.astype(np.uint16) * 251 + 17)
    rgb.save(folder / "rotated.png", exif=exif(6))
    rgb.quantize(16).save(folder / "palette.gif")
    rgb.quantize(16).save(folder / "transparent.gif", transparency=2)
    rgb.quantize(16).save(folder / "animated.gif", save_all=True, append_images=[rgb.rotate(180).quantize(16)])
    rgb.save(folder / "lossless.webp", lossless=True)
    Image.fromarray(np.dstack([pixels, alpha])).save(folder / "rgba.webp", lossless=True, exact=True)
    rgb.save(folder / "lossy.webp", quality=80)
    rgb.save(folder / "photo.jpg", quality=90)
    rgb.save(folder / "photo444.jpg", quality=95, subsampling=0)
    rgb.save(folder / "photo422.jpg", quality=85, subsampling=1)
    resampled_jpeg(folder / "photo440.jpg", 1, 0x12)
    resampled_jpeg(folder / "photo411.jpg", 2, 0x41)
    rgb.save(folder / "progressive.jpg", quality=85, progressive=True)
    rgb.convert("L").save(folder / "grey.jpg", quality=85)
    rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=85)
    for orientation in range(1, 9):
        rgb.save(folder / f"exif{orientation}.jpg", quality=85, exif=exif(orientation))
    return sorted(path.name for path in folder.iterdir())


def load(path):
    """Upright; transparency is the processor's affair."""
    return ImageOps.exif_transpose(Image.open(path))


def process(picture, settings, aspect):
    """(8-bit picture `[height, width, 3]` before rescaling, pixel values `[3, height, width]`)."""
    kind, extra = (LlavaImageProcessorPil, {"do_pad": True}) if aspect == "pad" else (CLIPImageProcessorPil, {})
    bytes_only = kind(**{**settings, "do_rescale": False, "do_normalize": False}, **extra)(picture)["pixel_values"][0]
    values = kind(**settings, **extra)(picture)["pixel_values"][0]
    return np.ascontiguousarray(np.asarray(bytes_only, dtype=np.uint8).transpose(1, 2, 0)), np.asarray(values)


def case(folder, name, preprocessor, aspect="crop"):
    fitted, values = process(load(folder / name), PREPROCESSORS[preprocessor], aspect)
    flat = values.ravel()
    samples = {int(index): float(flat[index]) for index in np.linspace(0, flat.size - 1, 7).astype(int)}
    result = {"picture": name, "preprocessor": preprocessor, "aspect": aspect, "width": fitted.shape[1], "height": fitted.shape[0]}
    return result | {"sha256": hashlib.sha256(fitted.tobytes()).hexdigest(), "samples": samples}


def make(root):
    folder = root / "pictures"
    names = draw(folder)
    cases = [case(folder, name, "decoded") for name in names]
    cases += [case(folder, name, "clip32") for name in names if name.endswith("jpg")]
    for name in ["rgb.png", "tall.png", "wide.png", "large.png", "tower.png", "tiny.png", "pixel.png", "noise.png"]:
        cases += [case(folder, name, preprocessor) for preprocessor in ["clip32", "odd", "stretch", "crop_only"]]
        cases += [case(folder, name, preprocessor, "pad") for preprocessor in ["clip32", "odd"]]
    text = json.dumps({"preprocessors": PREPROCESSORS, "cases": cases}, indent=0)
    (root / "pictures.json").write_text(text + "\n")
