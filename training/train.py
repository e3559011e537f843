"""Train the default model from nothing: first the vision tower on what lies where, then everything on questions.

Resumable: run the same command again, with more steps if you like, and it goes on from the last checkpoint. The
exported
model is a running mean of the weights, which needs no falling learning rate to be good.
"""

import argparse
import datetime
import json
import math
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn
from transformers.models.llama.modeling_llama import rotate_half

import data
import vocabulary
from bundle import Bundle
from model import GRID, PROMPT, TURN, build, whiten
from preprocess import MEAN, STD
from collage import IGNORE
from names import COLOURS, FIRST_CLOTHES, FIRST_EMOJI, NAMES, UNKNOWN
from scenes import LABEL_SIZE, MOST, in_order

CELL = LABEL_SIZE // GRID  # cells of the label map a patch is wide


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates for weight matrices (Jordan 2024, Newton-Schulz coefficients from there).

    Each worker orthogonalizes its share of the matrices and hands the result to the others.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01, rank=0, workers=1):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.rank, self.workers = rank, workers

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            learning = [p for p in group["params"] if p.grad is not None]
            updates = []
            for i, p in enumerate(learning):
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                mine = i % self.workers == self.rank
                updates.append(orthogonal(p.grad.lerp(buffer, group["momentum"])) if mine else torch.zeros_like(p))
            share(updates, self.workers)
            for p, update in zip(learning, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(x):
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def share(tensors, workers):
    """Sum each tensor over the workers, in place."""
    if workers > 1:
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for t, total in zip(tensors, flat.split([t.numel() for t in tensors])):
            t.copy_(total.view_as(t))


class Dense(nn.Module):
    """Auxiliary heads, thrown away after training.

    On the tower's last features, for each patch: what covers it and in which colour, which in the caption's order that
    thing
    is, where it lies; and from the mean over a thing's patches its name. On those after layer EARLY: which cells of
    the patch
    are covered, and again each thing's name; that is what makes the tower look at edges and corners before it can put
    them together.
    """

    PARTS = {"colour": 1 + len(COLOURS), "name": 2 + len(NAMES), "place": MOST, "box": 3}
    EARLY = 2

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.PARTS.values()))
        self.whole = nn.Linear(width, 1 + len(NAMES))
        self.early_norm = nn.LayerNorm(width)
        self.cells = nn.Linear(width, CELL * CELL)
        self.early_whole = nn.Linear(width, 1 + len(NAMES))


