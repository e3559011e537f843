"""What each step of the photograph model's training sees: features of pictures, some with their kind exchanged, and
questions and answers about them."""

from pathlib import Path

import numpy as np
import torch

import gist
import photographs
import sayings
from exchange import Exchange
from kinds import Kinds
from sayings import Known
from teacher import EXACT, Teacher

# What share of a batch each sort of picture has.
MIX = {"photographs": 0.42, "exchanged": 0.45, "drawn": 0.06, "nothing": 0.07}
SURE = 0.25  # of a picture whose kind is exchanged
PRESENT, SORT, ABSENT = 0.7, 0.6, 0.01  # shares that make a name true, a sort, a name false
# Of what a person describes the tower knows more exact words, but not of these.
SCENES = {
    "a person", "a group of people", "a man", "a woman", "two people", "a painting", "a diagram", "a micrograph",
    "a building", "a street", "a room", "a city", "mountains", "a beach", "water", "space", "a forest", "a landscape",
}  # fmt: skip


class Blocks:
    """Rows of features.py's files of a split, read as they are asked for."""

    def __init__(self, folder, split):
        self.blocks = [np.load(p, mmap_mode="r") for p in sorted(Path(folder).glob(f"{split}-*.npy"))]
        self.ends = np.cumsum([len(b) for b in self.blocks])

    def __len__(self):
        return int(self.ends[-1])

    def __call__(self, row, view=0):
        """(49, 1280) f32"""
        block = int(np.searchsorted(self.ends, row, "right"))
        first = self.ends[block] - len(self.blocks[block])
        return torch.from_numpy(self.blocks[block][row - first, view].astype(np.float32))


def shares(folder, blocks, classifier):
    """The classifier's softmax for every row and view (N, views, 1000), kept beside the features."""
    path, found = Path(folder) / "shares.npy", []
    if path.exists() and len(kept := np.load(path)) == len(blocks):
        return kept
    with torch.no_grad():
        for block in blocks.blocks:
            for start in range(0, len(block), 64):
                rows = torch.from_numpy(block[start : start + 64].astype(np.float32))
                found.append(classifier(rows.mean(2)).softmax(-1).numpy())
    found = np.concatenate(found)
    np.save(path, found)
    return found


class Lessons:
    def __init__(self, cache, photos, folder, classifier, withhold=0):
        """`withhold`: the photographs of one in so many labels that are kinds of ImageNet's are left out, to measure how
        names without a photograph are learned; 0: none."""
        self.kinds = Kinds.load(cache)
        self.teacher = Teacher(self.kinds)
        self.blocks = {split: Blocks(folder, split) for split in ("train", "drawn", "nothing")}
        self.photos = photographs.load(photos, cache, "train")[: len(self.blocks["train"])]
        named = sorted({p.name for p in self.photos if p.kinds})
        self.withheld = set(named[::withhold]) if withhold else set()
        self.rows = np.array([n for n, p in enumerate(self.photos) if p.name not in self.withheld])
        self.shares = shares(folder, self.blocks["train"], classifier)
        self.sorts = self._members(self.kinds.sorts)
        self.names = self.kinds.exact + self.kinds.wider
        self.covered = self._members(self.names)
        rng = np.random.default_rng(0)
        several = [self.blocks["train"](int(n))[rng.integers(49)] for n in rng.integers(len(self.photos), size=6000)]
        self.positions = torch.stack(several)
        self.exchange = Exchange(classifier.weight.detach(), self.positions)
        best = self.shares.argmax(-1)
        known = np.array([[not p.label or (k in p.kinds) for k in row] for p, row in zip(self.photos, best)])
        kept = np.isin(np.arange(len(self.photos)), self.rows)[:, None]
        self.exchangeable = np.argwhere(kept & (known & (self.shares.max(-1) >= SURE) | (self.shares.max(-1) >= 0.5)))

    def _members(self, names):
        found = np.zeros((1000, len(names)), np.float32)
        for n, name in enumerate(names):
            found[list(name.kinds), n] = 1
        return found

    def known(self, share, rng, photo=None):
        """What may be said of a picture with this softmax, and of this photograph."""
        named, caption, there = self.teacher(share), None, set()
        if named:
            caption = named.name
            there = {caption} | {w.name for w in self.kinds.wider if w.kinds > named.kinds}
        if photo and photo.label:
            best = int(share.argmax())
            exact = best in photo.kinds and share[best] >= EXACT
            caption = self.kinds.exact[best].name if exact else photo.name
            there = {caption, photo.name}
        elif photo and photo.description:
            said = gist.gist(photo.description)
            if said and (said in SCENES or not caption):
                caption, there = said, {said}
        sort = np.flatnonzero(share @ self.sorts >= SORT)
        sort = self.kinds.sorts[sort[0]].name if len(sort) and not (photo and photo.description) else None
        if photo and photo.label and not photo.kinds:
            sort = None
        near = (photo.right | photo.wider) if photo else set()
        possible = rng.permutation(len(self.names))[:40]
        absent = [
            self.names[n].name
            for n in possible
            if share @ self.covered[:, n] < ABSENT and not self.names[n].words & near
        ]
        return Known(caption, sort, tuple(sorted(there)), tuple(absent[:4]))

    def absent(self, rng):
        return tuple(self.names[n].name for n in rng.integers(len(self.names), size=3))

    def one(self, rng):
        """Features (49, 1280) of a picture, its softmax or None, and what is known of it."""
        which = str(rng.choice(list(MIX), p=list(MIX.values())))
        if which in ("drawn", "nothing"):
            row = int(rng.integers(len(self.blocks[which])))
            caption = sayings.A_DRAWING if which == "drawn" else None
            return self.blocks[which](row), None, Known(caption, absent=self.absent(rng))
        if which == "photographs":
            row, view = int(self.rows[rng.integers(len(self.rows))]), int(rng.integers(self.shares.shape[1]))
            share = self.shares[row, view]
            return self.blocks["train"](row, view), share, self.known(share, rng, self.photos[row])
        row, view = self.exchangeable[rng.integers(len(self.exchangeable))]
        share, new = self.shares[row, view].copy(), int(rng.integers(1000))
        old = int(share.argmax())
        for a, b in self.exchange.places(old, new):
            share[[a, b]] = share[[b, a]]
        features = self.exchange(self.blocks["train"](int(row), int(view)), old, new)
        return features, share, self.known(share, rng)

    def batch(self, size, rng, questions=2):
        """Features (B, 49, 1280), softmaxes (B, 1000) with NaN where there is none, and the questions of each."""
        features, found, pairs = [], np.full((size, 1000), np.nan, np.float32), []
        for n in range(size):
            feature, share, known = self.one(rng)
            features.append(feature)
            if share is not None:
                found[n] = share
            pairs.append(sayings.ask(known, rng, questions))
        return torch.stack(features), torch.from_numpy(found), pairs
