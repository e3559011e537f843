"""Exchanges a picture's kind for another in the tower's features, so that every one of the thousand names is learned
though few kinds have a photograph.

The classifier's weights say which kinds look alike. The picture's kind and those most like it change places with the new
kind and those most like that, in the space of the classifier's outputs; the features move there the shortest way, as
pictures differ (Mahalanobis).
"""

import torch

FAMILY = 12  # the kinds that change places along with the picture's own


class Exchange:
    def __init__(self, weight, features):
        """`weight` (1000, 1280) of the classifier, `features` (N, 1280) of pictures, one position of each."""
        spread = torch.cov(features.T)
        spread += 0.02 * spread.diagonal().mean() * torch.eye(len(spread))
        there = spread @ weight.T
        self.weight = weight
        self.move = torch.linalg.solve(weight @ there, there.T)  # (1000, 1280): features that raise one output by one
        centred = torch.nn.functional.normalize(weight - weight.mean(0))
        self.alike = (centred @ centred.T).topk(FAMILY, 1).indices.tolist()  # itself first

    def places(self, old, new):
        """Pairs of kinds that change places, so that `old` becomes `new`."""
        taken, pairs = set(), []
        for a, b in zip(self.alike[old], self.alike[new]):
            if a != b and not {a, b} & taken:
                pairs.append((a, b))
                taken |= {a, b}
        return pairs

    def __call__(self, features, old, new):
        """Features (49, 1280) of the picture with its kind exchanged."""
        pairs = self.places(old, new)
        if not pairs:
            return features
        a, b = torch.tensor(pairs).T
        change = features @ (self.weight[b] - self.weight[a]).T  # what output a gains
        return features + change @ (self.move[a] - self.move[b])
