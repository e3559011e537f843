"""What the tower sees in every picture, computed once and kept: the tower is frozen.

    features.py CACHE PHOTOS FEATURES      resumable; start it twice with --workers 2 --rank 0 and --rank 1 for two cores

FEATURES/train-0000.npy ...    photographs in the order of photographs.load, a block of BLOCK a file: (B, views, 49, 1280)
                               f16; the first view is the whole picture, the others are parts of it, mirrored or not
FEATURES/val-0000.npy ...      the same with one view
FEATURES/drawn-0000.npy ...    what the model of drawings knows: scenes, emoji, clothes, easy-VQA (one view)
FEATURES/nothing-0000.npy ...  textures, noise, plain grounds, mixtures of photographs (one view)
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import collage
import data
import photographs
import tower
from scenes import size, wear

BLOCK = 256
DRAWN = {"scenes": 0.4, "emoji": 0.35, "clothes": 0.15, "easy_vqa": 0.1}
NOTHING = {"texture": 0.5, "empty": 0.2, "mixed": 0.15, "plain": 0.15}


def part(image, rng):
    """A part of a photograph, of half its area or more, mirrored or not, a little lighter or darker."""
    area, shape = rng.uniform(0.5, 1), np.exp(rng.uniform(-0.3, 0.3))
    width = min(1, np.sqrt(area * shape)) * image.width
    height = min(1, np.sqrt(area / shape)) * image.height
    x, y = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    image = image.crop((int(x), int(y), int(x + width), int(y + height)))
    if rng.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    return image.point(lambda v, k=rng.uniform(0.8, 1.2): min(255, int(v * k)))


def drawn(cache, rng):
    kind = str(rng.choice(list(DRAWN), p=list(DRAWN.values())))
    return data.draw(kind, cache, rng)[0]


def nothing(cache, rng):
    kind = str(rng.choice(list(NOTHING), p=list(NOTHING.values())))
    if kind == "plain":  # of one colour, half of them gray
        colour = rng.integers(0, 256, 3) if rng.random() < 0.5 else [rng.integers(0, 256)] * 3
        return Image.new("RGB", (tower.IMAGE_SIZE,) * 2, tuple(int(c) for c in colour))
    if kind == "empty":
        return collage.empty(rng)[0]
    if kind == "texture":
        return wear(collage._texture(*size(rng, 48, 256), rng), rng)
    return collage._cut_outs(*size(rng), cache, rng)


@torch.no_grad()
def look(model, pictures):
    """Features (N, 49, 1280) f16 of Pillow images."""
    pixels = tower.normalize(np.stack([tower.fit(p.convert("RGB")) for p in pictures]))
    maps = model.forward_features(pixels.to(memory_format=torch.channels_last))
    return maps.flatten(2).transpose(1, 2).half().numpy()


def read(folder, split):
    """One array of all blocks of a split, in memory."""
    paths = sorted(Path(folder).glob(f"{split}-*.npy"))
    blocks = [np.load(p, mmap_mode="r") for p in paths]
    found = np.empty((sum(map(len, blocks)), *blocks[0].shape[1:]), np.float16)
    at = 0
    for block in blocks:
        found[at : at + len(block)] = block
        at += len(block)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--drawn", type=int, default=4096)
    parser.add_argument("--nothing", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.features.mkdir(parents=True, exist_ok=True)
    model = tower.load(args.cache).to(memory_format=torch.channels_last)
    cache = collage.Cache.load(args.cache)
    work = []
    for split, views in (("val", 1), ("train", args.views)):
        files = [p.file for p in photographs.load(args.photos, args.cache, split)]
        contents = dict(photographs.pictures(args.photos, split))
        work += [(split, n, views, [contents[f] for f in files[n : n + BLOCK]]) for n in range(0, len(files), BLOCK)]
    for split, count in (("nothing", args.nothing), ("drawn", args.drawn)):
        work += [(split, n, 1, range(n, min(n + BLOCK, count))) for n in range(0, count, BLOCK)]
    for split, first, views, rows in work[args.rank :: args.workers]:
        path = args.features / f"{split}-{first // BLOCK:04d}.npy"
        if path.exists():
            continue
        found = []
        for n, row in enumerate(rows):
            rng = np.random.default_rng([len(split), first + n])
            if split in ("train", "val"):
                image = Image.open(io.BytesIO(row)).convert("RGB")
                pictures = [image] + [part(image, rng) for _ in range(views - 1)]
            else:
                pictures = [(drawn if split == "drawn" else nothing)(cache, rng)]
            found.append(look(model, pictures))
        with open(path.with_suffix(".part"), "wb") as file:
            np.save(file, np.stack(found))
        path.with_suffix(".part").rename(path)
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
