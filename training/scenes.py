"""Training scenes: one to three coloured shapes on a plain, graded or noisy background, and questions about them.

Drawn with Pillow polygons, 4x supersampled. `held_out.py` draws the test scenes with another library and its own code.
Lengths are in fractions of the longer side, measured on the picture padded to a square (what the model sees).
"""

import colorsys
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from preprocess import to_square_pixels

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "black", "white"]
SHAPES = ["circle", "square", "triangle", "star", "heart"]
COUNTS = ["zero", "one", "two", "three"]
LABEL_SIZE = 48  # cells a side of the map that says which thing covers which place
SAME_COLUMN = 0.09  # things whose centres are nearer than this horizontally are named top to bottom
ORDER_GAP = 0.03  # training scenes avoid horizontal distances this close to SAME_COLUMN


@dataclass
class Thing:
    shape: int
    colour: int
    x: float  # centre, 0..1 of the padded square
    y: float
    diameter: float


# --- shapes: outlines as points around the origin, about one unit in radius -----------------------------------------


def _corners(points):
    """Points along the straight edges of a polygon, dense enough to be bent by `_wobble`."""
    a = np.asarray(points, np.float32)
    b = np.roll(a, -1, axis=0)
    t = np.linspace(0, 1, 12, endpoint=False, dtype=np.float32)[None, :, None]
    return (a[:, None] * (1 - t) + b[:, None] * t).reshape(-1, 2)


def outline(shape, rng):
    name = SHAPES[shape]
    if name == "circle":
        t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        return np.stack([np.cos(t), np.sin(t)], 1) * [1, rng.uniform(0.92, 1.08)]
    if name == "square":
        s = 0.85
        k = rng.uniform(0.9, 1.1)
        return _corners([(-s * k, -s / k), (s * k, -s / k), (s * k, s / k), (-s * k, s / k)])
    if name == "triangle":
        half, apex = rng.uniform(0.8, 1.05), rng.uniform(-0.25, 0.25) if rng.random() < 0.3 else 0.0
        top, low = rng.uniform(-1.05, -0.85), rng.uniform(0.55, 0.85)
        return _corners([(apex, top), (half, low), (-half, low)])
    if name == "star":
        inner = rng.uniform(0.34, 0.54)
        t = np.arange(10) * math.pi / 5 - math.pi / 2
        r = np.where(np.arange(10) % 2 == 0, 1.05, inner * 1.05)
        return _corners(np.stack([np.cos(t) * r, np.sin(t) * r], 1))
    t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    if rng.random() < 0.5:  # the classic sine heart
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        points = np.stack([x / 16, (y + 2.5) / 15.5], 1)
    else:  # two lobes above a point
        lobe = rng.uniform(0.50, 0.58)
        lift = rng.uniform(-0.45, -0.3)
        a = np.linspace(math.pi * 0.9, math.pi * 2.0, 20)
        left = np.stack([-lobe + np.cos(a) * lobe, lift + np.sin(a) * lobe], 1)
        right = (left * [-1, 1])[::-1]
        points = np.concatenate([left, right, [(0.0, rng.uniform(0.85, 1.05))]])
    return points * [1, rng.uniform(0.88, 1.08)]


def _wobble(points, rng, amount):
    """Bend an outline smoothly, as a hand would."""
    angle = np.arctan2(points[:, 1], points[:, 0])
    bend = sum(rng.normal() / k * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7))
    return points * (1 + amount * bend)[:, None]


# --- colours ---------------------------------------------------------------------------------------------------------

# hue in degrees, saturation, value
_RANGES = {
    "red": ((-10, 8), (0.75, 1.0), (0.65, 1.0)),
    "orange": ((22, 37), (0.82, 1.0), (0.88, 1.0)),
    "yellow": ((48, 61), (0.65, 1.0), (0.88, 1.0)),
    "green": ((92, 155), (0.5, 1.0), (0.4, 0.95)),
    "blue": ((203, 243), (0.6, 1.0), (0.5, 1.0)),
    "purple": ((266, 303), (0.45, 1.0), (0.4, 0.88)),
    "black": ((0, 360), (0.0, 0.4), (0.0, 0.13)),
    "white": ((0, 360), (0.0, 0.05), (0.93, 1.0)),
}


def colour_value(colour, rng):
    (h0, h1), (s0, s1), (v0, v1) = _RANGES[COLOURS[colour]]
    h, s, v = rng.uniform(h0, h1) % 360 / 360, rng.uniform(s0, s1), rng.uniform(v0, v1)
    return np.array(colorsys.hsv_to_rgb(h, s, v), np.float32) * 255


