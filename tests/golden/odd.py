"""Odd and damaged pictures that browsers and Pillow show, and what Pillow shows: upright, on white."""

import hashlib
import io
import json
import struct
import zlib

import numpy as np
from PIL import Image

from pictures import EXIF_ORIENTATION, load, scene

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# ---- PNG ----

def chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png(pixels, colour, before=(), interlaced=False, end=True):
    """A PNG file of `[height, width, channels]`, big-endian where there are 16 bits; `before` the pixels come more chunks."""
    height, width = pixels.shape[:2]
    passes = [pixels[top::down, left::across] for left, top, across, down in ADAM7] if interlaced else [pixels]
    data = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(data, 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + (chunk(b"IEND", b"") if end else b"")


def before_end(data, *chunks):
    return data[:-12] + b"".join(chunks) + data[-12:]


def pngs(picture):
    pixels = np.asarray(picture)
    height, width, _ = pixels.shape
    y, x = np.mgrid[0:height, 0:width]
    disc = np.where(np.hypot(y - height / 2, x - width / 2) < 12, 255, 0)
    # The same red everywhere: all that can be seen is in the alpha channel.
    yield "same_colour.png", png(np.dstack([np.full_like(pixels, (220, 20, 20)), disc]).astype(np.uint8), 6)
    deep = (np.dstack([pixels, np.linspace(0, 255, width)[None].repeat(height, 0)]) * 257).astype(">u2")
    yield "rgba16.png", png(deep, 6)
    yield "grey_alpha16.png", png(deep[..., 2:], 4)
    grey = (pixels[..., 0].astype(np.uint16) * 2).astype(">u2")
    yield "grey16_transparent.png", png(grey, 0, [chunk(b"tRNS", np.sort(grey[grey < 256])[0].tobytes())])
    coarse = pixels // 64 * 64
    yield "rgb_transparent.png", png(coarse, 2, [chunk(b"tRNS", coarse[5, 5].astype(">u2").tobytes())])
    yield "no_end.png", png(pixels, 2, end=False)
    yield "interlaced_no_end.png", png(pixels, 2, interlaced=True, end=False)
    yield "narrow_interlaced_no_end.png", png(pixels[:, :1], 2, interlaced=True, end=False)
    yield "bad_after_pixels.png", png(pixels, 2, end=False) + b"\0\0\0\x09\xff\xfe\xfd\xfc\1"

    plain = saved(picture, "PNG")
    yield "xmp.png", before_end(plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    yield "xmp_packed.png", before_end(plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)))
    yield "exif_after_pixels.png", before_end(plain, chunk(b"eXIf", exif()))
    profile = b"\nexif\n%8d\n" % len(exif()) + exif().hex().encode() + b"\n"
    yield "exif_as_text.png", before_end(plain, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))


# ---- orientation ----

def exif(kind=3, count=1, value=b"\6\0\0\0"):
    """A little-endian EXIF block of one entry, the orientation."""
    return b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", EXIF_ORIENTATION, kind, count) + value + bytes(4)


