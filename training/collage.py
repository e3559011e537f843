"""Training pictures that are not drawn: emoji on backgrounds, clothes, easy-VQA's shapes, photographs and textures,
nothing.

Each function gives (Pillow image as a file would decode, things, label map); a label of IGNORE is one that is not
known.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from names import COLOURS, FIRST_CLOTHES, FIRST_EMOJI, SHAPES, UNKNOWN
from scenes import LABEL_SIZE, Thing, any_colour, background, layout, size, wear

IGNORE = 255
PLAIN = 20  # how much neighbouring sixteenths of a picture of nothing differ at most, in any channel (0..255)


@dataclass
class Cache:
    """What fetch.py left."""

    sprites: list  # of each emoji name the pictures (S, S, 4) u8
    clothes: np.ndarray  # (N, 28, 28) u8
    clothes_labels: np.ndarray
    shapes: np.ndarray  # easy-VQA's pictures (N, 64, 64, 3) u8
    shapes_questions: dict  # of each picture [(question, answer)]
    photos: list

    @staticmethod
    def load(folder):
        folder = Path(folder)
        with np.load(folder / "sprites.npz") as data:
            pixels, names = data["pixels"], data["name"]
        with np.load(folder / "fashion.npz") as data:
            clothes, labels = data["train"], data["train_labels"]
        with np.load(folder / "easy-vqa.npz") as data:
            shapes, listed = data["train"], json.loads(str(data["train_questions"]))
        questions = defaultdict(list)
        for question, answer, picture in listed:
            questions[picture].append((question, answer))
        photos = [Image.open(p).convert("RGB") for p in sorted((folder / "photos" / "train").glob("*.jpg"))]
        sprites = [pixels[names == n] for n in range(names.max() + 1)]
        return Cache(sprites, clothes, labels, shapes, questions, photos)


def _ground(width, height, cache, rng):
    if rng.random() < 0.08:
        return _photo(width, height, cache, rng)
    a = any_colour(rng)
    b = any_colour(rng) if rng.random() < 0.3 else np.clip(a + rng.uniform(-60, 60, 3), 0, 255)
    return Image.fromarray(np.clip(background(width, height, a, b, rng), 0, 255).astype(np.uint8))


def _photo(width, height, cache, rng):
    """A part of one of the photographs."""
    return crop(cache.photos[rng.integers(len(cache.photos))], width, height, rng, least=0.15)


def crop(photo, width, height, rng, least=0.25):
    """A part of a photograph in this size, at least this share of it high, mirrored or not, its colours shifted a
    little. Not one that shows nothing, such as a clear sky."""
    while True:
        part = _crop(photo, width, height, rng, least)
        cells = np.asarray(part.resize((16, 16), Image.BOX), np.float32)
        if max(abs(np.diff(cells, axis=axis)).max() for axis in (0, 1)) > PLAIN:
            return part


def _crop(photo, width, height, rng, least):
    ratio = width / height
    tallest = min(photo.height, photo.width / ratio)
    h = tallest * math.exp(rng.uniform(math.log(least), 0))
    w = h * ratio
    x, y = rng.uniform(0, photo.width - w), rng.uniform(0, photo.height - h)
    part = photo.resize((width, height), Image.BICUBIC, box=(x, y, x + w, y + h), reducing_gap=2)
    pixels = np.asarray(part, np.float32)[:, :: -1 if rng.random() < 0.5 else 1]
    pixels = pixels * rng.uniform(0.75, 1.25, 3) ** rng.uniform(0, 1) + rng.uniform(-15, 15)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# --- emoji -----------------------------------------------------------------------------------------------------------

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def restyle(sprite, rng):
    """The same emoji as another hand might have painted it: other tints, flatter or harder shading, another rim.
    RGBA."""
    rgb, alpha = sprite[..., :3].astype(np.float32), sprite[..., 3]
    kind = rng.random()
    if kind < 0.25:  # flat colours
        flat = (
            Image.fromarray(sprite[..., :3])
            .quantize(int(rng.integers(4, 12)), Image.Quantize.FASTOCTREE)
            .convert("RGB")
        )
        rgb = np.asarray(flat, np.float32)
    elif kind < 0.45:  # details smoothed away
        small = Image.fromarray(sprite[..., :3]).reduce(2).filter(ImageFilter.ModeFilter(3))
        rgb = np.asarray(small.resize(alpha.shape[::-1], Image.BICUBIC), np.float32)
    angle = rng.normal() * 0.15  # the hue turns about the grey axis
    c, s = math.cos(angle), math.sin(angle) / math.sqrt(3)
    third = (1 - c) / 3
    turn = np.array(
        [[c + third, third - s, third + s], [third + s, c + third, third - s], [third - s, third + s, c + third]],
        np.float32,
    )
    rgb = rgb @ turn.T
    grey = (rgb @ _LUMA)[..., None]
    rgb = grey + (rgb - grey) * rng.uniform(0.7, 1.35)
    rgb = (rgb - 128) * rng.uniform(0.8, 1.25) + 128 + rng.uniform(-25, 25)
    rgb = rgb * rng.uniform(0.88, 1.12, 3)
    if rng.random() < 0.15:  # lit from one side
        angle = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[-1 : 1 : len(rgb) * 1j, -1 : 1 : len(rgb) * 1j]
        rgb = rgb + ((x * math.cos(angle) + y * math.sin(angle)) * rng.uniform(10, 50)).astype(np.float32)[..., None]
    image = Image.fromarray(np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha]), "RGBA")
    if rng.random() < 0.1:  # a rim
        wide = image.getchannel("A").filter(ImageFilter.MaxFilter(5))
        rim = Image.new("RGBA", image.size, tuple(int(v) for v in any_colour(rng)) + (255,))
        rim.putalpha(wide)
        rim.alpha_composite(image)
        image = rim
    return image


def _bend(image, side, rng):
    """Turned, leaning, stretched and in perspective, into a square of `side` pixels."""
    while min(image.size) > 2 * side + 8:
        image = image.reduce(2)
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * rng.uniform(1.0, 1.12)
    angle = math.radians(rng.normal() * 9)
    c, s = math.cos(angle), math.sin(angle)
    corners = corners * np.exp(rng.uniform(-0.12, 0.12, 2)) @ np.array([[c, s], [-s, c]]) + rng.normal(0, 0.06, (4, 2))
    corners = (corners + 1) / 2 * image.width
    if rng.random() < 0.5:
        corners = corners[[3, 2, 1, 0]]
    return image.transform((side, side), Image.QUAD, corners.ravel().tolist(), Image.BILINEAR)


def emoji(cache, rng):
    """One to three emoji of different names."""
    places = None
    while places is None:
        count = int(rng.choice([1, 2, 3], p=[0.68, 0.2, 0.12]))
        width = math.exp(rng.uniform(math.log(64), math.log(320)))
        width, height = int(width), int(width * math.exp(rng.uniform(-0.5, 0.5)))
        places = layout(width, height, count, rng, least=(0.4, 0.3, 0.25)[count - 1])
        if count == 1 and rng.random() < 0.8:  # most of the picture
            d = min(width, height) * rng.uniform(0.6, 1.0)
            places = [(width / 2 + rng.normal() * (width - d) / 6, height / 2 + rng.normal() * (height - d) / 6, d)]
    names = rng.choice(len(cache.sprites), count, replace=False)
    image = _ground(width, height, cache, rng)
    side = max(width, height)
    ox, oy = (side - width) // 2, (side - height) // 2
    cover, things = Image.new("L", (side, side)), []
    for name, (x, y, d) in zip(names, places):
        pictures = cache.sprites[name]
        d = max(int(d), 8)
        picture = pictures[rng.integers(len(pictures))]
        if 2 * d <= len(picture):
            picture = np.asarray(Image.fromarray(picture, "RGBA").reduce(2))
        sprite = _bend(restyle(picture, rng), d, rng)
        left, top = int(x - d / 2), int(y - d / 2)
        image.paste(sprite, (left, top), sprite)
        mask = sprite.getchannel("A").point(lambda a: 255 if a > 100 else 0)
        cover.paste(len(things) + 1, (left + ox, top + oy), mask)
        things.append(Thing(FIRST_EMOJI + int(name), -1, (x + ox) / side, (y + oy) / side, d / side))
    labels = np.asarray(cover.resize((LABEL_SIZE, LABEL_SIZE), Image.NEAREST))
    return wear(image, rng), things, labels


# --- the others ------------------------------------------------------------------------------------------------------


def clothes(cache, rng):
    """A picture of Fashion-MNIST, mostly as it is (28 pixels, white on black), shifted, tinted or on another ground."""
    n = int(rng.integers(len(cache.clothes)))
    pixels = cache.clothes[n]
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    dx, dy = rng.integers(-2, 3, 2)
    pixels = np.roll(pixels, (dy, dx), (0, 1)).astype(np.float32) / 255
    things = [Thing(FIRST_CLOTHES + int(cache.clothes_labels[n]), -1, 0.5, 0.5, 0.9)]
    labels = np.asarray(
        Image.fromarray((pixels > 0.05).astype(np.uint8)).resize((LABEL_SIZE, LABEL_SIZE), Image.NEAREST)
    )
    kind = rng.random()
    if kind < 0.85:
        picture = np.repeat((pixels * rng.uniform(0.8, 1))[..., None], 3, -1) * 255
        return Image.fromarray(picture.astype(np.uint8)), things, labels
    ground, tint = any_colour(rng), any_colour(rng)
    if np.abs(ground - tint).max() < 60:
        ground, tint = np.full(3, 255.0), np.full(3, 20.0)
    picture = ground + pixels[..., None] * (tint - ground)
    side = int(rng.integers(28, 200))
    return wear(Image.fromarray(picture.astype(np.uint8)).resize((side, side), Image.BICUBIC), rng), things, labels


def described(questions):
    """(shape, colour) that easy-VQA's answers about one picture give away, None for what they do not."""
    shape = colour = None
    for question, answer in questions:
        words = set(question.strip("?").split())
        if answer in SHAPES:
            shape = answer
        elif answer in COLOURS:
            colour = answer
        positive = answer == "yes" and not words & {"no", "not"} or answer == "no" and bool(words & {"no", "not"})
        asks_which = answer not in ("yes", "no")
        for word in words:
            if word in SHAPES and (positive or asks_which):
                shape = word
            if word in COLOURS and (positive or asks_which):
                colour = word
    return shape, colour