def lab(rgb):
    """CIE L*a*b* (D65) of an sRGB colour in 0..255."""
    c = np.asarray(rgb, np.float64) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ c
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    f = np.where(xyz / [0.9505, 1.0, 1.089] > 0.008856, f, 7.787 * xyz / [0.9505, 1.0, 1.089] + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _background_colours(fills, rng):
    """Two background colours that stand out from every fill (the second only differs in a graded background)."""
    labs = [lab(f) for f in fills]

    def fair(c):
        l = lab(c)
        return all(np.linalg.norm(l - f) > 30 for f in labs)

    for _ in range(200):
        kind = rng.random()
        if kind < 0.3:
            c = np.full(3, rng.uniform(215, 255)) + rng.uniform(-6, 6, 3)
        elif kind < 0.45:
            c = np.full(3, rng.uniform(0, 60)) + rng.uniform(-6, 6, 3)
        elif kind < 0.65:
            c = np.full(3, rng.uniform(60, 215)) + rng.uniform(-10, 10, 3)
        else:
            c = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.8), rng.uniform(0.25, 1))) * 255
        c = np.clip(c, 0, 255)
        d = np.clip(c + rng.uniform(-70, 70) + rng.uniform(-25, 25, 3), 0, 255)
        if fair(c) and fair(d) and fair((c + d) / 2):
            return c, d
        if fair(c) and rng.random() < 0.2:
            return c, c
    return np.full(3, 150.0), np.full(3, 150.0)


def _background(width, height, a, b, rng):
    kind = rng.random()
    if kind < 0.4:
        picture = np.empty((height, width, 3), np.float32)
        picture[:] = a
    else:
        if kind < 0.75:  # linear
            angle = rng.uniform(0, 2 * math.pi)
            t = np.linspace(-1, 1, width)[None] * math.cos(angle) + np.linspace(-1, 1, height)[:, None] * math.sin(angle)
            t = (t - t.min()) / max(float(np.ptp(t)), 1e-6)
        else:  # soft blotches
            n = int(rng.integers(2, 9))
            small = Image.fromarray(rng.integers(0, 256, (n, n), dtype=np.uint8))
            t = np.asarray(small.resize((width, height), Image.BICUBIC), np.float32) / 255
        picture = (a + t.astype(np.float32)[..., None] * (b - a)).astype(np.float32)
    if rng.random() < 0.35:
        amount = rng.uniform(3, 22)
        channels = 1 if rng.random() < 0.4 else 3
        grain = int(rng.integers(1, 4))
        noise = rng.integers(-128, 128, (height // grain + 1, width // grain + 1, channels), dtype=np.int16)
        if grain > 1:
            noise = noise.repeat(grain, 0).repeat(grain, 1)
        picture += noise[:height, :width] * np.float32(amount / 74)  # 74: standard deviation of the uniform noise
    return picture


# --- scenes ----------------------------------------------------------------------------------------------------------


def in_order(things):
    """Canonical order of a caption: left to right; things in the same column top to bottom."""
    by_x = sorted(things, key=lambda t: t.x)
    columns = []
    for t in by_x:
        if columns and abs(columns[-1][0].x - t.x) < SAME_COLUMN:
            columns[-1].append(t)
        else:
            columns.append([t])
    return [t for c in columns for t in sorted(c, key=lambda t: t.y)]


def _layout(width, height, count, rng):
    """Centres and diameters in pixels, not overlapping, with no doubt about the order."""
    side, short = max(width, height), min(width, height)
    for attempt in range(400):
        shrink = 0.995**attempt
        low = min(0.115 * side, 0.8 * short)
        high = max(low * 1.05, min((0.75, 0.55, 0.45)[count - 1] * side * shrink, 0.92 * short))
        d = low + (high - low) * rng.random(count) ** 1.3
        x = d / 2 + rng.random(count) * (width - d)
        y = d / 2 + rng.random(count) * (height - d)
        ok = True
        for i in range(count):
            for j in range(i):
                gap = math.hypot(x[i] - x[j], y[i] - y[j]) - (d[i] + d[j]) / 2
                dx = abs(x[i] - x[j]) / side
                if gap < 0.02 * side or abs(dx - SAME_COLUMN) < ORDER_GAP:
                    ok = False
        if ok:
            return list(zip(x, y, d))
    return None


def draw(rng):
    """One scene: the picture as a file would decode (RGB, Pillow), the things in it and their outlines in pixels."""
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.4, 0.4]))
    places = None
    while places is None:
        if rng.random() < 0.3:
            width = height = int(math.exp(rng.uniform(math.log(48), math.log(400))))
        else:
            width, height = (int(v) for v in np.exp(rng.uniform(math.log(48), math.log(400), 2)))
        places = _layout(width, height, count, rng)
    shapes, colours = rng.integers(0, 5, count), rng.integers(0, 8, count)
    fills = [colour_value(c, rng) for c in colours]
    picture = _background(width, height, *_background_colours(fills, rng), rng)
    side = max(width, height)
    ox, oy = (side - width) // 2, (side - height) // 2
    wobbly = rng.random() < 0.3
    scale = 1 if rng.random() < 0.1 else 4
    things, outlines = [], []
    for (x, y, d), shape, colour, fill in zip(places, shapes, colours, fills):
        points = outline(shape, rng)
        if wobbly:
            points = _wobble(points, rng, rng.uniform(0.005, 0.03))
        points = points - (points.max(0) + points.min(0)) / 2
        turn = math.radians(rng.uniform(-22, 22) if rng.random() < 0.7 else 0)
        c, s = math.cos(turn), math.sin(turn)
        points = points @ np.array([[c, s], [-s, c]])
        points = points / np.abs(points).max() * d / 2 + [x, y]
        _paint(picture, points, fill, scale, rng)
        things.append(Thing(int(shape), int(colour), (x + ox) / side, (y + oy) / side, d / side))
        outlines.append((points + [ox, oy]) / side)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return _wear(image, rng), things, outlines


