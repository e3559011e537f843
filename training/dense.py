"""What the vision tower learns by itself: what covers each patch, and what each thing is."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import data
from collage import IGNORE
from model import GRID
from names import COLOURS, FIRST_CLOTHES, FIRST_EMOJI, NAMES, UNKNOWN
from scenes import LABEL_SIZE, MOST, in_order

CELL = LABEL_SIZE // GRID  # cells of the label map a patch is wide


class Dense(nn.Module):
    """Auxiliary heads, thrown away after training.

    On the tower's last features, for each patch: what covers it and in which colour, where that thing lies, and its
    RANKS among the others, which spare the decoder counting and comparing; and from the mean over a thing's patches its
    name. On those after layer EARLY: which cells of the patch are covered, and again each thing's name; that is what
    makes the tower look at edges and corners before it can put them together. On those after layer MIDDLE: what covers
    the patch, and whether its centre is here, once for each thing; what follows can count these.
    """

    RANKS = {"place": 1, "row": 0.6, "kind": 1.3, "alike": 2.5, "same name": 0.5, "same colour": 0.5}  # and weights
    COVERS = {"colour": 1 + len(COLOURS), "name": 2 + len(NAMES), "box": 3}
    PARTS = COVERS | dict.fromkeys(RANKS, MOST)
    MIDDLE_PARTS = COVERS | {"centre": 1}
    EARLY, MIDDLE = 2, 4

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.PARTS.values()))
        self.whole = nn.Linear(width, 1 + len(NAMES))
        self.middle_norm = nn.LayerNorm(width)
        self.middle = nn.Linear(width, sum(self.MIDDLE_PARTS.values()))
        self.early_norm = nn.LayerNorm(width)
        self.cells = nn.Linear(width, CELL * CELL)
        self.early_whole = nn.Linear(width, 1 + len(NAMES))


def ranks(things):
    """Of each thing: which it is in the caption's order, and from top to bottom; which its kind is in the caption; how
    many there are of its kind, of its name and of its colour, less one. (Dense.RANKS, things)"""
    order, rows = in_order(things), sorted(things, key=lambda t: t.y)
    where = lambda t, among: next(n for n, o in enumerate(among) if o is t)
    kind = lambda t: (t.name, t.colour)
    kinds = list(dict.fromkeys(map(kind, order)))
    others = lambda t, same: sum(same(o) == same(t) for o in things) - 1
    return [
        [where(t, order) for t in things],
        [where(t, rows) for t in things],
        [kinds.index(kind(t)) for t in things],
        [others(t, kind) for t in things],
        [others(t, lambda o: o.name) for t in things],
        [others(t, lambda o: o.colour) if t.colour >= 0 else -100 for t in things],
    ]


def dense_targets(labels, things):
    """Per patch colour and name (0 none, -100 undecided: an edge), then of the thing that covers it the `ranks`, and
    centre and size relative to the patch, and how many others there are; then whether a thing's centre is in it, the
    covered cells, who touches it, and each thing's name."""
    n = len(labels)
    cells = labels.reshape(n, GRID, CELL, GRID, CELL).transpose(0, 1, 3, 2, 4).reshape(n, GRID * GRID, CELL * CELL)
    unlabelled = (labels == IGNORE).any((1, 2))
    cover = np.stack([(cells == i).mean(-1) for i in range(1, MOST + 1)], -1)
    touched = (cover > 0.02).astype(np.float32)
    names = np.where(touched.any(1), things[..., 0], -100).astype(np.int64)
    most, share = cover.argmax(-1), cover.max(-1)
    rows = np.arange(n)[:, None]
    covered = share >= 0.2
    edge = (share > 0.05) & ~covered
    ranked = np.full((n, len(Dense.RANKS), MOST), -100)
    for i, row in enumerate(things):
        found = data.things_of(row)
        ranked[i, :, : len(found)] = ranks(found)
    of_patch = {rank: np.where(covered, ranked[rows, k, most], -100) for k, rank in enumerate(Dense.RANKS)}
    for part, column in (("colour", 1), ("name", 0)):
        target = np.where(covered, things[rows, most, column] + 1, 0).astype(np.int64)
        target[edge] = -100
        target[unlabelled] = -100
        of_patch[part] = target
    of_patch["colour"][covered & (things[rows, most, 1] < 0)] = -100  # an emoji has no colour to name
    centre = (np.arange(GRID) + 0.5) / GRID
    py, px = (v.reshape(-1) for v in np.meshgrid(centre, centre, indexing="ij"))
    box = things[rows, most][..., 2:5] - np.stack([px, py, np.zeros_like(px)], -1)
    arrays = dict(of_patch, box=box.astype(np.float32), covered=covered, touched=touched, names=names)
    arrays["centre"] = np.zeros((n, GRID * GRID), np.float32)
    picture, thing = np.nonzero(things[..., 0] >= 0)
    column, line = (things[picture, thing, 2:4].clip(0, 0.999) * GRID).astype(int).T
    arrays["centre"][picture, line * GRID + column] = 1
    # How much ranks weigh: the more things there are, the more there is to learn of them.
    arrays["others"] = np.repeat((things[..., 0] >= 0).sum(1, keepdims=True) - 0.9, GRID * GRID, 1).astype(np.float32)
    arrays["cells"] = ((cells > 0) & (cells != IGNORE)).astype(np.float32)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def look(model, pixels, kept=None):
    """The patches' features that LLaVA hands on, those after layer Dense.EARLY and those after Dense.MIDDLE; of the
    patches `kept` (B, K) alone."""
    tower = model.model.vision_tower
    x = tower.pre_layrnorm(tower.embeddings(pixels))
    if kept is not None:
        rows = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], 1)  # the class token stays
        x = x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))
    for depth, layer in enumerate(tower.encoder.layers, 1):
        x = layer(x, attention_mask=None)
        if depth == Dense.EARLY:
            early = x
        if depth == Dense.MIDDLE:
            middle = x
    return x[:, 1:], early[:, 1:], middle[:, 1:]


