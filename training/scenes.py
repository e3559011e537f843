"""Drawn scenes: coloured shapes, filled, outlined or brushed by an unsteady hand, on a plain, graded or noisy
background.

Drawn with Pillow polygons, 3x supersampled. `held_out.py` draws the test scenes with another library and its own code.
Lengths are in fractions of the longer side, measured on the picture padded to a square (what the model sees).
"""

import colorsys
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from names import COLOURS, SHAPES

MOST = 5  # things in a picture
LABEL_SIZE = 48  # cells a side of the map that says which thing covers which place
SAME_COLUMN = 0.09  # things whose centres are nearer than this horizontally are named top to bottom
ORDER_GAP = 0.03  # training scenes avoid horizontal distances this close to SAME_COLUMN
SCALE = 3  # supersampling


@dataclass
class Thing:
    name: int  # index into NAMES, or UNKNOWN
    colour: int  # index into COLOURS, -1 where it has none to name
    x: float  # centre, 0..1 of the padded square
    y: float
    diameter: float
    filled: int = 1  # 0: only its outline is drawn


# --- shapes: outlines as points around the origin, about one unit in radius -----------------------------------------


def _corners(points):
    """Points along the straight edges of a polygon, dense enough to be bent by `_wobble`."""
    a = np.asarray(points, np.float32)
    b = np.roll(a, -1, axis=0)
    t = np.linspace(0, 1, 12, endpoint=False, dtype=np.float32)[None, :, None]
    return (a[:, None] * (1 - t) + b[:, None] * t).reshape(-1, 2)


def _star(rng):
    inner = rng.uniform(0.34, 0.54)
    t = np.arange(10) * math.pi / 5 - math.pi / 2
    r = np.where(np.arange(10) % 2 == 0, 1.05, inner * 1.05)
    return _corners(np.stack([np.cos(t) * r, np.sin(t) * r], 1))


def _heart(rng):
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


def _moon(rng):
    """A crescent: the unit circle's left part and back along a circle that passes the same two horns."""
    open_angle = rng.uniform(0.75, 1.15)
    a = np.linspace(open_angle, 2 * math.pi - open_angle, 40)
    outer = np.stack([np.cos(a), np.sin(a)], 1)
    horn_x, horn_y = math.cos(open_angle), math.sin(open_angle)
    depth = horn_x + rng.uniform(0.45, 0.85)  # how far the inner edge lies to the left of the horns
    d = (horn_y**2 - depth**2) / (2 * depth)
    centre, radius = horn_x + d, math.hypot(d, horn_y)
    b = np.linspace(-math.atan2(horn_y, -d) + 2 * math.pi, math.atan2(horn_y, -d), 28)
    inner = np.stack([centre + radius * np.cos(b), radius * np.sin(b)], 1)
    points = np.concatenate([outer, inner[1:-1]])
    return points * [1 if rng.random() < 0.7 else -1, 1]