def app1(body):
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def turned(picture):
    plain = saved(picture, "JPEG", quality=85)
    with_segments = lambda *bodies: plain[:2] + b"".join(map(app1, bodies)) + plain[2:]
    jpeg_exif = lambda *entry: b"Exif\0\0" + exif(*entry)
    yield "exif_long.jpg", with_segments(jpeg_exif(4))
    yield "exif_two_values.jpg", with_segments(jpeg_exif(3, 2, b"\6\0\1\0"))
    yield "exif_twice.jpg", with_segments(jpeg_exif(), b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    yield "exif_without_then_with.jpg", with_segments(b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", jpeg_exif())
    yield "xmp.jpg", with_segments(b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    yield "xmp_and_exif.jpg", with_segments(b"http://ns.adobe.com/xap/1.0/\0" + XMP, jpeg_exif(3, 1, b"\3\0\0\0"))
    yield "xmp.webp", saved(picture, "WEBP", lossless=True, xmp=XMP)
    # Pillow takes one such beginning away, and used to leave it.
    yield "exif_prefixed.webp", saved(picture, "WEBP", lossless=True, exif=2 * b"Exif\0\0" + exif())
    announced = saved(picture, "WEBP", lossless=True, exif=exif())
    taken_out = announced[: announced.index(b"EXIF")]
    yield "exif_taken_out.webp", b"RIFF" + struct.pack("<I", len(taken_out) - 8) + taken_out[8:]
    yield "exif.webp", saved(picture, "WEBP", lossless=True, exif=exif())


# ---- JPEG ----

def markers(data, codes):
    """Where these markers are."""
    return [at for at in range(2, len(data) - 1) if data[at] == 0xFF and data[at + 1] in codes]


def scans(data):
    """Where these begin, with the tables before them, and where the last ends."""
    found, last = [], 0
    for at in markers(data, [0xC4, 0xDA]):
        if last in (0, 0xDA):
            found.append(at)
        last = data[at + 1]
    return found + [len(data) - 2]


def without(data, start, end):
    return data[:start] + data[end:]


def channel_by_channel(picture):
    """A sequential file in which each channel has a scan of its own: three grey files put together."""
    planes = [saved(plane, "JPEG", quality=85) for plane in picture.convert("YCbCr").split()]
    frame, tables, scan = (markers(planes[0], [code])[0] for code in [0xC0, 0xC4, 0xDA])
    components = b"".join(bytes([number, 0x11, 0]) for number in [1, 2, 3])
    size = planes[0][frame + 5 : frame + 9]
    start = planes[0][:frame] + b"\xff\xc0\0\x11\x08" + size + b"\3" + components + planes[0][tables:scan]
    headers = [b"\xff\xda\0\x08\1" + bytes([number, 0, 0, 63, 0]) for number in [1, 2, 3]]
    return start, [header + plane[scan + 10 : -2] for header, plane in zip(headers, planes)]


def jpegs(picture):
    start, channels = channel_by_channel(picture)
    yield "three_scans.jpg", start + b"".join(channels) + b"\xff\xd9"
    yield "two_scans_of_three.jpg", start + channels[0] + channels[2] + b"\xff\xd9"
    yield "one_scan_twice.jpg", start + channels[1] + b"".join(channels) + b"\xff\xd9"
    restarts = saved(picture, "JPEG", quality=85, restart_marker_blocks=2)
    rst = markers(restarts, range(0xD0, 0xD8))
    yield "restart_missing.jpg", without(restarts, rst[2], rst[2] + 2)
    yield "restart_data_missing.jpg", without(restarts, rst[1], rst[2])
    yield "restart_data_twice.jpg", restarts[: rst[1]] + restarts[rst[0] :]
    yield "restart_far_off.jpg", restarts[: rst[1] + 1] + b"\xd5" + restarts[rst[1] + 2 :]
    middle = (rst[2] + rst[3]) // 2
    yield "restart_bogus_marker.jpg", restarts[:middle] + b"\xff\x3f" + restarts[middle:]
    yield "restart_ends_early.jpg", restarts[:middle] + b"\xff\xd9"
    plain = saved(picture, "JPEG", quality=85)
    first = markers(plain, [0xDA])[0]
    yield "ends_early.jpg", plain[: (first + len(plain)) // 2] + b"\xff\xd9"
    yield "damaged.jpg", bytes(byte ^ 0x10 if at > first + 200 and at % 197 == 0 else byte for at, byte in enumerate(plain[:-2])) + plain[-2:]
    standard = saved(picture, "JPEG", quality=85, optimize=False)
    tables = markers(standard, [0xC4])
    yield "no_huffman_tables.jpg", without(standard, tables[0], markers(standard, [0xDA])[0])
    comment = b"\xff\xfe\0\0" + b"a comment of no length"
    yield "comment_without_length.jpg", plain[:2] + comment + plain[2:]
    for name, mode, sampling in [("420", "RGB", 2), ("444", "RGB", 0), ("grey", "L", 0)]:
        data = saved(picture.convert(mode), "JPEG", quality=85, progressive=True, subsampling=sampling)
        starts = scans(data)
        yield f"progressive_{name}_first_scan.jpg", data[: starts[1]] + b"\xff\xd9"
        yield f"progressive_{name}_three_scans.jpg", data[: starts[3]] + b"\xff\xd9"
        yield f"progressive_{name}_in_first_scan.jpg", data[: (starts[0] + 3 * starts[1]) // 4] + b"\xff\xd9"
        yield f"progressive_{name}_in_third_scan.jpg", data[: (starts[2] + 3 * starts[3]) // 4] + b"\xff\xd9"
        yield f"progressive_{name}_without_second.jpg", without(data, starts[1], starts[2])
        at = (starts[-2] + starts[-1]) // 2
        yield f"progressive_{name}_damaged.jpg", data[:at] + b"\x5a\xa5" + data[at + 2 :]


# ---- GIF ----

def gif(picture, screen, place, transparent=None, extension=b""):
    """One frame at a place of a canvas of another size."""
    options = {} if transparent is None else {"transparency": transparent}
    data = bytearray(saved(picture.quantize(16), "GIF", **options))
    frame = data.index(b",\0\0\0\0" + struct.pack("<HH", *picture.size))
    data[6:10] = struct.pack("<HH", *screen)
    data[frame + 1 : frame + 5] = struct.pack("<HH", *place)
    control = data.find(b"!\xf9", 0, frame)
    at = control if control >= 0 else frame
    return bytes(data[:at]) + extension + bytes(data[at:])


def gifs(picture):
    width, height = picture.size
    yield "part_of_canvas_transparent.gif", gif(picture, (width + 9, height + 7), (4, 5), transparent=3)
    yield "part_of_canvas.gif", gif(picture, (width + 9, height + 7), (4, 5))
    yield "beyond_canvas_transparent.gif", gif(picture, (20, 20), (3, 11), transparent=3)
    yield "beyond_canvas.gif", gif(picture, (width, height), (3, 0))
    yield "odd_extension.gif", gif(picture, picture.size, (0, 0), extension=b"!\x2a\5Hello\5World\0")


# ---- natively only ----

def native(picture):
    icon = saved(picture, "PNG")
    yield "picture.bmp", saved(picture, "BMP")
    yield "palette.bmp", saved(picture.quantize(16), "BMP")
    yield "picture.tiff", saved(picture, "TIFF")
    yield "turned.tiff", saved(picture, "TIFF", compression="tiff_adobe_deflate", tiffinfo={EXIF_ORIENTATION: 6})
    yield "alpha.tiff", saved(Image.fromarray(np.dstack([np.asarray(picture), np.asarray(picture)[..., 0]])), "TIFF", compression="tiff_lzw")
    yield "png.ico", b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", *picture.size, 0, 0, 1, 24, len(icon), 22) + icon
    yield "bmp.ico", saved(picture.resize((32, 32)), "ICO", sizes=[(16, 16), (32, 32)], bitmap_format="bmp")


def shown(path):
    picture = load(path)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def make(root):
    folder = root / "odd"
    folder.mkdir(exist_ok=True)
    picture = Image.fromarray(scene(45, 34, 1))
    larger = Image.fromarray(scene(77, 58, 10))
    cases = []
    for name, data in [*pngs(picture), *turned(picture), *jpegs(larger), *gifs(picture), *native(picture)]:
        (folder / name).write_bytes(data)
        result = shown(folder / name)
        cases.append({"picture": name, "width": result.width, "height": result.height, "sha256": hashlib.sha256(result.tobytes()).hexdigest()})
    (root / "odd.json").write_text(json.dumps(cases, indent=0) + "\n")
