"""What may be said of a picture, given the tower's classifier and the added units: the exact kind where they are sure, a wider
name where less, nothing where not at all."""

import numpy as np

from kinds import Kinds, article, bare
from units import NOTHING

SURE = 0.5  # share from which the tower's own classifier is followed whatever the labels would say
VERY_SURE = 0.55  # where no name fits both
EXACT, WIDER = 0.4, 0.5  # least share of all units
PLACES = {"a grocery store", "a vase", "a flowerpot"}  # "bananas in a grocery store"


class Teacher:
    def __init__(self, kinds: Kinds, labels):
        """`kinds` extended by the units; `labels`: {unit: ImageNet's kinds within it}."""
        self.kinds, self.labels = kinds, labels
        self.members = np.zeros((len(kinds.exact), len(kinds.wider)), np.float32)
        for n, name in enumerate(kinds.wider):
            self.members[list(name.kinds), n] = 1

    def __call__(self, outputs):
        """(caption or None: it does not know, the units that it names) for all units' outputs."""
        share = softmax(outputs)
        own = softmax(outputs[:1000])
        kind, unit = int(own.argmax()), 1000 + int(share[1000:].argmax())
        name = lambda n: (self.kinds.exact[n].name, {n})
        if own[kind] > SURE:
            label = self.kinds.exact[unit]
            if share[unit] < 0.3 or label.name in (NOTHING,) or kind in self.labels.get(unit, ()):
                return name(kind)
            if bare(label.name) in self.kinds.exact[kind].words:
                return label.name, {kind, unit}
            if self.kinds.exact[kind].name in PLACES:
                return f"{label.name} in {self.kinds.exact[kind].name}", {kind, unit}
            covering = next((n for n in self.kinds.wider if kind in n.kinds and unit in n.kinds), None)
            if covering:
                return covering.name, {kind, unit}
            return name(kind) if own[kind] > VERY_SURE else name(unit)
        best = int(share.argmax())
        if share[best] >= EXACT:
            # the exact kind within a label, where the tower is fairly sure of it
            if best >= 1000 and kind in self.labels.get(best, ()) and own[kind] > 0.4:
                return name(kind)
            return (None, set()) if self.kinds.exact[best].name == NOTHING else name(best)
        enough = np.flatnonzero(share @ self.members >= WIDER)
        return (self.kinds.wider[enough[0]].name, set(self.kinds.wider[enough[0]].kinds)) if len(enough) else (None, set())


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()
