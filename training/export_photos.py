"""Write the photograph model of a training folder (the running mean of its weights) as a Hugging Face folder.

export_photos.py RUN CACHE HF_FOLDER [--last]
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

import fastvlm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="train_photos.py's --folder")
    parser.add_argument("cache", type=Path, help="fetch.py's")
    parser.add_argument("hf", type=Path)
    parser.add_argument("--last", action="store_true", help="not the mean but the last weights")
    args = parser.parse_args()
    state = torch.load(args.run / "checkpoint.pt")
    tokenizer = Tokenizer.from_str(state["tokenizer"])
    model = fastvlm.build(tokenizer, state["size"])
    looking, model.model.vision_tower = model.model.vision_tower, nn.Identity()
    model.load_state_dict(state["model" if args.last else "mean"])
    model.model.vision_tower = looking
    fastvlm.load_tower(model, args.cache)
    fastvlm.export(model, tokenizer, args.hf)
    print(f"step {state['step']}: {args.hf}")


if __name__ == "__main__":
    main()