def _paint(picture, points, fill, scale, rng):
    """Blend one filled outline into the picture, in place."""
    height, width = picture.shape[:2]
    x0, y0 = np.maximum(np.floor(points.min(0)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int) + 2, [width, height])
    mask = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale))
    pen = ImageDraw.Draw(mask)
    local = [tuple(p) for p in ((points - [x0, y0]) * scale).tolist()]
    pen.polygon(local, fill=255)
    if scale > 1:
        mask = mask.reduce(scale)
    alpha = np.asarray(mask, np.float32)[..., None] / 255
    region = picture[y0:y1, x0:x1]
    if rng.random() < 0.2:  # a fill that is not quite even
        ramp = np.linspace(-1, 1, y1 - y0, dtype=np.float32)[:, None, None] * rng.uniform(-0.1, 0.1)
        fill = fill * (1 + ramp)
    region += alpha * (fill - region)
    if rng.random() < 0.12:  # a thin dark or light edge
        line = Image.new("L", mask.size if scale == 1 else ((x1 - x0) * scale, (y1 - y0) * scale))
        thick = max(1, round(scale * rng.uniform(0.008, 0.03) * max(x1 - x0, y1 - y0)))
        ImageDraw.Draw(line).line(local + local[:2], fill=255, width=thick, joint="curve")
        if scale > 1:
            line = line.reduce(scale)
        alpha = np.asarray(line, np.float32)[..., None] / 255
        edge = np.mean(fill, axis=(0, 1)) * 0.55 if np.ndim(fill) == 3 else fill * 0.55
        region += alpha * (edge - region)


def _wear(image, rng):
    """What saving does to a picture: JPEG blocks, few colours, a little blur."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.008 * max(image.size) + 0.3)))
    kind = rng.random()
    if kind < 0.5:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(35, 96)), subsampling=int(rng.integers(0, 3)))
        image = Image.open(file).convert("RGB")
    elif kind < 0.52:
        image = image.quantize(int(rng.integers(24, 129)), Image.Quantize.FASTOCTREE).convert("RGB")
    return image


def label_map(outlines):
    """Which thing (1, 2, 3; 0 none) covers each cell of a LABEL_SIZE grid over the padded square."""
    grid = Image.new("L", (LABEL_SIZE, LABEL_SIZE))
    pen = ImageDraw.Draw(grid)
    for i, points in enumerate(outlines):
        pen.polygon([tuple(p) for p in (points * LABEL_SIZE - 0.5).tolist()], fill=i + 1)
    return np.asarray(grid)


def draw_shard(seed, index, size, image_size):
    """`size` scenes as arrays: pixels (n, S, S, 3) u8, labels (n, L, L) u8, things (n, 3, 5) f32, a shape of -1 for none."""
    rng = np.random.default_rng([seed, index])
    pixels = np.empty((size, image_size, image_size, 3), np.uint8)
    labels = np.empty((size, LABEL_SIZE, LABEL_SIZE), np.uint8)
    table = np.full((size, 3, 5), -1, np.float32)
    for n in range(size):
        image, things, outlines = draw(rng)
        pixels[n] = to_square_pixels(image, image_size)
        labels[n] = label_map(outlines)
        for i, t in enumerate(things):
            table[n, i] = (t.shape, t.colour, t.x, t.y, t.diameter)
    return {"pixels": pixels, "labels": labels, "things": table}
