"""Shards of drawn scenes on disk, and questions and answers about them."""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from scenes import draw_shard

SHARD = 2048
IMAGE_SIZE = 96


def shard_path(folder, index):
    return Path(folder) / f"scenes-{IMAGE_SIZE}-{index:03d}.npz"


def write_shard(folder, seed, index):
    path = shard_path(folder, index)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with open(part, "wb") as file:
            np.savez(file, **draw_shard(seed, index, SHARD, IMAGE_SIZE))
        part.rename(path)


def read_shard(folder, index):
    """Waits for the drawing process where it is behind."""
    while not shard_path(folder, index).exists():
        time.sleep(1)
    with np.load(shard_path(folder, index)) as data:
        return {name: data[name] for name in data.files}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the training scenes (resumable).")
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for index in range(args.shards):
        write_shard(args.folder, args.seed, index)
