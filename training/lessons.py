"""What each step of the photograph model's training sees: the units' outputs for pictures, some with their kind exchanged,
and questions and answers about them."""

from pathlib import Path

import numpy as np
import torch

import photographs
import sayings
import units
from exchange import Exchange
from fastvlm import POSITIONS
from kinds import Kinds
from sayings import Known
from teacher import SURE as TEACHER_SURE
from teacher import VERY_SURE, Teacher, softmax
from units import FOLDS, NOTHING, Units

# What share of a batch each sort of picture has.
MIX = {"photographs": 0.36, "exchanged": 0.5, "drawn": 0.06, "nothing": 0.08}
SURE = 0.25  # of a picture whose kind is exchanged
SCRAMBLED = 0.5  # of the exchanged, of which nothing else stays in its place either
LOUDER = -3, 2  # what is added to all outputs of an exchanged picture: how loud it is says nothing of its kind
CONFLICTS = 0.55  # of the photographs, of which the classifier is sure of something that their label does not say
ADDED = -5, 3  # how much more than the classifier's kinds the added ones weigh in an exchanged picture, in logarithms
SORT, ABSENT = 0.6, 0.01  # shares that make a sort true, a name false


class Blocks:
    """Rows of features.py's files of a split, read as they are asked for."""

    def __init__(self, folder, split):
        self.blocks = [np.load(p, mmap_mode="r") for p in sorted(Path(folder).glob(f"{split}-*.npy"))]
        self.ends = np.cumsum([len(b) for b in self.blocks])

    def __len__(self):
        return int(self.ends[-1])

    @property
    def views(self):
        return self.blocks[0].shape[1]

    def __call__(self, row, view=0, positions=slice(None)):
        """(positions, 1280) f16"""
        block = int(np.searchsorted(self.ends, row, "right"))
        first = self.ends[block] - len(self.blocks[block])
        return torch.from_numpy(np.array(self.blocks[block][row - first, view][positions]))


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
        kept = np.isin(np.arange(len(self.photos)), self.rows)[:, None]
        self.exchangeable = np.argwhere(sure & kept)
        best = outputs.argmax(-1).numpy()
        other = np.array([[p.label and kind not in p.kinds for kind in row] for p, row in zip(self.photos, best)], bool)
        self.conflicts = np.argwhere((outputs.softmax(-1).amax(-1) > TEACHER_SURE).numpy() & kept & other)

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

    def pick(self, rng):
        """What a picture is to be (of MIX), its split, row and view."""
        which = str(rng.choice(list(MIX), p=list(MIX.values())))
        if which in ("drawn", "nothing"):
            return which, which, int(rng.integers(len(self.blocks[which]))), 0
        if which == "photographs" and rng.random() >= CONFLICTS:
            return which, "train", int(self.rows[rng.integers(len(self.rows))]), int(rng.integers(self.blocks["train"].views))
        among = self.conflicts if which == "photographs" else self.exchangeable
        row, view = among[rng.integers(len(among))]
        return which, "train", int(row), int(view)

    def exchanged(self, outputs, rng):
        """Outputs (positions, units) with the picture's kind exchanged, other added units in the place of its own, and half
        the time everything else out of its place, so that nothing but the units that are most on says what it is."""
        count = outputs.shape[1]
        old, new = int(outputs[:, :1000].mean(0).argmax()), int(rng.integers(1000))
        places = self.exchange(old, new, count)
        if rng.random() < SCRAMBLED:
            rest = torch.nonzero(places[:1000] == torch.arange(1000))[:, 0]
            places[rest] = rest[torch.from_numpy(rng.permutation(len(rest)))]
        places[1000:] = 1000 + torch.from_numpy(rng.permutation(count - 1000))
        outputs = outputs[:, places]
        own, added = outputs.mean(0).split([1000, count - 1000])
        outputs[:, 1000:] += own.logsumexp(-1) - added.logsumexp(-1) + rng.uniform(*ADDED)
        return outputs + rng.uniform(*LOUDER)

    def look(self, features, folds):
        """The outputs of the units (B, positions, units), of each picture those that were learned without it."""
        outputs = features.new_empty(*features.shape[:2], len(self.units), dtype=torch.float32)
        for fold in range(FOLDS):
            weight, bias = self.units.fold_weight[fold].bfloat16(), self.units.fold_bias[fold]
            outputs[folds == fold] = (features[folds == fold].bfloat16() @ weight.T).float() + bias
        return outputs

    def batch(self, size, rng, count, questions):
        """The units' outputs (B, count, units) at some positions, which these are (B, count), the outputs' means (B, units),
        and the questions of each picture. What is said of it is what these positions show."""
        picks = [self.pick(rng) for _ in range(size)]
        kept = np.sort(np.argsort(rng.random((size, POSITIONS)), 1)[:, :count], 1)
        features = torch.stack([self.blocks[p[1]](*p[2:], positions) for p, positions in zip(picks, kept)])
        outputs = self.look(features, torch.tensor([row % FOLDS for _, _, row, _ in picks]))
        pairs = []
        for n, (which, _, row, _) in enumerate(picks):
            if which == "exchanged":
                outputs[n] = self.exchanged(outputs[n], rng)
            if which in ("drawn", "nothing"):
                known = Known(sayings.A_DRAWING if which == "drawn" else None, absent=self.absent(rng))
            else:
                known = self.known(outputs[n].mean(0).numpy(), rng, self.photos[row] if which == "photographs" else None)
            pairs.append(sayings.ask(known, rng, questions))
        return outputs, torch.from_numpy(kept), outputs.mean(1), pairs
