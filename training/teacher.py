"""What the tower's own classifier allows to say: the exact kind where it is sure, a wider name where less, nothing where
not at all."""

import numpy as np

from kinds import Kinds

EXACT, WIDER = 0.4, 0.5  # least share of the classifier's weight


class Teacher:
    def __init__(self, kinds: Kinds, exact=EXACT, wider=WIDER):
        self.kinds, self.least = kinds, (exact, wider)
        self.members = np.zeros((1000, len(kinds.wider)), np.float32)
        for n, name in enumerate(kinds.wider):
            self.members[list(name.kinds), n] = 1

    def __call__(self, share):
        """The Name for a classifier's softmax (1000), or None: it does not know."""
        best = int(share.argmax())
        if share[best] >= self.least[0]:
            return self.kinds.exact[best]
        enough = np.flatnonzero(share @ self.members >= self.least[1])
        return self.kinds.wider[enough[0]] if len(enough) else None
