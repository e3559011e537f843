"""The decoder as a q4 bundle stores it: what is trained so now and then loses little by it."""

from contextlib import contextmanager

import torch

BLOCK, LARGEST = 32, 15


def q4(weights):
    """Every block of 32 neighbours of a row at the nearest of 16 even steps from its least to its greatest."""
    blocks = weights.unflatten(-1, (-1, BLOCK))
    least = blocks.amin(-1, keepdim=True)
    step = ((blocks.amax(-1, keepdim=True) - least) / LARGEST).clamp(min=1e-8)
    return (((blocks - least) / step).round() * step + least).flatten(-2)


@contextmanager
def rounded(model, step, every):
    """Within, in one step of `every` (0: in none), the decoder's matrices, its embeddings and the output layer are rounded, and
    gradients are those of the rounded weights; after it the weights are what they were."""
    if not every or step % every:
        yield
        return
    matrices = [
        p
        for name, p in model.named_parameters()
        if ("language_model" in name or name.startswith("lm_head")) and p.ndim == 2
    ]
    exact = [p.detach().clone() for p in matrices]
    with torch.no_grad():
        for p in matrices:
            p.copy_(q4(p))
    yield
    with torch.no_grad():
        for p, weights in zip(matrices, exact):
            p.copy_(weights)
