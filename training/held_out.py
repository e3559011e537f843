"""Held-out scenes, drawn by Skia with outlines, colours, backgrounds and placing of their own.

Shares nothing with `scenes.py` but the names of shapes and colours. A scene is {"file", "width", "height", "things": [{"shape",
"colour", "x", "y"}], "questions"} with centres in pixels of the picture.
"""

import argparse
import json
import math
import random
from pathlib import Path

import numpy as np
import skia
from PIL import Image

# Named colours as people pick them: a few of each name, a little noise added when drawn.
PALETTE = {
    "red": ["#ff0000", "#e01b24", "#d32f2f", "#c81414", "#f03a2e"],
    "orange": ["#ff8c00", "#ffa500", "#fb8c00", "#ff7f11", "#f59a23"],
    "yellow": ["#ffff00", "#ffeb3b", "#f6d32d", "#fde725", "#f7e04a"],
    "green": ["#008000", "#2ec27e", "#43a047", "#1fa81f", "#33d17a", "#0b6e2d"],
    "blue": ["#0000ff", "#1e88e5", "#1c71d8", "#2a52be", "#153fb4"],
    "purple": ["#800080", "#8e24aa", "#9141ac", "#7b2fbf", "#a349d6"],
    "black": ["#000000", "#111111", "#1a1a1a"],
    "white": ["#ffffff", "#fafafa", "#f5f5f5"],
}
SHAPES = ["circle", "square", "triangle", "star", "heart"]
GROUNDS = [
    "#ffffff", "#f4f1e8", "#e0e0e0", "#bdbdbd", "#808080", "#505050", "#202428", "#000000", "#cfe8fc", "#87ceeb", "#0d3b66",
    "#ffd9e0", "#fae7b5", "#d9f2d0", "#6b8e5a", "#274029", "#8d6e63", "#d2b48c", "#cdb4db", "#3b1f4a", "#b5651d", "#5f9ea0",
]  # fmt: skip


def rgb(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def apart(a, b):
    """'Redmean' distance of two colours, 0 to about 765."""
    mean = (a[0] + b[0]) / 2
    r, g, b = (p - q for p, q in zip(a, b))
    return math.sqrt((2 + mean / 256) * r * r + 4 * g * g + (2 + (255 - mean) / 256) * b * b)


def path_of(shape, radius):
    """A skia path about the origin that reaches about `radius` from it."""
    path = skia.PathBuilder() if hasattr(skia, "PathBuilder") else skia.Path()
    if shape == "circle":
        path.addCircle(0, 0, radius * 0.95)
    elif shape == "square":
        a = radius * 0.84
        path.addRect(skia.Rect(-a, -a, a, a))
    elif shape == "triangle":
        path.moveTo(0, -radius)
        path.lineTo(radius * 0.93, radius * 0.66)
        path.lineTo(-radius * 0.93, radius * 0.66)
        path.close()
    elif shape == "star":
        for i in range(10):
            r = radius if i % 2 == 0 else radius * 0.42
            x, y = r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5)
            path.lineTo(x, y) if i else path.moveTo(x, y)
        path.close()
    else:  # two cubic curves
        r = radius
        path.moveTo(0, 0.92 * r)
        path.cubicTo(-0.55 * r, 0.45 * r, -1.0 * r, 0.1 * r, -1.0 * r, -0.35 * r)
        path.cubicTo(-1.0 * r, -0.95 * r, -0.2 * r, -1.0 * r, 0, -0.42 * r)
        path.cubicTo(0.2 * r, -1.0 * r, 1.0 * r, -0.95 * r, 1.0 * r, -0.35 * r)
        path.cubicTo(1.0 * r, 0.1 * r, 0.55 * r, 0.45 * r, 0, 0.92 * r)
        path.close()
    return path.detach() if hasattr(path, "detach") else path


def placed(rng, width, height, count):
    """Centres and radii so that no two discs touch; the size is the same kind of choice for the whole scene."""
    longer, shorter = max(width, height), min(width, height)
    while True:
        biggest = min(shorter * 0.45, longer * (0.36, 0.27, 0.22)[count - 1])
        smallest = min(biggest, max(7, 0.062 * longer))
        discs = []
        for _ in range(60):
            r = rng.uniform(smallest, biggest)
            x, y = rng.uniform(r, width - r), rng.uniform(r, height - r)
            if all(math.hypot(x - a, y - b) > r + c + 2 for a, b, c in discs):
                discs.append((x, y, r))
            if len(discs) == count:
                return discs


