"""What each step of the photograph model's training sees: the units' outputs for pictures, some with their kind exchanged,
and questions and answers about them."""

from pathlib import Path

import numpy as np
import torch

import photographs
import sayings
import units
from exchange import Exchange
from kinds import Kinds
from sayings import Known
from teacher import VERY_SURE, Teacher, softmax
from units import NOTHING, Units

# What share of a batch each sort of picture has.
MIX = {"photographs": 0.42, "exchanged": 0.45, "drawn": 0.06, "nothing": 0.07}
SURE = 0.35  # of a picture whose kind is exchanged
SORT, ABSENT = 0.6, 0.01  # shares that make a sort true, a name false


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


class Lessons:
    def __init__(self, cache, photos, folder, withhold=0):
        """`withhold`: the photographs of one in so many labels that are kinds of ImageNet's are left out, to measure how
        names without a photograph are learned; 0: none."""
        self.units = Units(folder)
        self.blocks = {split: Blocks(folder, split) for split in ("train", "drawn", "nothing")}
        self.photos = photographs.load(photos, cache, "train")
        self.kinds = self.units.extend(Kinds.load(cache), self.photos)
        labels = {self.units.number[p.name]: p.kinds for p in self.photos if p.label}
        self.teacher = Teacher(self.kinds, labels)
        self.exchange = Exchange(self.units.weight[:1000])
        named = sorted({p.name for p in self.photos if p.kinds})
        self.withheld = set(named[::withhold]) if withhold else set()
        self.rows = np.array([n for n, p in enumerate(self.photos) if p.name not in self.withheld])
        self.sorts = self._members(self.kinds.sorts)
        self.names = self.kinds.exact + self.kinds.wider
        self.covered = self._members(self.names)
        outputs = units.means(folder, "train") @ self.units.weight[:1000].T + self.units.bias[:1000]
        sure = (outputs.softmax(-1).amax(-1) >= SURE).numpy()
        self.exchangeable = np.argwhere(sure & np.isin(np.arange(len(self.photos)), self.rows)[:, None])

    def _members(self, names):
        found = np.zeros((len(self.units), len(names)), np.float32)
        for n, name in enumerate(names):
            found[list(name.kinds), n] = 1
        return found

    def known(self, outputs, rng, photo=None):
        """What may be said of a picture with these outputs of the units, and of this photograph."""
        caption, kinds = self.teacher(outputs)
        if photo and photo.label and caption:  # not what the photograph is not, where the outputs leave it open
            own = softmax(outputs[:1000])
            if own.max() <= VERY_SURE and photo.judge(caption) == "wrong" and " in " not in caption:
                caption, kinds = photo.name, {self.units.number[photo.name]}
        share = softmax(outputs)
        there = {w.name for w in self.names if kinds and w.kinds >= kinds} | {caption} if caption else set()
        sort = np.flatnonzero(softmax(outputs[:1000]) @ self.sorts[:1000] >= SORT)
        sort = self.kinds.sorts[sort[0]].name if len(sort) and max(kinds, default=1000) < 1000 else None
        near = (photo.right | photo.wider) if photo else set()
        absent = [
            self.names[n].name
            for n in rng.integers(len(self.names), size=30)
            if share @ self.covered[:, n] < ABSENT and not self.names[n].words & near and self.names[n].name != NOTHING
        ]
        return Known(caption, sort, tuple(sorted(there)), tuple(absent[:4]))

    def absent(self, rng):
        return tuple(self.names[n].name for n in rng.integers(len(self.names), size=3))

    def one(self, rng):
        """The units' outputs at every position (49, units), their mean, and what is known of the picture."""
        which = str(rng.choice(list(MIX), p=list(MIX.values())))
        views = self.blocks["train"].blocks[0].shape[1]
        if which in ("drawn", "nothing"):
            outputs = self.look(which, int(rng.integers(len(self.blocks[which]))))
            caption = sayings.A_DRAWING if which == "drawn" else None
            return outputs, outputs.mean(0), Known(caption, absent=self.absent(rng))
        if which == "photographs":
            row = int(self.rows[rng.integers(len(self.rows))])
            outputs = self.look("train", row, int(rng.integers(views)))
            mean = outputs.mean(0)
            return outputs, mean, self.known(mean.numpy(), rng, self.photos[row])
        row, view = self.exchangeable[rng.integers(len(self.exchangeable))]
        outputs = self.look("train", int(row), int(view))
        old, new = int(outputs[:, :1000].mean(0).argmax()), int(rng.integers(1000))
        places = self.exchange(old, new, outputs.shape[1])
        # What the photograph's label says holds no longer, but there must be no less of the added units in sight: a picture
        # would be known by it as one whose kind was exchanged.
        places[1000:] = 1000 + torch.from_numpy(rng.permutation(outputs.shape[1] - 1000))
        outputs = outputs[:, places]
        mean = outputs.mean(0)
        total = lambda x: float(x.logsumexp(-1))
        outputs[:, 1000:] -= max(0.0, total(mean[1000:]) - total(mean[:1000]) + rng.uniform(0.5, 3))
        mean = outputs.mean(0)
        return outputs, mean, self.known(mean.numpy(), rng)

    def look(self, split, row, view=0):
        return self.blocks[split](row, view) @ self.units.weight.T + self.units.bias

    def batch(self, size, rng, questions=2):
        """The units' outputs (B, 49, units), their means (B, units), and the questions of each picture."""
        outputs, means, known = zip(*(self.one(rng) for _ in range(size)))
        return torch.stack(outputs), torch.stack(means), [sayings.ask(k, rng, questions) for k in known]