def outline(shape, rng):
    name = SHAPES[shape]
    if name in ("circle", "oval"):
        t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        points = np.stack([np.cos(t), np.sin(t)], 1)
        return points * [1, rng.uniform(0.93, 1.07) if name == "circle" else rng.uniform(0.45, 0.7)]
    if name in ("square", "rectangle"):
        square = 1 if rng.random() < 0.4 else rng.uniform(0.93, 1.07)
        k = square if name == "square" else rng.uniform(0.35, 0.68)
        return _corners([(-0.85, -0.85 * k), (0.85, -0.85 * k), (0.85, 0.85 * k), (-0.85, 0.85 * k)])
    if name == "triangle":
        half, apex = rng.uniform(0.8, 1.05), rng.uniform(-0.6, 0.6) if rng.random() < 0.3 else 0.0
        top, low = rng.uniform(-1.05, -0.7), rng.uniform(0.55, 0.85)
        return _corners([(apex, top), (half, low), (-half, low)])
    if name == "diamond":
        k = rng.uniform(0.6, 0.85)
        return _corners([(0, -1), (k, 0), (0, 1), (-k, 0)])
    if name == "cross":
        a = rng.uniform(0.2, 0.36)
        return _corners(
            [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
        )
    return {"star": _star, "heart": _heart, "moon": _moon}[name](rng)


def _strokes(shape, points, rng):
    """The lines a hand draws for this outline: [points]; a cross is two strokes, a star now and then five straight
    ones."""
    if SHAPES[shape] == "cross" and rng.random() < 0.7:
        return [np.linspace((-1, 0), (1, 0), 12), np.linspace((0, -1), (0, 1), 12)]
    if SHAPES[shape] == "star" and rng.random() < 0.4:
        t = -math.pi / 2 + np.arange(6) * 4 * math.pi / 5
        tips = np.stack([np.cos(t), np.sin(t)], 1)
        return [np.concatenate([np.linspace(a, b, 10) for a, b in zip(tips, tips[1:])])]
    start = rng.integers(len(points))
    length = int(len(points) * rng.uniform(0.95, 1.08))  # not quite closed, or past the start
    return [points[(start + np.arange(length)) % len(points)]]


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
    "green": ((92, 152), (0.5, 1.0), (0.4, 0.95)),
    "teal": ((172, 188), (0.6, 1.0), (0.4, 0.78)),
    "blue": ((205, 243), (0.6, 1.0), (0.5, 1.0)),
    "purple": ((266, 303), (0.45, 1.0), (0.4, 0.88)),
    "pink": ((318, 348), (0.28, 0.64), (0.92, 1.0)),
    "brown": ((14, 33), (0.5, 0.9), (0.28, 0.58)),
    "black": ((0, 360), (0.0, 0.4), (0.0, 0.13)),
    "white": ((0, 360), (0.0, 0.05), (0.94, 1.0)),
    "gray": ((0, 360), (0.0, 0.07), (0.38, 0.7)),
}
BOARD = [
    "#e02020",
    "#ff8c1a",
    "#ffe01a",
    "#1e9e3e",
    "#2255dd",
    "#8a2be2",
    "#111111",
    "#ffffff",
]  # the demo's drawing board
BOARD_NAMES = ["red", "orange", "yellow", "green", "blue", "purple", "black", "white"]


def rgb(text):
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)], np.float32)


def colour_value(colour, rng):
    if COLOURS[colour] in BOARD_NAMES and rng.random() < 0.15:
        return rgb(BOARD[BOARD_NAMES.index(COLOURS[colour])])
    (h0, h1), (s0, s1), (v0, v1) = _RANGES[COLOURS[colour]]
    h, s, v = rng.uniform(h0, h1) % 360 / 360, rng.uniform(s0, s1), rng.uniform(v0, v1)
    return np.array(colorsys.hsv_to_rgb(h, s, v), np.float32) * 255


_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour):
    """CIE L*a*b* (D65) of an sRGB colour in 0..255."""
    c = np.asarray(colour, np.float64) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    t = _TO_XYZ @ c / [0.9505, 1.0, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def any_colour(rng):
    kind = rng.random()
    if kind < 0.3:
        c = np.full(3, rng.uniform(215, 255)) + rng.uniform(-6, 6, 3)
    elif kind < 0.45:
        c = np.full(3, rng.uniform(0, 60)) + rng.uniform(-6, 6, 3)
    elif kind < 0.65:
        c = np.full(3, rng.uniform(60, 215)) + rng.uniform(-10, 10, 3)
    else:
        c = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.8), rng.uniform(0.25, 1))) * 255
    return np.clip(c, 0, 255)


def _background_colours(fills, rng):
    """Two background colours that stand out from every fill (the second only differs in a graded background)."""
    labs = [lab(f) for f in fills]
    fair = lambda c: all(np.linalg.norm(lab(c) - f) > 27 for f in labs)
    for _ in range(100):
        c = any_colour(rng)
        if not fair(c):
            continue
        d = np.clip(c + rng.uniform(-70, 70) + rng.uniform(-25, 25, 3), 0, 255)
        if fair(d) and fair((c + d) / 2):
            return c, d
        if rng.random() < 0.2:
            return c, c
    return np.full(3, 150.0), np.full(3, 150.0)


def background(width, height, a, b, rng):
    kind = rng.random()
    if kind < 0.4:
        picture = np.empty((height, width, 3), np.float32)
        picture[:] = a
    else:
        if kind < 0.75:  # linear
            angle = rng.uniform(0, 2 * math.pi)
            t = np.linspace(-1, 1, width)[None] * math.cos(angle) + np.linspace(-1, 1, height)[:, None] * math.sin(
                angle
            )
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


def size(rng, least=48, most=320):
    """Width and height of a picture."""
    longer = math.exp(rng.uniform(math.log(least), math.log(most)))
    shorter = longer if rng.random() < 0.4 else max(least, longer * math.exp(rng.uniform(-1, 0)))
    return (int(longer), int(shorter)) if rng.random() < 0.5 else (int(shorter), int(longer))