def fewer(targets, rng, count=GRID * GRID // 2):
    """Half of the patches, chosen by chance but rather those that something touches, and the targets of these.

    They teach nearly as much in half the time: most of a picture is background.
    """
    touched = targets["touched"].amax(-1)
    score = torch.from_numpy(rng.random(touched.shape, np.float32)) + 0.7 * touched
    kept = score.topk(count, 1).indices.sort(1).values
    pick = lambda t: t.gather(1, kept.reshape(kept.shape + (1,) * (t.ndim - 2)).expand(-1, -1, *t.shape[2:]))
    return kept, {k: t if k == "names" else pick(t) for k, t in targets.items()}


def _split(values, parts):
    return dict(zip(parts, values.split(list(parts.values()), -1)))


def _covers(parts, targets):
    """Loss of what covers each patch and where that lies; and the shares of colours and names that are right."""
    covered, loss, right = targets["covered"], 0, {}
    # everywhere, and once more where something is: most patches are background and soon learned
    for part, weight in (("colour", 1), ("name", 0.5)):
        guess, wanted = parts[part].flatten(0, 1), targets[part].flatten()
        there = covered.flatten() & (wanted != -100)
        loss = loss + weight * F.cross_entropy(guess, wanted) + weight * F.cross_entropy(guess[there], wanted[there])
        right[part] = (guess[there].argmax(-1) == wanted[there]).float().mean().item()
    return loss + 4 * F.smooth_l1_loss(parts["box"][covered], targets["box"][covered], beta=0.05), right


def dense_loss(head, features, early, middle, targets):
    parts = _split(head.out(head.norm(features)), head.PARTS)
    touched, names, cells, centre = (targets[k] for k in ("touched", "names", "cells", "centre"))
    loss, right = _covers(parts, targets)
    middle = _split(head.middle(head.middle_norm(middle)), head.MIDDLE_PARTS)
    guess, there = middle["centre"].squeeze(-1), centre > 0
    loss = loss + 0.3 * _covers(middle, targets)[0] + F.binary_cross_entropy_with_logits(guess, centre)
    loss = loss + 0.2 * F.binary_cross_entropy_with_logits(guess[there], centre[there])
    right["centre"] = (guess[there] > 0).float().mean().item()
    for rank in head.RANKS:
        there = targets[rank] != -100
        guess, wanted, weight = parts[rank][there], targets[rank][there], targets["others"][there]
        weight = weight / weight.sum().clamp(min=1e-6)
        loss = loss + head.RANKS[rank] * (weight * F.cross_entropy(guess, wanted, reduction="none")).sum()
        right[rank] = (weight * (guess.argmax(-1) == wanted)).sum().item()
    early = head.early_norm(early)
    edge = (cells.mean(-1) > 0) & (cells.mean(-1) < 1)
    guess = head.cells(early)
    right["edges"] = ((guess[edge] > 0) == (cells[edge] > 0)).float().mean().item()
    loss = (
        loss
        + F.binary_cross_entropy_with_logits(guess[edge], cells[edge])
        + 0.3 * F.binary_cross_entropy_with_logits(guess, cells)
    )
    share = touched / touched.sum(1, keepdim=True).clamp(min=1)
    there = names != -100
    for layer, states, weight in ((head.early_whole, early, 0.3), (head.whole, head.norm(features), 1)):
        guess = layer(torch.einsum("npw,npt->ntw", states, share))[there]
        loss = loss + weight * F.cross_entropy(guess, names[there], label_smoothing=0.05)
    for kind, first, end in (
        ("shapes", 0, FIRST_CLOTHES),
        ("clothes", FIRST_CLOTHES, FIRST_EMOJI),
        ("emoji", FIRST_EMOJI, UNKNOWN),
    ):
        of_kind = (names[there] >= first) & (names[there] < end)
        if of_kind.any():
            right[kind] = (guess[of_kind].argmax(-1) == names[there][of_kind]).float().mean().item()
    return loss, right
