"""The optimizer of the weight matrices, and sums over the workers."""

import torch
import torch.distributed as dist


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates for weight matrices (Jordan 2024, Newton-Schulz coefficients from there).

    Each worker orthogonalizes its share of the matrices, in `dtype`, and hands the result to the others.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01, rank=0, workers=1, dtype=torch.float32):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.rank, self.workers, self.dtype = rank, workers, dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            learning = [p for p in group["params"] if p.grad is not None]
            updates = []
            for i, p in enumerate(learning):
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                mine = i % self.workers == self.rank
                updates.append(orthogonal(p.grad.lerp(buffer, group["momentum"]), self.dtype) if mine else torch.zeros_like(p))
            share(updates, self.workers)
            for p, update in zip(learning, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(x, dtype=torch.float32):
    kept, x = x.dtype, x.to(dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).to(kept)


def share(tensors, workers):
    """Sum each tensor over the workers, in place."""
    if workers > 1:
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for t, total in zip(tensors, flat.split([t.numel() for t in tensors])):
            t.copy_(total.view_as(t))
