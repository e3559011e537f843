"""Train projector and decoder of the photograph model on the tower's features. Resumable: the same command goes on.

    train_photos.py --folder RUN --cache CACHE --photos PHOTOS --features FEATURES
"""

import argparse
import datetime
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

import fastvlm
import gist
import photographs
import sayings
import vocabulary
from kinds import Kinds
from lessons import Lessons
from muon import Muon, share as sum_over
from packing import Packer, answer_loss
from rounding import rounded
from train import Mean, clock, rate, time_left
from units import FLOOR, NOTHING

QUESTIONS = 2  # about each picture, of which the first asks for a caption
PIECES = 1400  # of the tokenizer, letters included


def tokenizer_of(cache, photos):
    names = {p.name for p in photographs.load(photos, cache, "train") if p.name} | set(gist.CAPTIONS)
    corpus = sayings.corpus(Kinds.load(cache), sorted(names), np.random.default_rng(0))
    return vocabulary.build(corpus, PIECES)


def members(tokenizer, lessons):
    """How much each token belongs to the name of each unit (tokens, units): 1 in its own name, half in a wider one."""
    found = torch.zeros(tokenizer.get_vocab_size(), len(lessons.units))
    ids = lambda name: tokenizer.encode(sayings.DO_NOT_KNOW if name == NOTHING else name, add_special_tokens=False).ids
    for names, share in ((lessons.kinds.exact, 1), (lessons.kinds.wider, 0.5)):
        for name in names:
            for token in ids(name.name):
                found[token, list(name.kinds)] += share
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints and the log go")
    parser.add_argument("--cache", type=Path, required=True, help="fetch.py's")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True, help="features.py's")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--decay", type=float, default=0.5, help="share of the steps over which the rate falls")
    parser.add_argument("--end", type=clock, metavar="HH:MM", help="stop at this time, before --steps: where others use the machine too")
    parser.add_argument("--fall", type=float, default=35, help="minutes before --end over which the rate falls")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--kept", type=int, default=16, help="positions of a picture that most steps see")
    parser.add_argument("--full-every", type=int, default=8, help="one step in so many sees all positions")
    parser.add_argument("--ending", type=float, default=0.3, help="rate below which all steps do")
    parser.add_argument("--rounded-every", type=int, default=3, help="one step in so many sees the decoder as a q4 bundle stores it; 0: none")
    parser.add_argument("--size", type=int, nargs=3, default=list(fastvlm.SIZE), metavar=("WIDTH", "LAYERS", "INNER"))
    parser.add_argument("--muon", type=float, default=0.008, help="learning rate of the weight matrices")
    parser.add_argument("--adam", type=float, default=1.5e-3, help="learning rate of everything else")
    parser.add_argument("--kinds-weight", type=float, default=0.3, help="of the loss on the classifier's softmax")
    parser.add_argument("--withhold", type=int, default=0, help="leave out the photographs of one in so many kinds: a measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3, help="between checkpoints")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each that share every batch")
    parser.add_argument("--rank", type=int, default=0, help="which of the workers this process is, from 0")
    parser.add_argument("--port", type=int, default=29518, help="where the workers meet")
    return parser.parse_args()


def kinds_loss(heads, states, means):
    """How far what the states say, after each layer, is from the units' softmax."""
    share = means.softmax(-1)
    return sum(F.cross_entropy(head(s).float(), share) for head, s in zip(heads, states))