def easy_vqa(cache, rng):
    """A picture of easy-VQA and its questions; no things where these do not say what it shows."""
    n = int(rng.integers(len(cache.shapes)))
    questions = cache.shapes_questions[n]
    pixels = cache.shapes[n]
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if rng.random() < 0.5:
        pixels = pixels[::-1]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    shape, colour = described(questions)
    covered = np.abs(pixels.astype(int) - np.median(pixels, (0, 1))).max(-1) > 40
    if not (shape and colour and covered.any()):
        return image, [], np.full((LABEL_SIZE, LABEL_SIZE), IGNORE, np.uint8), questions
    (top, bottom), (left, right) = ((np.flatnonzero(covered.any(a))[[0, -1]] + (0, 1)) / len(pixels) for a in (1, 0))
    things = [
        Thing(
            SHAPES.index(shape),
            COLOURS.index(colour),
            (left + right) / 2,
            (top + bottom) / 2,
            max(right - left, bottom - top),
        )
    ]
    labels = np.asarray(Image.fromarray(covered.astype(np.uint8)).resize((LABEL_SIZE, LABEL_SIZE), Image.NEAREST))
    return image, things, labels, questions


def _texture(width, height, rng):
    """Noise of some roughness, stripes, cells or rings: pictures without anything to name."""
    kind = rng.integers(5)
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(width, height)
    if kind == 0:  # white noise
        field = rng.random((height, width, 3))
    elif kind in (1, 2):  # noise of many sizes
        field, weight = np.zeros((height, width, 3)), 1.0
        fall = rng.uniform(0.4, 1.0)
        for cells in (2, 4, 8, 16, 32, 64):
            small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            field += weight * np.asarray(small.resize((width, height), Image.BICUBIC), np.float32) / 255
            weight *= fall
    elif kind == 3:  # waves that bend each other
        field = np.zeros((height, width, 3))
        for _ in range(int(rng.integers(2, 6))):
            angle, wave = rng.uniform(0, 6.3), rng.uniform(10, 90)
            bent = (
                x * math.cos(angle)
                + y * math.sin(angle)
                + rng.uniform(0, 0.1) * np.sin(rng.uniform(5, 30) * x + rng.uniform(0, 6))
            )
            field += np.sin(wave * bent)[..., None] * rng.uniform(-1, 1, 3)
    else:  # cells, each of one colour
        points = rng.random((int(rng.integers(12, 80)), 2))
        nearest = ((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2).argmin(-1)
        field = rng.random((len(points), 3))[nearest] + 0.1 * rng.random((height, width, 1))
    field = (field - field.min()) / (np.ptp(field) + 1e-6)
    a, b = rng.uniform(0, 110, 3), rng.uniform(140, 255, 3)
    return Image.fromarray((a + field * (b - a)).astype(np.uint8))


def _cut_outs(width, height, cache, rng):
    """Parts of photographs, in shapes without a name, before another that is out of focus."""
    side = max(width, height)
    image = _photo(width, height, cache, rng).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.06) * side))
    angle = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    for _ in range(int(rng.integers(1, 4))):
        lobes, depth = rng.integers(2, 10, 2), rng.uniform(0, 0.3, 2)
        radius = 1 + depth @ np.cos(lobes[:, None] * angle + rng.uniform(0, 2 * math.pi, (2, 1)))
        reach = min(width, height) * rng.uniform(0.15, 0.5) / radius.max()
        points = np.stack([np.cos(angle), np.sin(angle)], -1) * radius[:, None] * reach
        points += rng.uniform(0.2, 0.8, 2) * [width, height]
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([tuple(p) for p in points.tolist()], fill=255)
        mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.015) * side))
        image.paste(_photo(width, height, cache, rng), mask=mask)
    return image