def scene(rng):
    """One scene: (Pillow image, things)."""
    count = rng.choice([1, 2, 3])
    width, height = rng.randint(48, 400), rng.randint(48, 400)
    chosen = [(rng.choice(SHAPES), rng.choice(list(PALETTE))) for _ in range(count)]
    fills = [tuple(min(255, max(0, v + rng.randint(-8, 8))) for v in rgb(rng.choice(PALETTE[c]))) for _, c in chosen]
    fair = [g for g in map(rgb, GROUNDS) if all(apart(g, f) > 150 for f in fills)]
    ground = rng.choice(fair)
    surface = skia.Surface(width, height)
    canvas = surface.getCanvas()
    canvas.clear(skia.Color(*ground))
    kind = rng.choice(["plain", "graded", "noisy"])
    if kind == "graded":
        near = [g for g in fair if apart(g, ground) < 260]
        colours = [skia.Color(*ground), skia.Color(*rng.choice(near))]
        if rng.random() < 0.5:
            ends = [skia.Point(0, 0), skia.Point(*rng.choice([(width, 0), (0, height), (width, height)]))]
            shader = skia.GradientShader.MakeLinear(ends, colours)
        else:
            centre = skia.Point(rng.uniform(0, width), rng.uniform(0, height))
            shader = skia.GradientShader.MakeRadial(centre, math.hypot(width, height), colours)
        canvas.drawPaint(skia.Paint(Shader=shader))
    discs = placed(rng, width, height, count)
    smooth = rng.random() < 0.9
    for (shape, _), fill, (x, y, r) in zip(chosen, fills, discs):
        canvas.save()
        canvas.translate(x, y)
        canvas.rotate(rng.uniform(-15, 15))
        canvas.drawPath(path_of(shape, r), skia.Paint(Color=skia.Color(*fill), AntiAlias=smooth))
        canvas.restore()
    pixels = np.array(surface.makeImageSnapshot().convert(colorType=skia.kRGBA_8888_ColorType))[..., :3]
    if kind == "noisy":
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(4, 16), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    things = [{"shape": s, "colour": c, "x": round(x, 1), "y": round(y, 1)} for (s, c), (x, y, _) in zip(chosen, discs)]
    return Image.fromarray(np.ascontiguousarray(pixels)), things


def questions(rng, scene):
    """One question of each kind the scene allows: {"kind", "prompt", "answer"}."""
    things = scene["things"]
    longer = max(scene["width"], scene["height"])
    alone = {key: [t for t in things if sum(o[key] == t[key] for o in things) == 1] for key in ("shape", "colour")}
    asked = [("count", "How many shapes are there?", ["one", "two", "three"][len(things) - 1])]
    if alone["shape"]:
        t = rng.choice(alone["shape"])
        asked.append(("colour", f"What colour is the {t['shape']}?", t["colour"]))
    if alone["colour"]:
        t = rng.choice(alone["colour"])
        asked.append(("shape", f"What shape is the {t['colour']} thing?", t["shape"]))
    shape = rng.choice(SHAPES)
    number = sum(t["shape"] == shape for t in things)
    asked.append(("count one kind", f"How many {shape}s are there?", ["zero", "one", "two", "three"][number]))
    pairs = [(a, b) for a in alone["shape"] for b in alone["shape"] if a is not b]
    if pairs:
        a, b = rng.choice(pairs)
        word, distance = rng.choice(
            [("left of", b["x"] - a["x"]), ("right of", a["x"] - b["x"]), ("above", b["y"] - a["y"]), ("below", a["y"] - b["y"])]
        )
        if abs(distance) > 0.1 * longer:
            asked.append(("yes or no", f"Is the {a['shape']} {word} the {b['shape']}?", "yes" if distance > 0 else "no"))
    if len(things) == 2 and alone["shape"]:
        a = rng.choice(alone["shape"])
        b = next(t for t in things if t is not a)
        sides = [("left of", a["x"] - b["x"]), ("right of", b["x"] - a["x"]), ("above", a["y"] - b["y"]), ("below", b["y"] - a["y"])]
        word = rng.choice([w for w, d in sides if d == max(d for _, d in sides)])
        name = f"{b['colour']} {b['shape']}"
        asked.append(("what is there", f"What is {word} the {a['shape']}?", f"{'an' if name[0] == 'o' else 'a'} {name}"))
    return [{"kind": k, "prompt": p, "answer": a} for k, p, a in asked]


def write(folder, count, seed):
    """Write `count` pictures, PNG and JPEG by turns, and scenes.jsonl; returns the scenes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    scenes = []
    for n in range(count):
        image, things = scene(rng)
        if n % 2:
            name = f"{n:04d}.jpg"
            image.save(folder / name, quality=rng.choice([50, 70, 85, 95]))
        else:
            name = f"{n:04d}.png"
            image.save(folder / name)
        scenes.append({"file": name, "width": image.width, "height": image.height, "things": things})
        scenes[-1]["questions"] = questions(random.Random(f"{seed}-{n}"), scenes[-1])
    (folder / "scenes.jsonl").write_text("".join(json.dumps(s) + "\n" for s in scenes))
    return scenes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    write(**vars(parser.parse_args()))