def dense_targets(labels, things):
    """Per patch colour and name (0 none, -100 undecided: an edge), then of the thing that covers it the place in the
    caption's
    order, and centre and size relative to the patch; then the covered cells, who touches it, and each thing's name."""
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
    place = np.full((n, MOST), -100)
    for i, row in enumerate(things):
        found = data.things_of(row)
        place[i, : len(found)] = [next(k for k, o in enumerate(in_order(found)) if o is t) for t in found]
    of_patch = {"place": np.where(covered, place[rows, most], -100)}
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
    arrays["cells"] = ((cells > 0) & (cells != IGNORE)).astype(np.float32)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Pictures:
    """Batches of pictures: `block` shards are gone through `visits` times, then the next block; half of the pictures
    mirrored, most of them shifted."""

    def __init__(self, folder, shards, batch, seed, visits, block=8):
        self.folder, self.shards, self.batch, self.seed, self.loaded = folder, shards, batch, seed, None
        self.block, self.visits = block, visits

    def __call__(self, step):
        """The batch of this step: pixels (B, S, S, 3) u8, labels, things, texts and the step's random generator."""
        visit, part = divmod(step, data.SHARD // self.batch)
        if self.loaded != visit:
            shard = (visit // (self.block * self.visits)) * self.block + visit % self.block
            self.arrays, self.loaded = data.read_shard(self.folder, shard % self.shards), visit
            self.order = np.random.default_rng([self.seed, 1, visit]).permutation(data.SHARD)
        rng = np.random.default_rng([self.seed, 2, step])
        rows = self.order[part * self.batch : (part + 1) * self.batch]
        pixels, labels, things, texts = (self.arrays[k][rows] for k in ("pixels", "labels", "things", "questions"))
        mirror = rng.random(len(rows)) < 0.5
        pixels[mirror] = pixels[mirror, :, ::-1]
        labels[mirror] = labels[mirror, :, ::-1]
        things[mirror, :, 2] = 1 - things[mirror, :, 2]
        shift(pixels, labels, things, rng)
        return pixels, labels, things, texts, rng


def shift(pixels, labels, things, rng):
    """Move each picture by half a patch, or not, along either axis, in place: what covers a patch is then another part
    of the thing. Not where that would push a thing over the border; what comes in is the border's pixels."""
    steps = rng.integers(-1, 2, (len(pixels), 2))  # of half a patch, to the right and down
    there, reach = things[..., 0] >= 0, things[..., 4] / 2
    for axis in (0, 1):
        low = np.where(there, things[..., 2 + axis] - reach, 1).min(1)
        high = np.where(there, things[..., 2 + axis] + reach, 0).max(1)
        moved = steps[:, axis] / (2 * GRID)
        steps[(low + moved < 0) | (high + moved > 1), axis] = 0
        things[..., 2 + axis] += np.where(there, steps[:, axis, None] / (2 * GRID), 0)
    for arrays in (pixels, labels):
        side = arrays.shape[1]
        source = np.clip(np.arange(side) - steps[..., None] * side // (2 * GRID), 0, side - 1)
        for i in np.flatnonzero(steps.any(1)):
            arrays[i] = arrays[i][source[i, 1]][:, source[i, 0]]


def normalize(pixels, device):
    x = torch.as_tensor(pixels).to(device).float() / 255
    x = (x - torch.tensor(MEAN, device=device)) / torch.tensor(STD, device=device)
    return x.permute(0, 3, 1, 2).contiguous()


class Packer:
    """Puts several questions behind one picture: independent ones, each of which sees the picture and itself only, or
    the turns of a conversation.

    The tokens are exactly those of `PROMPT` with the answer and `</s>` behind it, once per question; in a conversation
    `</s>` ends each answer too, but is not among the tokens that the next turn sees. Questions that would need more
    than `room` tokens in all are left out.
    """

    def __init__(self, tokenizer, room=1 << 20):
        self.room = room
        self.head, self.tail = PROMPT.split("<image>")
        self.tokenizer = tokenizer
        self.prefix = tokenizer.encode(self.head).ids
        self.end = tokenizer.token_to_id("</s>")
        self.encode = lru_cache(1 << 16)(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)

    def __call__(self, scenes, turned):
        """ids, answers (-100 where there is nothing to learn), positions and segments, all (B, T), without the
        prefix; `turned` (B): whose questions are the turns of one conversation."""
        start = len(self.prefix) + GRID * GRID
        rows = []
        for pairs, turns in zip(scenes, turned):
            row = []
            for n, (question, answer) in enumerate(pairs):
                asked = self.encode((TURN if turns and n else self.tail).format(question))
                said = self.encode(answer) + [self.end]
                ids = asked + said[:-1]
                wanted = [-100] * (len(asked) - 1) + said
                if len(row) + len(ids) > self.room and row:  # one picture must not make all the others' rows long
                    break
                first = start + (len(row) if turns else 0)
                row += zip(ids, wanted, range(first, first + len(ids)), [1 if turns else n + 1] * len(ids))
            rows.append(row)
        longest = max(map(len, rows))
        rows = [row + [(0, -100, 0, -1)] * (longest - len(row)) for row in rows]
        return torch.tensor(rows).unbind(-1)

    def mask(self, segments):
        """(B, 1, T, T) additive: causal, and only the own segment or the prefix (segment 0)."""
        n = segments.shape[1]
        seen = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
        seen &= torch.ones(n, n, dtype=torch.bool, device=segments.device).tril()
        return torch.zeros(seen.shape, device=segments.device).masked_fill(~seen, -1e9)[:, None]


def decode(decoder, x, positions, mask, keep):
    """LlamaModel's forward, only that the last layer computes no more than the rows `keep` (B, K) -> (B, K, width)."""
    cos, sin = decoder.rotary_emb(x, positions)
    heads = lambda t: t.unflatten(-1, (-1, decoder.layers[0].self_attn.head_dim)).transpose(1, 2)
    for layer in decoder.layers:
        attention, h = layer.self_attn, layer.input_layernorm(x)
        key, value = heads(attention.k_proj(h)), heads(attention.v_proj(h))
        key = key * cos[:, None] + rotate_half(key) * sin[:, None]
        if layer is decoder.layers[-1]:
            pick = lambda t: t.gather(1, keep[..., None].expand(-1, -1, t.shape[-1]))
            x, h, cos, sin, mask = pick(x), pick(h), pick(cos), pick(sin), pick(mask[:, 0])[:, None]
        query = heads(attention.q_proj(h))
        query = query * cos[:, None] + rotate_half(query) * sin[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, mask)
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return decoder.norm(x)


def answer_loss(model, packer, features, kept, packed, device):
    """Cross-entropy of the answers; `kept` (B, K): which patches the features are of, None: all. The others' places
    stay empty."""
    ids, wanted, positions, segments = (t.to(device) for t in packed)
    n = len(ids)  # the first pictures of the batch
    features, kept = features[:n], None if kept is None else kept[:n]
    embed = model.get_input_embeddings()
    prefix = embed(torch.tensor(packer.prefix, device=device)).expand(n, -1, -1)
    first = prefix.shape[1] + features.shape[1]
    x = torch.cat([prefix, model.model.multi_modal_projector(features), embed(ids)], 1)
    patches = torch.arange(GRID * GRID, device=device).expand(n, -1) if kept is None else kept
    start = prefix.shape[1]
    positions = torch.cat([torch.arange(start, device=device).expand(n, -1), start + patches, positions], 1)
    segments = torch.cat([torch.zeros(n, first, dtype=torch.long, device=device), segments], 1)
    learn = wanted != -100
    keep = learn.long().topk(int(learn.sum(1).max()), 1).indices  # the rows that predict something, padded with others
    out = decode(model.model.language_model, x, positions, packer.mask(segments), keep + first)
    return F.cross_entropy(model.lm_head(out).flatten(0, 1), wanted.gather(1, keep).flatten())


def dense_loss(head, features, early, targets):
    parts = dict(zip(head.PARTS, head.out(head.norm(features)).split(list(head.PARTS.values()), -1)))
    covered, touched, names, cells = (targets[k] for k in ("covered", "touched", "names", "cells"))
    # everywhere, and once more where something is: most patches are background and soon learned
    loss, right = 0, {}
    for part, weight in (("colour", 1), ("name", 0.5), ("place", 0.5)):
        guess, wanted = parts[part].flatten(0, 1), targets[part].flatten()
        there = covered.flatten() & (wanted != -100)
        loss = loss + weight * F.cross_entropy(guess, wanted) + weight * F.cross_entropy(guess[there], wanted[there])
        right[part] = (guess[there].argmax(-1) == wanted[there]).float().mean().item()
    loss = loss + 4 * F.smooth_l1_loss(parts["box"][covered], targets["box"][covered], beta=0.05)
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


def look(model, pixels, kept=None):
    """The patches' features that LLaVA hands on, and those after layer Dense.EARLY; of the patches `kept` (B, K)
    alone."""
    tower = model.model.vision_tower
    x = tower.pre_layrnorm(tower.embeddings(pixels))
    if kept is not None:
        rows = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], 1)  # the class token stays
        x = x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))
    for depth, layer in enumerate(tower.encoder.layers, 1):
        x = layer(x, attention_mask=None)
        if depth == Dense.EARLY:
            early = x
    return x[:, 1:], early[:, 1:]