def layout(width, height, count, rng, clear=True, least=0.115):
    """Centres and diameters in pixels, not overlapping; `clear`: with no doubt about the order either. None: no
    room."""
    side, short = max(width, height), min(width, height)
    for attempt in range(200):
        shrink = 0.99**attempt
        low = min(least * side, 0.8 * short)
        high = max(low * 1.05, min((0.85, 0.55, 0.45, 0.36, 0.32)[count - 1] * side * shrink, 0.92 * short))
        d = low + (high - low) * rng.random(count) ** 1.2
        x = d / 2 + rng.random(count) * (width - d)
        y = d / 2 + rng.random(count) * (height - d)
        gap = np.hypot(x[:, None] - x, y[:, None] - y) - (d[:, None] + d) / 2
        dx = abs(x[:, None] - x) / side
        pair = np.triu_indices(count, 1)
        if (gap[pair] > 0.02 * side).all() and not (clear and (abs(dx[pair] - SAME_COLUMN) < ORDER_GAP).any()):
            return list(zip(x, y, d))
    return None


def _chosen(rng):
    """[(shape, colour)] of a scene: one to three things, or up to five that are of one kind or two."""
    pick = lambda: (int(rng.integers(len(SHAPES))), int(rng.integers(len(COLOURS))))
    if rng.random() < 0.5:
        return [pick() for _ in range(rng.choice([1, 2, 3], p=[0.2, 0.4, 0.4]))]
    count = int(rng.choice([2, 3, 4, 5], p=[0.15, 0.2, 0.35, 0.3]))  # what is learned last comes oftener
    first, second = pick(), pick()
    if rng.random() < 0.3:  # kinds that differ in one thing only
        second = (first[0], second[1]) if rng.random() < 0.5 else (second[0], first[1])
    others = int(rng.integers(0, count)) if rng.random() < 0.6 else 0
    return [first] * (count - others) + [second] * others


REACH = 0.95  # of a thing's diameter, that its outline has