def main():
    args = arguments()
    rank, workers = args.rank, args.workers
    torch.set_num_threads(1)  # on a machine that others use too, threads that wait for each other are slower than one
    if workers > 1:
        where = f"tcp://127.0.0.1:{args.port}"
        hours = datetime.timedelta(hours=24)  # how long one waits for another that was stopped
        dist.init_process_group("gloo", init_method=where, rank=rank, world_size=workers, timeout=hours)
    torch.manual_seed(args.seed)
    args.folder.mkdir(parents=True, exist_ok=True)
    saved = args.folder / "checkpoint.pt"
    state = torch.load(saved) if saved.exists() else None
    tokenizer = Tokenizer.from_str(state["tokenizer"]) if state else tokenizer_of(args.cache, args.photos)
    args.size = state["size"] if state else args.size
    lessons = Lessons(args.cache, args.photos, args.features, args.withhold)
    model = fastvlm.build(tokenizer, args.size)
    model.model.vision_tower = nn.Identity()  # it is frozen
    heads = nn.ModuleList(nn.Linear(args.size[0], len(lessons.units)) for _ in range(args.size[1] - 1))
    fastvlm.show_units(model, lessons.units)
    if not state:
        outputs = lessons.batch(256, np.random.default_rng(args.seed), 1, 1)[0]
        fastvlm.begin(model, members(tokenizer, lessons), F.gelu(outputs - FLOOR).mean((0, 1)), heads)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and p.requires_grad and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in [*model.parameters(), *heads.parameters()] if id(p) not in chosen and p.requires_grad]
    optimizers = [
        Muon(matrices, lr=args.muon, rank=rank, workers=workers, dtype=torch.bfloat16),
        torch.optim.AdamW(others, lr=args.adam, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    mean, step = Mean(model), 0
    if state:
        model.load_state_dict(state["model"]), heads.load_state_dict(state["heads"])
        for optimizer, s in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(s)
        mean.weights, step = state["mean"], state["step"]
    packer = Packer(tokenizer)
    average, last_saved, last_log = {}, time.time(), time.time()

    def save():
        part = saved.with_suffix(".part")
        weights = {"model": model.state_dict(), "heads": heads.state_dict(), "mean": mean.weights}
        rest = {"size": args.size, "tokenizer": tokenizer.to_str(), "step": step}
        torch.save(weights | rest | {"optimizers": [o.state_dict() for o in optimizers]}, part)
        os.replace(part, saved)

    while step < args.steps:
        rng = np.random.default_rng([args.seed, step, rank])
        now = rate(step, args.steps, args.decay)
        if args.end:
            left = time_left(args.end, workers)
            if left <= 0:
                break
            now = min(now, max(0.02, left / args.fall))
        whole = step % args.full_every == 0 or now < args.ending
        count = fastvlm.POSITIONS if whole else args.kept
        outputs, kept, means, pairs = lessons.batch(args.batch // workers, rng, count, QUESTIONS)
        hidden = F.pad(F.gelu(outputs - FLOOR), (0, args.size[0] - outputs.shape[-1]))
        with rounded(model, step, args.rounded_every):
            with torch.autocast("cpu", torch.bfloat16):
                answers, states = answer_loss(model, packer, hidden, kept, packer(pairs))
                kinds = kinds_loss(heads, states, means)
            ((answers + args.kinds_weight * kinds) / workers).backward()
        sum_over([p.grad for p in matrices + others], workers)
        norm = nn.utils.clip_grad_norm_(others, 1.0)
        assert torch.isfinite(norm), f"the gradient is not finite at step {step}"
        for optimizer, lr in zip(optimizers, (args.muon, args.adam)):
            for group in optimizer.param_groups:
                group["lr"] = lr * now
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        if rank == 0:
            mean.update(model, step)
        for k, v in {"answers": answers.item(), "kinds": kinds.item()}.items():
            average[k] = 0.95 * average.get(k, v) + 0.05 * v
        if rank == 0 and step % 25 == 0:
            line = {"step": step, "seconds": round((time.time() - last_log) / 25, 3), "rate": round(now, 3)}
            with open(args.folder / "log.jsonl", "a") as log:
                print(json.dumps(line | {k: round(v, 4) for k, v in average.items()}), file=log)
            last_log = time.time()
        if rank == 0 and (step == args.steps or time.time() - last_saved > 60 * args.minutes):
            save()
            last_saved = time.time()
    if rank == 0 and step < args.steps:
        save()


if __name__ == "__main__":
    main()
