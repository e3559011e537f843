"""Held-out pictures drawn by Skia, with outlines, colours, backgrounds and placing of their own.

Shares nothing with `scenes.py` and `collage.py` but the names. A scene is {"file", "width", "height", "things":
[{"shape", "colour",
"filled", "x", "y"}], "questions"} with centres in pixels of the picture.
"""

import math

import numpy as np
import skia
from PIL import Image

# Named colours as people pick them: a few of each name, a little noise added when drawn.
PALETTE = {
    "red": ["#ff0000", "#e01b24", "#d32f2f", "#c81414", "#f03a2e"],
    "orange": ["#ff8c00", "#ffa500", "#fb8c00", "#ff7f11", "#f59a23"],
    "yellow": ["#ffff00", "#ffeb3b", "#f6d32d", "#fde725", "#f7e04a"],
    "green": ["#008000", "#2ec27e", "#43a047", "#1fa81f", "#33d17a", "#0b6e2d"],
    "teal": ["#008080", "#00897b", "#0f8b8d", "#009688"],
    "blue": ["#0000ff", "#1e88e5", "#1c71d8", "#2a52be", "#153fb4"],
    "purple": ["#800080", "#8e24aa", "#9141ac", "#7b2fbf", "#a349d6"],
    "pink": ["#ff69b4", "#ffb6c1", "#f48fb1", "#ff80ab", "#ffc0cb"],
    "brown": ["#8b4513", "#795548", "#6d4c2f", "#63452c", "#7b4a1e"],
    "black": ["#000000", "#111111", "#1a1a1a"],
    "white": ["#ffffff", "#fafafa", "#f5f5f5"],
    "gray": ["#808080", "#9e9e9e", "#757575", "#888a85"],
}
SHAPES = ["circle", "oval", "square", "rectangle", "triangle", "diamond", "star", "heart", "cross", "moon"]
COUNTS = ["zero", "one", "two", "three", "four", "five"]
GROUNDS = [
    "#ffffff", "#f4f1e8", "#e0e0e0", "#bdbdbd", "#808080", "#505050", "#202428", "#000000", "#cfe8fc", "#87ceeb",
    "#0d3b66",
    "#ffd9e0", "#fae7b5", "#d9f2d0", "#6b8e5a", "#274029", "#8d6e63", "#d2b48c", "#cdb4db", "#3b1f4a", "#b5651d",
    "#5f9ea0",
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
    r = radius

    def polygon(points):
        for i, (x, y) in enumerate(points):
            path.lineTo(x * r, y * r) if i else path.moveTo(x * r, y * r)
        path.close()

    if shape == "circle":
        path.addCircle(0, 0, r * 0.95)
    elif shape == "oval":
        path.addOval(skia.Rect(-r, -0.58 * r, r, 0.58 * r))
    elif shape == "square":
        path.addRect(skia.Rect(-0.84 * r, -0.84 * r, 0.84 * r, 0.84 * r))
    elif shape == "rectangle":
        path.addRect(skia.Rect(-0.9 * r, -0.45 * r, 0.9 * r, 0.45 * r))
    elif shape == "triangle":
        polygon([(0, -1), (0.93, 0.66), (-0.93, 0.66)])
    elif shape == "diamond":
        polygon([(0, -1), (0.7, 0), (0, 1), (-0.7, 0)])
    elif shape == "star":
        tips = [(i * math.pi / 5, 1 if i % 2 == 0 else 0.42) for i in range(10)]
        polygon([(k * math.sin(a), -k * math.cos(a)) for a, k in tips])
    elif shape == "cross":
        b = 0.28
        polygon(
            [(-b, -1), (b, -1), (b, -b), (1, -b), (1, b), (b, b), (b, 1), (-b, 1), (-b, b), (-1, b), (-1, -b), (-b, -b)]
        )
    elif shape == "moon":  # two arcs through the same two tips
        path.moveTo(0.45 * r, -0.85 * r)
        path.cubicTo(-1.15 * r, -1.15 * r, -1.15 * r, 1.15 * r, 0.45 * r, 0.85 * r)
        path.cubicTo(-0.35 * r, 0.5 * r, -0.35 * r, -0.5 * r, 0.45 * r, -0.85 * r)
        path.close()
    else:  # two cubic curves
        path.moveTo(0, 0.92 * r)
        path.cubicTo(-0.55 * r, 0.45 * r, -1.0 * r, 0.1 * r, -1.0 * r, -0.35 * r)
        path.cubicTo(-1.0 * r, -0.95 * r, -0.2 * r, -1.0 * r, 0, -0.42 * r)
        path.cubicTo(0.2 * r, -1.0 * r, 1.0 * r, -0.95 * r, 1.0 * r, -0.35 * r)
        path.cubicTo(1.0 * r, 0.1 * r, 0.55 * r, 0.45 * r, 0, 0.92 * r)
        path.close()
    return path.detach() if hasattr(path, "detach") else path


def by_hand(shape, radius, rng):
    """The same outline as a pointer leaves it: straight pieces between points that miss by a little, its end not on
    its start."""
    length = skia.PathMeasure(path_of(shape, radius), False)
    total = length.getLength()
    pieces = rng.randint(28, 44)
    start, overlap = rng.random(), rng.uniform(0.97, 1.06)
    drift_x, drift_y = rng.uniform(-0.06, 0.06) * radius, rng.uniform(-0.06, 0.06) * radius
    path = skia.PathBuilder() if hasattr(skia, "PathBuilder") else skia.Path()
    for i in range(pieces + 1):
        at, _ = length.getPosTan((start + overlap * i / pieces) % 1 * total)
        x = at.x() + rng.gauss(0, 0.018) * radius + drift_x * i / pieces
        y = at.y() + rng.gauss(0, 0.018) * radius + drift_y * i / pieces
        path.lineTo(x, y) if i else path.moveTo(x, y)
    return path.detach() if hasattr(path, "detach") else path


def placed(rng, width, height, count, least=0.062):
    """Centres and radii so that no two discs touch; the size is the same kind of choice for the whole scene."""
    longer, shorter = max(width, height), min(width, height)
    while True:
        biggest = min(shorter * 0.45, longer * (0.36, 0.27, 0.22, 0.19, 0.17)[count - 1])
        smallest = min(biggest, max(7, least * longer))
        discs = []
        for _ in range(60):
            r = rng.uniform(smallest, biggest)
            x, y = rng.uniform(r, width - r), rng.uniform(r, height - r)
            if all(math.hypot(x - a, y - b) > r + c + 2 for a, b, c in discs):
                discs.append((x, y, r))
            if len(discs) == count:
                return discs


def size(rng, least=48):
    """Width and height, 48 to 400, the longer side at most 2.5 times the shorter."""
    while True:
        width, height = rng.randint(least, 400), rng.randint(least, 400)
        if max(width, height) <= 2.5 * min(width, height):
            return width, height


def ground(canvas, rng, width, height, fair):
    """Paint a background out of the colours `fair`; true where noise belongs on top."""
    plain = rng.choice(fair)
    canvas.clear(skia.Color(*plain))
    kind = rng.choice(["plain", "graded", "noisy"])
    if kind == "graded":
        near = [g for g in fair if apart(g, plain) < 260]
        colours = [skia.Color(*plain), skia.Color(*rng.choice(near))]
        if rng.random() < 0.5:
            ends = [skia.Point(0, 0), skia.Point(*rng.choice([(width, 0), (0, height), (width, height)]))]
            shader = skia.GradientShader.MakeLinear(ends, colours)
        else:
            centre = skia.Point(rng.uniform(0, width), rng.uniform(0, height))
            shader = skia.GradientShader.MakeRadial(centre, math.hypot(width, height), colours)
        canvas.drawPaint(skia.Paint(Shader=shader))
    return kind == "noisy"


def picture(surface, noisy, rng):
    pixels = np.array(surface.makeImageSnapshot().convert(colorType=skia.kRGBA_8888_ColorType))[..., :3]
    if noisy:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(4, 16), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def scene(rng):
    """One scene: (Pillow image, things): one to three things, or two to five of one kind or two."""
    width, height = size(rng)
    one = lambda: (rng.choice(SHAPES), rng.choice(list(PALETTE)))
    if rng.random() < 0.6:
        chosen = [one() for _ in range(rng.choice([1, 2, 3]))]
    else:
        count = rng.randint(2, 5)
        others = rng.randrange(count) if rng.random() < 0.5 else 0
        chosen = [one()] * (count - others) + [one()] * others
    value = {c: tuple(min(255, max(0, v + rng.randint(-8, 8))) for v in rgb(rng.choice(PALETTE[c]))) for _, c in chosen}
    fair = [g for g in map(rgb, GROUNDS) if all(apart(g, f) > 150 for f in value.values())]
    if not fair:  # colours so far apart that no ground suits them all
        return scene(rng)
    surface = skia.Surface(width, height)
    canvas = surface.getCanvas()
    noisy = ground(canvas, rng, width, height, fair)
    smooth = rng.random() < 0.9
    outlined = rng.random() < 0.2
    things = []
    for (shape, colour), (x, y, r) in zip(chosen, placed(rng, width, height, len(chosen))):
        paint = skia.Paint(Color=skia.Color(*value[colour]), AntiAlias=smooth)
        if outlined:
            paint.setStyle(skia.Paint.kStroke_Style)
            paint.setStrokeWidth(max(1.5, r * rng.uniform(0.12, 0.22)))
        canvas.save()
        canvas.translate(x, y)
        canvas.rotate(rng.uniform(-15, 15) + (90 if shape in ("oval", "rectangle") and rng.random() < 0.5 else 0))
        canvas.drawPath(path_of(shape, r * (0.92 if outlined else 1)), paint)
        canvas.restore()
        things.append({"shape": shape, "colour": colour, "filled": not outlined, "x": round(x, 1), "y": round(y, 1)})
    return picture(surface, noisy, rng), things


# The demo page's drawing board: its size, ground, colours and brush.
BOARD = {
    "red": "#e02020", "orange": "#ff8c1a", "yellow": "#ffe01a", "green": "#1e9e3e", "blue": "#2255dd", "purple":
    "#8a2be2",
    "black": "#111111", "white": "#ffffff",
}  # fmt: skip
BOARD_SIZE, BOARD_GROUND, BRUSH = 336, "#d8d8d8", 14


def drawing(rng):
    """One or two shapes as someone brushes them on the demo's board: (Pillow image, things)."""
    surface = skia.Surface(BOARD_SIZE, BOARD_SIZE)
    canvas = surface.getCanvas()
    canvas.clear(skia.Color(*rgb(BOARD_GROUND)))
    things = []
    count = rng.choice([1, 1, 2])
    for x, y, r in placed(rng, BOARD_SIZE, BOARD_SIZE, count, least=0.13):
        shape, colour = rng.choice(SHAPES), rng.choice(list(BOARD))
        paint = skia.Paint(
            Color=skia.Color(*rgb(BOARD[colour])), AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=BRUSH
        )
        paint.setStrokeCap(skia.Paint.kRound_Cap)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
        canvas.save()
        canvas.translate(x, y)
        canvas.rotate(rng.uniform(-10, 10))
        canvas.drawPath(by_hand(shape, r * 0.9, rng), paint)
        canvas.restore()
        things.append({"shape": shape, "colour": colour, "filled": False, "x": round(x, 1), "y": round(y, 1)})
    return picture(surface, False, rng), things


def emoji(rng, sprites):
    """Emoji (64 x 64 RGBA arrays) on a background, each at least 48 pixels wide: Pillow image, centres."""
    least = (64, 180, 240)[len(sprites) - 1]
    width = rng.randint(least, 400)
    height = min(400, max(least, round(width * rng.uniform(0.7, 1.4))))
    surface = skia.Surface(width, height)
    canvas = surface.getCanvas()
    noisy = ground(canvas, rng, width, height, [rgb(g) for g in GROUNDS])
    if len(sprites) == 1:
        r = max(24, min(width, height) * rng.uniform(0.3, 0.48))
        discs = [(rng.uniform(r, width - r), rng.uniform(r, height - r), r)]
    else:
        discs = placed(rng, width, height, len(sprites), least=0.12)
    for sprite, (x, y, r) in zip(sprites, discs):
        image = skia.Image.fromarray(np.ascontiguousarray(sprite), colorType=skia.kRGBA_8888_ColorType)
        canvas.save()
        canvas.translate(x, y)
        canvas.rotate(rng.uniform(-10, 10))
        canvas.drawImageRect(
            image, skia.Rect(-r, -r, r, r), skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
        )
        canvas.restore()
    return picture(surface, noisy, rng), [(x, y) for x, y, _ in discs]


def questions(rng, scene):
    """One question of each kind the scene allows: {"kind", "prompt", "answer"}."""
    things = scene["things"]
    longer = max(scene["width"], scene["height"])
    alone = {key: [t for t in things if sum(o[key] == t[key] for o in things) == 1] for key in ("shape", "colour")}
    asked = [("count", "How many shapes are there?", COUNTS[len(things)])]
    if alone["shape"]:
        t = rng.choice(alone["shape"])
        asked.append(("colour", f"What colour is the {t['shape']}?", t["colour"]))
        if rng.random() < 0.5:
            asked.append(("filled", f"Is the {t['shape']} filled?", "yes" if t["filled"] else "no"))
    if alone["colour"]:
        t = rng.choice(alone["colour"])
        asked.append(("shape", f"What shape is the {t['colour']} thing?", t["shape"]))
    shape = rng.choice(things)["shape"] if rng.random() < 0.75 else rng.choice(SHAPES)
    number = sum(t["shape"] == shape for t in things)
    asked.append(("count one kind", f"How many {shape}{'es' if shape == 'cross' else 's'} are there?", COUNTS[number]))
    pairs = [(a, b) for a in alone["shape"] for b in alone["shape"] if a is not b]
    if pairs:
        a, b = rng.choice(pairs)
        word, distance = rng.choice(
            [
                ("left of", b["x"] - a["x"]),
                ("right of", a["x"] - b["x"]),
                ("above", b["y"] - a["y"]),
                ("below", a["y"] - b["y"]),
            ]
        )
        if abs(distance) > 0.1 * longer:
            asked.append(
                (
                    "relation, yes or no",
                    f"Is the {a['shape']} {word} the {b['shape']}?",
                    "yes" if distance > 0 else "no",
                )
            )
    if len(things) == 2 and alone["shape"]:
        a = rng.choice(alone["shape"])
        b = next(t for t in things if t is not a)
        sides = [
            ("left of", a["x"] - b["x"]),
            ("right of", b["x"] - a["x"]),
            ("above", a["y"] - b["y"]),
            ("below", b["y"] - a["y"]),
        ]
        word, distance = max(sides, key=lambda side: side[1])
        if distance > 0.1 * longer:
            name = f"{b['colour']} {b['shape']}"
            asked.append(
                ("relation, which", f"What is {word} the {a['shape']}?", f"{'an' if name[0] == 'o' else 'a'} {name}")
            )
    if pairs:
        a, b = rng.choice(pairs)
        words = rng.choice(["left or right of", "above or below"])
        distance = b["x"] - a["x"] if words[0] == "l" else b["y"] - a["y"]
        if abs(distance) > 0.1 * longer:
            first, _, second = words.removesuffix(" of").split()
            asked.append(
                (
                    "relation, one of two",
                    f"Is the {a['shape']} {words} the {b['shape']}?",
                    first if distance > 0 else second,
                )
            )
    return [{"kind": k, "prompt": p, "answer": a} for k, p, a in asked]
