"""What each step of the training sees."""

import numpy as np
import torch

import data
from dense import dense_targets, fewer
from model import GRID
from names import FIRST_CLOTHES, FIRST_EMOJI, UNKNOWN


class Pictures:
    """Batches of pictures: `block` shards are gone through `visits` times, then the next block; half of the pictures
    mirrored, most of them shifted."""

    def __init__(self, folder, shards, batch, seed, visits, block=8):
        self.folder, self.shards, self.batch, self.seed, self.loaded = folder, shards, batch, seed, None
        self.block, self.visits = block, visits

    def __call__(self, step):
        """The batch of this step: pixels (B, S, S, 3) u8, labels, things, texts and the step's random generator."""
        visit, part = divmod(step, data.SHARD // self.batch)
        if self.loaded != visit:
            shard = (visit // (self.block * self.visits)) * self.block + visit % self.block
            self.arrays, self.loaded = data.read_shard(self.folder, shard % self.shards), visit
            self.order = np.random.default_rng([self.seed, 1, visit]).permutation(data.SHARD)
        rng = np.random.default_rng([self.seed, 2, step])
        rows = self.order[part * self.batch : (part + 1) * self.batch]
        pixels, labels, things, texts = (self.arrays[k][rows] for k in ("pixels", "labels", "things", "questions"))
        mirror = rng.random(len(rows)) < 0.5
        pixels[mirror] = pixels[mirror, :, ::-1]
        labels[mirror] = labels[mirror, :, ::-1]
        things[mirror, :, 2] = 1 - things[mirror, :, 2]
        shift(pixels, labels, things, rng)
        return pixels, labels, things, texts, rng


def shift(pixels, labels, things, rng):
    """Move each picture by half a patch, or not, along either axis, in place: what covers a patch is then another part
    of the thing. Not where that would push a thing over the border; what comes in is the border's pixels."""
    steps = rng.integers(-1, 2, (len(pixels), 2))  # of half a patch, to the right and down
    there, reach = things[..., 0] >= 0, things[..., 4] / 2
    for axis in (0, 1):
        low = np.where(there, things[..., 2 + axis] - reach, 1).min(1)
        high = np.where(there, things[..., 2 + axis] + reach, 0).max(1)
        moved = steps[:, axis] / (2 * GRID)
        steps[(low + moved < 0) | (high + moved > 1), axis] = 0
        things[..., 2 + axis] += np.where(there, steps[:, axis, None] / (2 * GRID), 0)
    for arrays in (pixels, labels):
        side = arrays.shape[1]
        source = np.clip(np.arange(side) - steps[..., None] * side // (2 * GRID), 0, side - 1)
        for i in np.flatnonzero(steps.any(1)):
            arrays[i] = arrays[i][source[i, 1]][:, source[i, 0]]


class Batches(torch.utils.data.Dataset):
    """By step, what a worker learns from: pixels, dense targets, the patches kept and the packed questions (None: not
    yet asked)."""

    def __init__(self, args, packer):
        self.args, self.packer = args, packer
        self.pictures = Pictures(args.data, args.shards, args.batch, args.seed, args.visits)

    def __len__(self):
        return self.args.steps

    def __getitem__(self, step):
        args = self.args
        *arrays, rng = self.pictures(step)
        pixels, labels, table, texts = (a[args.rank :: args.workers] for a in arrays)
        # The first ones are asked about: above all several shapes, as which thing a question means is learned last, and
        # what it should not know; emoji least, as the dense loss teaches their names.
        first, second = table[:, 0, 0], table[:, 1, 0]
        several_shapes = (second >= 0) & (first < FIRST_CLOTHES)
        emoji = (first >= FIRST_EMOJI) & (first < UNKNOWN)
        rather = np.select([several_shapes | (first == UNKNOWN), emoji], [0.6, 0], 0.3)
        order = np.argsort(-rng.random(len(table)) - rather)
        pixels, labels, table, texts = (a[order] for a in (pixels, labels, table, texts))
        targets, kept, packed = dense_targets(labels, table), None, None
        dense_only = step < args.dense_steps
        ending = step >= args.steps * (1 - args.ending)
        if dense_only or not ending and step % args.full_every:
            kept, targets = fewer(targets, rng)
        if not dense_only:
            asked = list(zip(table, texts))[: max(1, round(args.answered * len(table)))]
            pairs = [data.pairs(things, text, rng, args.questions) for things, text in asked]
            packed = self.packer(pairs, table, rng.random(len(pairs)) < args.turned)
        return torch.from_numpy(np.ascontiguousarray(pixels)), targets, kept, packed
