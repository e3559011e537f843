"""Write the model of a training folder (the running mean of its weights) as a Hugging Face folder, at any checkpoint.

export.py RUN HF_FOLDER [--last]
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

from model import build, export


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="train.py's --folder")
    parser.add_argument("hf", type=Path)
    parser.add_argument(
        "--last", action="store_true", help="not the mean but the last weights: better once the rate has fallen quickly"
    )
    args = parser.parse_args()
    state = torch.load(args.run / "checkpoint.pt", map_location="cpu")
    tokenizer = Tokenizer.from_str(state["tokenizer"])
    model = build(state["vision"], state["text"], tokenizer)
    model.load_state_dict(state["model" if args.last else "mean"])
    export(model, tokenizer, args.hf)
    print(f"step {state['step']}: {args.hf}")


if __name__ == "__main__":
    main()
