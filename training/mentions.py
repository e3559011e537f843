"""What a question names, token by token: "the red star", "how many moons"; and what an answer names next. The decoder
is taught to find these things in the picture early on; from answers alone it hardly learns to look for what is meant.
"""

from functools import lru_cache

import torch.nn.functional as F
from torch import nn

from names import COLOURS, FIRST_CLOTHES, NAMES
from questions import CLEAR, article, caption, groups, plural
from questions import name as describe
from scenes import MOST

ANY = -1  # of any name, of any colour
EVERYTHING = ["thing", "things", "shape", "shapes", "object", "objects"]
LONGEST = 6  # tokens of a name
NONE = -100  # nothing to learn
PLACE = 10  # weight of distances, which are shares of the picture's side, beside that of classes


class Mentions:
    """Finds names of things in tokens: a colour, a name, or a colour before one."""

    def __init__(self, tokenizer):
        ids = lambda words: tuple(tokenizer.encode(words, add_special_tokens=False).ids)
        self.colours = {ids(c): n for n, c in enumerate(COLOURS)}
        self.names = {ids(name): n for n, name in enumerate(NAMES)}
        self.names |= {ids(plural(shape)): n for n, shape in enumerate(NAMES[:FIRST_CLOTHES])}
        self.names |= {ids(words): ANY for words in EVERYTHING}
        self.separators = {tokenizer.token_to_id(","), tokenizer.token_to_id("▁and")}
        self.find = lru_cache(1 << 16)(self._find)

    def _find(self, ids):
        """[(last token, name, colour)] of a tuple of tokens."""
        found, start = [], 0
        while start < len(ids):
            end, colour = _longest(self.colours, ids, start)
            end, name = _longest(self.names, ids, end)
            if end > start:
                found.append((end - 1, ANY if name is None else name, ANY if colour is None else colour))
            start = max(end, start + 1)
        return found

    def targets(self, ids, things):
        """[(last token, how many things it means, and if one: name, colour, x, y)]"""
        rows = []
        for token, name, colour in self.find(ids) if things else []:
            meant = [t for t in things if name in (ANY, t.name) and colour in (ANY, t.colour)]
            one = meant[0] if len(meant) == 1 else None
            known = (one.name, one.colour if one.colour >= 0 else NONE, one.x, one.y) if one else (NONE, NONE, 0, 0)
            rows.append((token, len(meant), *known))
        return rows


    def to_come(self, ids, answer, things):
        """[(token, how many of a kind the answer names after it, name, colour, x, y of the first)] in the tokens of a
        caption, or of another answer that names one thing; -1 is the token before them."""
        if answer == caption(things):
            before, found = [-1, *(n for n, token in enumerate(ids) if token in self.separators)], groups(things)
        else:
            before, found = [-1], [(t, 1) for t in things if article(describe(t)) == answer]
        if len(before) != len(found):  # it names nothing, or has a name with "and" in it
            return []
        return [(at, n, t.name, t.colour if t.colour >= 0 else NONE, t.x, t.y) for at, (t, n) in zip(before, found)]


def _longest(table, ids, start):
    """Where the longest entry that begins at `start` ends, and its value; `start` and None where there is none."""
    for end in range(min(len(ids), start + LONGEST), start, -1):
        if ids[start:end] in table:
            return end, table[ids[start:end]]
    return start, None


def difference(rows):
    """[(last token of the second, x, y)] from the second of two things to the first, where `targets` are of just two;
    else nothing."""
    if len(rows) != 2 or any(count != 1 for _, count, *_ in rows):
        return []
    (*_, x, y), (second, *_, other_x, other_y) = rows
    return [(second, x - other_x, y - other_y)]


class Found(nn.Module):
    """Auxiliary heads on the decoder's states, thrown away after training.

    After layer EARLY, at the last token of what a question names: how many things it means, and if it is one, which,
    in which colour and where. After layer LATER, at the last token of the second of two such things: how far they are
    apart; and where an answer names things, before each kind: how many, which, in which colour and where.
    """

    PARTS = {"count": MOST + 1, "name": len(NAMES), "colour": len(COLOURS), "place": 2}
    EARLY, LATER = 2, 3

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.PARTS.values()))
        self.later_norm = nn.LayerNorm(width)
        self.apart = nn.Linear(width, 2)
        self.next = nn.Linear(width, sum(self.PARTS.values()))

    def named_loss(self, states, targets):
        """Of states (N, width) and Mentions.targets (N, 5); and shares that are right."""
        return self._loss(self.out(self.norm(states)), targets, "found")

    def next_loss(self, states, targets):
        """Of states (N, width) and Mentions.to_come (N, 5); and shares that are right."""
        return self._loss(self.next(self.later_norm(states)), targets, "next")

    def apart_loss(self, states, targets):
        """Of states (N, width) and differences (N, 2); and the share of clear signs that are right."""
        guess, clear = self.apart(self.later_norm(states)), targets.abs() > CLEAR
        if not len(targets):
            return guess.sum(), {}  # zero, but every worker has a gradient for every head
        right = (guess.sign() == targets.sign())[clear].float().mean().item()
        return PLACE * F.smooth_l1_loss(guess, targets, beta=0.05), {"apart": right}

    def _loss(self, guesses, targets, which):
        parts = dict(zip(self.PARTS, guesses.split(list(self.PARTS.values()), -1)))
        wanted = dict(zip(("count", "name", "colour"), targets[:, :3].long().unbind(-1)))
        loss, right = 0 * guesses.sum(), {}
        for part, classes in wanted.items():
            there = classes != NONE
            if there.any():
                guess = parts[part][there]
                loss = loss + F.cross_entropy(guess, classes[there])
                right[f"{which} {part}"] = (guess.argmax(-1) == classes[there]).float().mean().item()
        known = wanted["name"] != NONE
        if known.any():
            loss = loss + PLACE * F.smooth_l1_loss(parts["place"][known], targets[known, 3:], beta=0.05)
        return loss, right
