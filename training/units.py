"""The projector's hidden units: ImageNet's thousand kinds as the tower's own classifier tells them apart, and what the
photographs' labels and descriptions add (a rhinoceros, a person's face, a street; a drawing; nothing).

    units.py CACHE PHOTOS FEATURES      learn the added ones on the kept features: FEATURES/units.npz

A unit is on where its kind's output is above FLOOR. The added ones are surer of the pictures that they were learned from than
of others. So they are learned FOLDS more times, without every FOLDS-th picture, which the training then sees with these.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import gist
import photographs
import tower
from exchange import Exchange
from kinds import Kinds, Name, bare
from sayings import A_DRAWING

NOTHING = "nothing"  # never said
FLOOR = 5.0
PULL = 0.02  # of the added weights towards nothing
MOVED, MOVED_SURE, MOVED_SHARE = 12000, 0.2, 0.3  # pictures brought to kinds without a photograph
FOLDS = 4


def means(folder, split):
    """Features (N, views, 1280) f32 of a split, the mean of all positions; kept beside them."""
    path = Path(folder) / f"means-{split}.npy"
    blocks = [np.load(p, mmap_mode="r") for p in sorted(Path(folder).glob(f"{split}-*.npy"))]
    if not path.exists() or len(np.load(path, mmap_mode="r")) != sum(map(len, blocks)):
        np.save(path, np.concatenate([b[:].astype(np.float32).mean(2) for b in blocks]))
    return torch.from_numpy(np.load(path))


def added(photos, kinds):
    """Names of the kinds that the photographs add."""
    known = {n.name for n in kinds.exact + kinds.wider}
    labelled = {p.name for p in photos if p.label}
    return sorted(labelled | {c for c in gist.CAPTIONS if c not in known}) + [A_DRAWING, NOTHING]


def truth(photo, number):
    """The added unit of a photograph; None where nothing says it."""
    return number[photo.name] if photo.label else number.get(gist.gist(photo.description))


class Examples:
    """What the added units are learned from: mean features (N, 1280), the classifier's outputs (N, 1000), the unit that is
    wanted (N), and the row of the picture in its files (N). `moved` are pictures whose kind was exchanged for one without
    a photograph: there the classifier is right and no added unit is."""

    def __init__(self, cache, photos, folder):
        kinds, shown = Kinds.load(cache), photographs.load(photos, cache, "train")
        self.names = added(shown, kinds)
        number = {name: 1000 + n for n, name in enumerate(self.names)}
        self.classifier = tower.load(cache).classifier.requires_grad_(False)
        seen = means(folder, "train")
        features, wanted, rows = [], [], []
        for n, photo in enumerate(shown):
            unit = truth(photo, number)
            if unit is not None:
                features += list(seen[n])
                wanted += [unit] * seen.shape[1]
                rows += [n] * seen.shape[1]
        for split, name in (("drawn", A_DRAWING), ("nothing", NOTHING)):
            more = means(folder, split)[:, 0]
            features += list(more)
            wanted += [number[name]] * len(more)
            rows += range(len(more))
        self.features, self.wanted, self.rows = torch.stack(features), torch.tensor(wanted), torch.tensor(rows)
        self.outputs = self.classifier(self.features)
        self.moved = self._move(set().union(*(p.kinds for p in shown)))

    def _move(self, labelled):
        """(features, outputs, wanted, rows) of pictures brought to other kinds than those `labelled`: by the least change,
        in the features' own covariance, that changes the outputs so."""
        weight, exchange = self.classifier.weight, Exchange(self.classifier.weight)
        covariance = torch.cov(self.features.T)
        outputs = weight @ covariance @ weight.T
        ridge = 0.02 * outputs.diagonal().mean() * torch.eye(1000)
        move = torch.linalg.solve(outputs + ridge, weight @ covariance)  # (1000, 1280)
        generator = torch.Generator().manual_seed(1)
        sure = torch.nonzero(self.outputs.softmax(-1).amax(-1) > MOVED_SURE)[:, 0]
        chosen, change, wanted = [], [], []
        for n in sure[torch.randint(len(sure), (MOVED,), generator=generator)].tolist():
            new = int(torch.randint(1000, (1,), generator=generator))
            if new not in labelled:
                own = self.outputs[n]
                chosen.append(n)
                change.append(own[exchange(int(own.argmax()), new, 1000)] - own)
                wanted.append(new)
        features = self.features[chosen] + torch.stack(change) @ move
        return features, self.classifier(features), torch.tensor(wanted), self.rows[chosen]