def fewer(targets, rng, count=GRID * GRID // 2):
    """Half of the patches, chosen by chance but rather those that something touches, and the targets of these.

    They teach nearly as much in half the time: most of a picture is background.
    """
    touched = targets["touched"].amax(-1)
    score = torch.from_numpy(rng.random(touched.shape, np.float32)) + 0.7 * touched
    kept = score.topk(count, 1).indices.sort(1).values
    pick = lambda t: t.gather(1, kept.reshape(kept.shape + (1,) * (t.ndim - 2)).expand(-1, -1, *t.shape[2:]))
    return kept, {k: t if k == "names" else pick(t) for k, t in targets.items()}


def rate(step, steps, decay):
    """Warm-up over 100 steps, level, then linearly down over the last `decay` of the steps."""
    return min(1.0, (step + 1) / 100, max(0.02, (steps - step) / (decay * steps)))


def time_left(end, workers):
    """Minutes until the clock time `end`, as the first worker sees it: all must go by the same."""
    left = torch.tensor([(end.timestamp() - time.time()) / 60])
    if workers > 1:
        dist.broadcast(left, 0)
    return left.item()


def clock(text):
    """The next time that the clock shows `text`."""
    now = datetime.datetime.now()
    end = datetime.datetime.combine(now, datetime.datetime.strptime(text, "%H:%M").time())
    return end if end > now else end + datetime.timedelta(days=1)


def parameters(model, head):
    """Matrices for Muon; embeddings, the output layer, norms, biases and the auxiliary head for AdamW."""
    matrices, others = [], []
    for name, p in list(model.named_parameters()) + list(head.named_parameters()):
        hidden = p.ndim == 2 and ".layers." in name or "multi_modal_projector" in name and p.ndim == 2
        (matrices if hidden else others).append(p)
    return matrices, others


class Batches(torch.utils.data.Dataset):
    """By step, what a worker learns from: pixels, dense targets, the patches kept and the packed questions (None: not
    yet asked)."""

    def __init__(self, args, packer):
        self.args, self.packer = args, packer
        self.pictures = Pictures(args.data, args.shards, args.batch, args.seed, args.visits)

    def __len__(self):
        return self.args.steps

    def __getitem__(self, step):
        args = self.args
        *arrays, rng = self.pictures(step)
        pixels, labels, table, texts = (a[args.rank :: args.workers] for a in arrays)
        # The first ones are asked about, rather shapes than others: which thing a question means is learned last.
        shapes = (table[:, 0, 0] >= 0) & (table[:, 0, 0] < FIRST_CLOTHES)
        order = np.argsort(-rng.random(len(table)) - 0.5 * shapes)
        pixels, labels, table, texts = (a[order] for a in (pixels, labels, table, texts))
        targets, kept, packed = dense_targets(labels, table), None, None
        dense_only = step < args.dense_steps
        ending = step >= args.steps * (1 - args.ending)
        if dense_only or not ending and step % args.full_every:
            kept, targets = fewer(targets, rng)
        if not dense_only:
            asked = list(zip(table, texts))[: max(1, round(args.answered * len(table)))]
            pairs = [data.pairs(things, text, rng, args.questions) for things, text in asked]
            packed = self.packer(pairs, rng.random(len(pairs)) < args.turned)
        return torch.from_numpy(np.ascontiguousarray(pixels)), targets, kept, packed


class Mean:
    """A running mean of the weights over about the last `reach` steps (fewer than the rate falls over), to export."""

    def __init__(self, model, reach=150):
        self.weights, self.reach = {k: v.detach().clone() for k, v in model.state_dict().items()}, reach

    @torch.no_grad()
    def update(self, model, step):
        share = max(1 / self.reach, 1 / (step + 1))
        for k, v in model.state_dict().items():
            self.weights[k].lerp_(v, share) if v.is_floating_point() else self.weights[k].copy_(v)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where checkpoints, the log and the Hugging Face folder go"
    )
    parser.add_argument("--data", required=True, help="folder of data.py's shards")
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument(
        "--start", type=Path, metavar="BUNDLE", help="begin from this bundle's weights, auxiliary heads from nothing"
    )
    parser.add_argument("--visits", type=int, default=2, help="how often a shard is gone through before new ones are")
    parser.add_argument("--dense-steps", type=int, default=800, help="first the vision tower alone, on the dense loss")
    parser.add_argument("--fixed-steps", type=int, default=60, help="then the rest on questions, the tower kept fixed")
    parser.add_argument("--steps", type=int, default=6000, help="steps in all; the last ones train everything together")
    parser.add_argument(
        "--decay", type=float, default=0.5, help="share of the steps over which the rate falls to nothing"
    )
    parser.add_argument(
        "--end", type=clock, metavar="HH:MM", help="stop at this time, before --steps: where others use the machine too"
    )
    parser.add_argument("--fall", type=float, default=25, help="minutes before --end over which the rate falls")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--questions", type=int, default=4, help="a picture and step, as far as --room lets them")
    parser.add_argument(
        "--answered", type=float, default=0.6, help="share of a batch that is asked about; the dense loss is of all"
    )
    parser.add_argument("--turned", type=float, default=0.25, help="share of these asked in turns of one conversation")
    parser.add_argument("--room", type=int, default=60, help="tokens of a picture's questions and answers together")
    parser.add_argument(
        "--full-every",
        type=int,
        default=8,
        help="once there are answers, one step in so many sees all patches, the others half",
    )
    parser.add_argument(
        "--ending", type=float, default=0.1, help="share of the steps, the last ones, that see all patches"
    )
    parser.add_argument("--dense-weight", type=float, default=0.3, help="of the dense loss beside that on answers")
    parser.add_argument("--vision", type=int, nargs=2, default=[192, 6], metavar=("WIDTH", "LAYERS"))
    parser.add_argument("--text", type=int, nargs=2, default=[192, 3], metavar=("WIDTH", "LAYERS"))
    parser.add_argument("--muon", type=float, default=0.02, help="learning rate of the weight matrices")
    parser.add_argument("--adam", type=float, default=2e-3, help="learning rate of everything else")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=4, help="between checkpoints")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each that share every batch")
    parser.add_argument("--rank", type=int, default=0, help="which of the workers this process is, from 0")
    parser.add_argument(
        "--loaders",
        type=int,
        default=0,
        help="processes that prepare batches ahead: for a GPU, as many as there are cores",
    )
    parser.add_argument("--port", type=int, default=29517, help="where the workers meet")
    parser.add_argument("--pause-file", help="train nothing while this file exists")
    return parser.parse_args()


