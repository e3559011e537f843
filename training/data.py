"""Training pictures of every kind, mixed, in shards on disk, and questions and answers about them."""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import collage
import scenes
from preprocess import to_square_pixels
from questions import as_typed, ask, ask_caption
from scenes import LABEL_SIZE, MOST, Thing

SHARD = 2048
IMAGE_SIZE = 128
COLUMNS = 6  # of the table of things: name (-1: none), colour, x, y, diameter, filled
# What share of the pictures each kind has.
MIX = {"scenes": 0.45, "emoji": 0.24, "clothes": 0.12, "easy_vqa": 0.02, "unknown": 0.16, "empty": 0.01}


def draw(kind, cache, rng):
    """(image, things, labels, questions that came with it)"""
    if kind == "scenes":
        return *scenes.draw(rng), []
    if kind == "empty":
        return *collage.empty(rng), []
    found = getattr(collage, kind)(cache, rng)
    return found if len(found) == 4 else (*found, [])


def draw_shard(cache, seed, index, size=SHARD):
    """Arrays: pixels (n, S, S, 3) u8, labels (n, L, L) u8, things (n, MOST, COLUMNS) f32, and questions (n) as text."""
    rng = np.random.default_rng([seed, index])
    pixels = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    labels = np.empty((size, LABEL_SIZE, LABEL_SIZE), np.uint8)
    table = np.full((size, MOST, COLUMNS), -1, np.float32)
    texts = []
    for n, kind in enumerate(rng.choice(list(MIX), size, p=list(MIX.values()))):
        image, things, labels[n], questions = draw(str(kind), cache, rng)
        pixels[n] = to_square_pixels(image, IMAGE_SIZE)
        for i, t in enumerate(things):
            table[n, i] = (t.name, t.colour, t.x, t.y, t.diameter, t.filled)
        texts.append("\n".join(f"{q}\t{a}" for q, a in questions))
    return {"pixels": pixels, "labels": labels, "things": table, "questions": np.array(texts)}


def things_of(table):
    return [Thing(int(n), int(c), float(x), float(y), float(d), int(f)) for n, c, x, y, d, f in table if n >= 0]


def pairs(table, text, rng, count):
    """`count` questions and answers about a picture: easy-VQA's own, where it has some, and ours."""
    own = [tuple(line.split("\t")) for line in text.split("\n") if line]
    if not own:
        return ask(things_of(table), rng, count)
    things = things_of(table)  # empty where its questions do not say what it shows
    # Those that are not yes or no come oftener than their share.
    weights = np.array([1.0 if answer in ("yes", "no") else 3.0 for _, answer in own])
    taken = rng.choice(len(own), min(len(own), count - 1), replace=False, p=weights / weights.sum())
    rest = [ask_caption(things, rng)] if things else []
    return rest + [(as_typed(own[i][0], rng), own[i][1]) for i in taken]


def shard_path(folder, index):
    return Path(folder) / f"mixed-{IMAGE_SIZE}-{index:04d}.npz"


def write_shard(folder, cache, seed, index):
    path = shard_path(folder, index)
    if path.exists():
        return
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez(file, **draw_shard(cache, seed, index))
    part.rename(path)


def read_shard(folder, index):
    """Waits for the drawing process where it is behind."""
    while not shard_path(folder, index).exists():
        time.sleep(1)
    with np.load(shard_path(folder, index)) as data:
        return {name: data[name] for name in data.files}


def wait_while(path):
    """Pauses as long as this file exists: someone else needs the machine."""
    while path is not None and Path(path).exists():
        time.sleep(2)


def main():
    parser = argparse.ArgumentParser(description="Draw the training pictures (resumable).")
    parser.add_argument("cache", help="the folder that fetch.py filled")
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument(
        "--first", type=int, default=0, help="start at this shard; several processes can share the work"
    )
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause-file", help="draw nothing while this file exists")
    args = parser.parse_args()
    Path(args.folder).mkdir(parents=True, exist_ok=True)
    cache = collage.Cache.load(args.cache)
    for index in range(args.first, args.shards, args.stride):
        wait_while(args.pause_file)
        write_shard(args.folder, cache, args.seed, index)


if __name__ == "__main__":
    main()