def learn(examples, fold=None, steps=1500):
    """Weights (units, 1280) and biases of the added units; without the pictures of a fold."""
    parts = []
    for share, (*tensors, rows) in (
        (1 - MOVED_SHARE, (examples.features, examples.outputs, examples.wanted, examples.rows)),
        (MOVED_SHARE, examples.moved),
    ):
        kept = rows % FOLDS != fold if fold is not None else torch.ones(len(rows), dtype=torch.bool)
        parts.append((int(512 * share), [t[kept] for t in tensors]))
    count = len(examples.names)
    weight = torch.zeros(count, examples.features.shape[1], requires_grad=True)
    bias = torch.full((count,), -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        picked = [torch.randint(len(t[0]), (size,), generator=generator) for size, t in parts]
        features, fixed, wanted = (
            torch.cat([tensors[n][p] for p, (_, tensors) in zip(picked, parts)]) for n in range(3)
        )
        outputs = torch.cat([fixed, features @ weight.T + bias], 1)
        loss = F.cross_entropy(outputs, wanted) + PULL * (weight**2).sum() / count
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{count} added, last loss {loss.item():.3f}", flush=True)
    weight = torch.cat([examples.classifier.weight, weight.detach()])
    return weight, torch.cat([examples.classifier.bias, bias.detach()])


class Units:
    """What units.py has learned."""

    def __init__(self, folder):
        with np.load(Path(folder) / "units.npz") as found:
            self.weight, self.bias = (torch.from_numpy(found[k]) for k in ("weight", "bias"))
            # (FOLDS, units, ...): the n-th learned without the pictures whose row is n modulo FOLDS
            self.fold_weight, self.fold_bias = (torch.from_numpy(found[k]) for k in ("fold_weight", "fold_bias"))
            self.added = found["names"].tolist()
        self.number = {name: 1000 + n for n, name in enumerate(self.added)}

    def __len__(self):
        return len(self.weight)

    def extend(self, kinds, photos):
        """`kinds` with the added ones; a wider name covers those whose label says so."""
        labels = {p.name: p for p in photos if p.label}
        wider, exact = {}, []
        for name, number in self.number.items():
            photo = labels.get(name)
            exact.append(Name(name, photo.right if photo else frozenset([bare(name)]), frozenset([number])))
            for n in kinds.wider:
                if photo and (bare(n.name) in photo.wider or photo.kinds and photo.kinds <= n.kinds) or name == n.name:
                    wider.setdefault(n.name, set()).add(number)
        cover = lambda n: Name(n.name, n.words, n.kinds | wider.get(n.name, set()))
        return Kinds(kinds.exact + exact, [cover(n) for n in kinds.wider], kinds.sorts)

    @torch.no_grad()
    def put_into(self, linear):
        """Make them the units of a linear layer that GELU follows; what is left over stays off."""
        linear.weight.zero_()
        linear.bias.zero_()
        linear.weight[: len(self)] = self.weight
        linear.bias[: len(self)] = self.bias - FLOOR


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("features", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    examples = Examples(args.cache, args.photos, args.features)
    weights, biases = zip(*(learn(examples, fold) for fold in (None, *range(FOLDS))))
    found = {
        "weight": weights[0], "bias": biases[0],
        "fold_weight": torch.stack(weights[1:]), "fold_bias": torch.stack(biases[1:]),
    }  # fmt: skip
    np.savez(args.features / "units.npz", names=examples.names, **{k: v.numpy() for k, v in found.items()})


if __name__ == "__main__":
    main()