def _on_borders(x, y, d, width, height):
    """The place and diameter nearest to these at which a square's edges lie on the borders of patches, or in the middle
    between them: drawn by chance they hardly ever do, and no patch then shows an edge. Where that would not fit, the
    same ones."""
    side = max(width, height)
    grid = side / 16
    padding = np.array([(side - width) // 2, (side - height) // 2])
    half = max(grid, round(d / 2 * REACH / grid) * grid)
    at = np.round((np.array([x, y]) + padding) / grid) * grid - padding
    if (at < half).any() or (at + half > [width, height]).any():
        return x, y, d
    return *at, 2 * half / REACH


def draw(rng):
    """One scene: the picture as a file would decode (RGB, Pillow), the things in it and which of them covers what."""
    chosen, places = _chosen(rng), None
    while places is None:
        width, height = size(rng)
        places = layout(width, height, len(chosen), rng, clear=len(chosen) <= 3)
    if len(chosen) == 1 and rng.random() < 0.3:  # in the very middle, where people put one thing
        places = [(width / 2, height / 2, places[0][2])]
    values = {c: colour_value(c, rng) for _, c in chosen}
    brushed = rng.random() < 0.25
    if brushed and rng.random() < 0.5:
        ground = rgb("#d8d8d8") if rng.random() < 0.5 else np.full(3, rng.uniform(200, 255))
        clear = all(np.linalg.norm(lab(v) - lab(ground)) > 12 for v in values.values())
        picture = np.empty((height, width, 3), np.float32)
        picture[:] = ground if clear else _background_colours(values.values(), rng)[0]
    else:
        picture = background(width, height, *_background_colours(values.values(), rng), rng)
    side = max(width, height)
    ox, oy = (side - width) // 2, (side - height) // 2
    wobbly, outlined = rng.random() < 0.3, rng.random() < 0.25
    upright = rng.random() < (0.6 if len(places) == 1 else 0.4)
    if len(places) == 1 and upright and rng.random() < 0.5:
        places = [_on_borders(*places[0], width, height)]
    things, outlines = [], []
    for (x, y, d), (shape, colour) in zip(places, chosen):
        points = outline(shape, rng)
        if brushed or wobbly:
            points = _wobble(points, rng, rng.uniform(0.01, 0.05) if brushed else rng.uniform(0.005, 0.03))
        points = points - (points.max(0) + points.min(0)) / 2
        turned = 90 if SHAPES[shape] in ("rectangle", "oval") and rng.random() < 0.5 else 0
        turn = math.radians(turned + (0 if upright else rng.uniform(-22, 22)))
        c, s = math.cos(turn), math.sin(turn)
        place = lambda p: p @ np.array([[c, s], [-s, c]]) / np.abs(points).max() * d / 2 * REACH + [x, y]
        fill = values[colour] * rng.uniform(0.97, 1.03)
        filled = rng.random() < 0.3 if brushed else not (outlined and rng.random() < 0.8)
        if brushed:
            width_of_brush = min(max(side * rng.uniform(0.02, 0.055), 2), 0.28 * d)
            strokes = [place(p) for p in _strokes(shape, points, rng)]
            _brush(picture, strokes, place(points) if filled else None, width_of_brush, fill)
        else:
            _paint(picture, place(points), fill, filled, rng)
        things.append(Thing(shape, colour, (x + ox) / side, (y + oy) / side, d / side, int(filled)))
        outlines.append((place(points) + [ox, oy]) / side)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return wear(image, rng), things, label_map(outlines)


class _Mask:
    """A supersampled mask over the part of the picture that some points reach."""

    def __init__(self, picture, points, margin):
        height, width = picture.shape[:2]
        self.x0, self.y0 = np.maximum(np.floor(points.min(0) - margin).astype(int), 0)
        self.x1, self.y1 = np.minimum(np.ceil(points.max(0) + margin).astype(int), [width, height])
        self.mask = Image.new("L", ((self.x1 - self.x0) * SCALE, (self.y1 - self.y0) * SCALE))
        self.pen = ImageDraw.Draw(self.mask)
        self.region = picture[self.y0 : self.y1, self.x0 : self.x1]

    def local(self, points):
        return [tuple(p) for p in ((points - [self.x0, self.y0]) * SCALE).tolist()]

    def line(self, points, width):
        width = max(1, round(width * SCALE))
        points = self.local(points)
        self.pen.line(points, fill=255, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            self.pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)

    def blend(self, fill):
        alpha = np.asarray(self.mask.reduce(SCALE), np.float32)[..., None] / 255
        self.region += alpha * (fill - self.region)


def _brush(picture, strokes, inside, width, fill):
    mask = _Mask(picture, np.concatenate(strokes), width / 2 + 2)
    if inside is not None:
        mask.pen.polygon(mask.local(inside), fill=255)
    for stroke in strokes:
        mask.line(stroke, width)
    mask.blend(fill)


def _paint(picture, points, fill, filled, rng):
    """Blend one outline into the picture, in place: filled, or only its line."""
    reach = float(np.ptp(points, axis=0).max())
    mask = _Mask(picture, points, 2)
    closed = np.concatenate([points, points[:2]])
    if not filled:
        mask.line(closed, max(1.2, reach * rng.uniform(0.04, 0.12)))
        mask.blend(fill)
        return
    mask.pen.polygon(mask.local(points), fill=255)
    if rng.random() < 0.2:  # a fill that is not quite even
        ramp = np.linspace(-1, 1, mask.y1 - mask.y0, dtype=np.float32)[:, None, None] * rng.uniform(-0.1, 0.1)
        mask.blend(fill * (1 + ramp))
    else:
        mask.blend(fill)
    if rng.random() < 0.12:  # a thin darker edge
        edge = _Mask(picture, points, 2)
        edge.line(closed, rng.uniform(0.008, 0.03) * reach)
        edge.blend(fill * 0.55)


def wear(image, rng):
    """What saving does to a picture: JPEG blocks, few colours, a little blur."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.008 * max(image.size) + 0.3)))
    kind = rng.random()
    if kind < 0.4:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(35, 96)), subsampling=int(rng.integers(0, 3)))
        image = Image.open(file).convert("RGB")
    elif kind < 0.42:
        image = image.quantize(int(rng.integers(24, 129)), Image.Quantize.FASTOCTREE).convert("RGB")
    return image


def label_map(outlines):
    """Which thing (1 and up; 0 none) covers each cell of a LABEL_SIZE grid over the padded square."""
    grid = Image.new("L", (LABEL_SIZE, LABEL_SIZE))
    pen = ImageDraw.Draw(grid)
    for i, points in enumerate(outlines):
        pen.polygon([tuple(p) for p in (points * LABEL_SIZE - 0.5).tolist()], fill=i + 1)
    return np.asarray(grid)