def unknown(cache, rng):
    """A photograph or a texture: what the model must say it does not know."""
    kind = rng.random()
    if kind < 0.35:
        image = _cut_outs(*size(rng), cache, rng)
    elif kind < 0.8:
        width, height = size(rng)
        image = _photo(width, height, cache, rng)
        if rng.random() < 0.5:  # two of them over or beside each other: more photographs than there are
            other = _photo(width, height, cache, rng)
            cells = int(rng.integers(1, 4))  # 1: one mixture everywhere
            mask = Image.fromarray(rng.integers(40, 216, (cells, cells), dtype=np.uint8))
            mask = mask.resize((width, height), Image.BICUBIC)
            if cells > 1 and rng.random() < 0.7:  # with a border between them
                mask = mask.point(lambda v: max(0, min(255, 8 * v - 896)))
            image = Image.composite(image, other, mask)
        if rng.random() < 0.2:  # in other colours
            image = Image.merge("RGB", [image.getchannel(int(c)) for c in rng.permutation(3)])
    else:
        image = _texture(*size(rng, 48, 160), rng)
    return wear(image, rng), [Thing(UNKNOWN, -1, 0.5, 0.5, 1.0)], np.ones((LABEL_SIZE, LABEL_SIZE), np.uint8)


def empty(rng):
    """A plain or graded ground with nothing on it."""
    width, height = size(rng, 48, 200)
    a = any_colour(rng)
    b = np.clip(a + rng.uniform(-50, 50, 3), 0, 255)
    picture = background(width, height, a, b, rng)
    return (
        wear(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), rng),
        [],
        np.zeros((LABEL_SIZE, LABEL_SIZE), np.uint8),
    )
