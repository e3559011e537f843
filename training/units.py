"""The projector's hidden units: ImageNet's thousand kinds as the tower's own classifier tells them apart, and what the
photographs' labels and descriptions add (a rhinoceros, a person's face, a street; a drawing; nothing).

    units.py CACHE PHOTOS FEATURES      learn the added ones on the kept features: FEATURES/units.npz

A unit is on where its kind's output is above FLOOR: few are on at a time, so that the decoder sees hardly more than which kinds
these are, and a picture whose kind was exchanged looks to it like any other.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import gist
import photographs
import tower
from kinds import Kinds, Name, bare
from sayings import A_DRAWING

NOTHING = "nothing"  # never said
FLOOR = 5.0
PULL = 0.01  # of the added weights towards nothing


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


def learn(cache, photos, folder, steps=1500):
    """Weights and biases of all outputs, and the added names."""
    kinds, shown = Kinds.load(cache), photographs.load(photos, cache, "train")
    names = added(shown, kinds)
    number = {name: 1000 + n for n, name in enumerate(names)}
    classifier = tower.load(cache).classifier.requires_grad_(False)
    seen = means(folder, "train")
    rows, wanted = [], []
    for n, photo in enumerate(shown):
        unit = truth(photo, number)
        if unit is not None:
            rows += list(seen[n])
            wanted += [unit] * seen.shape[1]
    for split, name in (("drawn", A_DRAWING), ("nothing", NOTHING)):
        more = means(folder, split)[:, 0]
        rows += list(more)
        wanted += [number[name]] * len(more)
    rows, wanted = torch.stack(rows), torch.tensor(wanted)
    fixed = classifier(rows)
    weight = torch.zeros(len(names), rows.shape[1], requires_grad=True)
    bias = torch.full((len(names),), -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        part = torch.randint(len(rows), (512,), generator=generator)
        outputs = torch.cat([fixed[part], rows[part] @ weight.T + bias], 1)
        loss = F.cross_entropy(outputs, wanted[part]) + PULL * (weight**2).sum() / len(names)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{len(names)} added, last loss {loss.item():.3f}")
    weight = torch.cat([classifier.weight, weight.detach()])
    return weight, torch.cat([classifier.bias, bias.detach()]), names


class Units:
    """What units.py has learned."""

    def __init__(self, folder):
        with np.load(Path(folder) / "units.npz") as found:
            self.weight, self.bias = (torch.from_numpy(found[k]) for k in ("weight", "bias"))
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
    weight, bias, names = learn(args.cache, args.photos, args.features)
    np.savez(args.features / "units.npz", weight=weight.numpy(), bias=bias.numpy(), names=names)


if __name__ == "__main__":
    main()