def main():
    args = arguments()
    rank, workers = args.rank, args.workers
    args.folder.mkdir(parents=True, exist_ok=True)
    if workers > 1:
        torch.set_num_threads(1)
        hours = datetime.timedelta(hours=24)  # how long one waits for another that was stopped
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=workers, timeout=hours
        )
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")  # on a GPU; a CPU keeps f32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    saved = args.folder / "checkpoint.pt"
    state = torch.load(saved, map_location=device) if saved.exists() else None
    # The tokenizer stays the one the weights were made with, whatever becomes of the questions it was learned from.
    if state:
        args.vision, args.text, tokenizer = state["vision"], state["text"], Tokenizer.from_str(state["tokenizer"])
        model = build(args.vision, args.text, tokenizer)
    elif args.start:
        start = Bundle(args.start)
        (args.vision, args.text), tokenizer, model = start.sizes, start.tokenizer, start.model()
    else:
        tokenizer = vocabulary.build()
        model = build(args.vision, args.text, tokenizer)
        whiten(model, normalize(data.read_shard(args.data, 0)["pixels"][:1024], "cpu"))
    head = Dense(args.vision[0])
    model.to(device), head.to(device)
    matrices, others = parameters(model, head)
    optimizers = [
        Muon(matrices, lr=args.muon, rank=rank, workers=workers),
        torch.optim.AdamW(others, lr=args.adam, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    mean = Mean(model)
    step = 0
    if state:
        model.load_state_dict(state["model"]), head.load_state_dict(state["head"])
        mean.weights = state["mean"]
        for optimizer, s in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(s)
        step = state["step"]
    packer = Packer(tokenizer, args.room)
    batches = torch.utils.data.DataLoader(
        Batches(args, packer), batch_size=None, sampler=range(step, args.steps), num_workers=args.loaders
    )
    average, last_saved, last_log = {}, time.time(), time.time()

    def save():
        part = saved.with_suffix(".part")
        weights = {"model": model.state_dict(), "head": head.state_dict(), "mean": mean.weights}
        sizes = {"vision": args.vision, "text": args.text, "tokenizer": tokenizer.to_str()}
        torch.save(weights | sizes | {"optimizers": [o.state_dict() for o in optimizers], "step": step}, part)
        part.rename(saved)

    for pixels, targets, kept, packed in batches:
        data.wait_while(args.pause_file)
        fixed = args.dense_steps <= step < args.dense_steps + args.fixed_steps
        kept = None if kept is None else kept.to(device)
        with torch.set_grad_enabled(not fixed):
            features, early = look(model, normalize(pixels, device), kept)
            dense, values = dense_loss(head, features, early, {k: t.to(device) for k, t in targets.items()})
        values["dense"] = dense.item()
        loss = dense
        if packed is not None:
            loss = answer_loss(model, packer, features, kept, packed, device)
            values["answers"] = loss.item()
            if not fixed:
                loss = loss + args.dense_weight * dense
        (loss / workers).backward()
        share([p.grad for p in matrices + others if p.grad is not None], workers)
        norm = nn.utils.clip_grad_norm_(others, 1.0)
        assert torch.isfinite(norm), f"the gradient is not finite at step {step}"
        now = rate(step, args.steps, args.decay)
        left = time_left(args.end, workers) if args.end else math.inf
        now = min(now, max(0.02, left / args.fall))
        for optimizer, lr in zip(optimizers, (args.muon, args.adam)):
            for group in optimizer.param_groups:
                group["lr"] = lr * now
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        if rank == 0:
            mean.update(model, step)
        for k, v in values.items():
            average[k] = 0.95 * average.get(k, v) + 0.05 * v
        if rank == 0 and step % 25 == 0:
            line = {"step": step, "seconds": round((time.time() - last_log) / 25, 3), "rate": round(now, 3)}
            with open(args.folder / "log.jsonl", "a") as log:
                print(json.dumps(line | {k: round(v, 4) for k, v in average.items()}), file=log)
            last_log = time.time()
        ended = step == args.steps or left <= 0
        if rank == 0 and (ended or time.time() - last_saved > 60 * args.minutes):
            save()
            last_saved = time.time()
        if ended:
            break


if __name__ == "__main__":
    main()
