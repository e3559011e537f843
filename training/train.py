"""Train the default model from nothing: first the vision tower on what lies where, then everything on questions.

Resumable: run the same command again, with more steps if you like, and it goes on from the last checkpoint. The
exported model is a running mean of the weights.
"""

import argparse
import datetime
import json
import math
import time
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import nn

import data
import vocabulary
from answers import Packer, answer_loss
from batches import Batches
from bundle import Bundle
from dense import Dense, dense_loss, look
from mentions import Found
from model import build, normalize, whiten
from muon import Muon, share
from rounding import rounded


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
    """Matrices for Muon; embeddings, the output layer, norms, biases and the auxiliary heads for AdamW."""
    matrices, others = [], []
    for name, p in list(model.named_parameters()) + list(head.named_parameters()):
        hidden = p.ndim == 2 and ".layers." in name or "multi_modal_projector" in name and p.ndim == 2
        (matrices if hidden else others).append(p)
    return matrices, others


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
    parser.add_argument("--questions", type=int, default=5, help="a picture and step, as far as --room lets them")
    parser.add_argument(
        "--answered", type=float, default=0.7, help="share of a batch that is asked about; the dense loss is of all"
    )
    parser.add_argument("--turned", type=float, default=0.25, help="share of these asked in turns of one conversation")
    parser.add_argument("--room", type=int, default=66, help="tokens of a picture's questions and answers together")
    parser.add_argument(
        "--full-every",
        type=int,
        default=8,
        help="once there are answers, one step in so many sees all patches, the others half",
    )
    parser.add_argument(
        "--ending", type=float, default=0.1, help="share of the steps, the last ones, that see all patches"
    )
    parser.add_argument(
        "--rounded-every",
        type=int,
        default=0,
        help="one step in so many sees the decoder as a q4 bundle stores it; 0: none",
    )
    parser.add_argument("--dense-weight", type=float, default=0.3, help="of the dense loss beside that on answers")
    parser.add_argument(
        "--found-weight", type=float, default=0.5, help="of the loss on what questions name beside that on answers"
    )
    parser.add_argument("--vision", type=int, nargs=2, default=[192, 6], metavar=("WIDTH", "LAYERS"))
    parser.add_argument("--text", type=int, nargs=2, default=[192, 4], metavar=("WIDTH", "LAYERS"))
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
    if args.text[1] <= Found.LATER:
        raise SystemExit(f"the decoder has {args.text[1]} layers, and must have more than {Found.LATER} (--text)")
    head = nn.ModuleDict({"dense": Dense(args.vision[0]), "found": Found(args.text[0])})
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
        with rounded(model, step, args.rounded_every):
            with torch.set_grad_enabled(not fixed):
                features, *within = look(model, normalize(pixels, device), kept)
                targets = {k: t.to(device) for k, t in targets.items()}
                dense, values = dense_loss(head["dense"], features, *within, targets)
            values["dense"] = dense.item()
            loss = dense
            if packed is not None:
                loss, finding, of_found = answer_loss(model, head["found"], packer, features, kept, packed, device)
                values |= {"answers": loss.item(), **of_found}
                loss = loss + args.found_weight * finding
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
