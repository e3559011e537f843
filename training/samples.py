"""Draw the demo page's sample pictures: scenes of the held-out routine under a seed of their own that the model describes right.

    samples.py HF_FOLDER ../www/demo/samples
"""

import argparse
import json
import random
from pathlib import Path

import held_out
from evaluate import PROMPT, describe, right

WANTED = [1, 2, 3, 2, 3, 2, 3]  # shapes in each picture


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hf")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    index, seen = [], set()
    while len(index) < len(WANTED):
        image, things = held_out.scene(rng)
        names = [f"{t['colour']} {t['shape']}" for t in sorted(things, key=lambda t: t["x"])]
        fresh = len(seen | set(names)) == len(seen) + len(names)  # no thing in two samples
        if len(names) != WANTED[len(index)] or not fresh or min(image.size) < 180:
            continue
        file = f"shapes-{len(index) + 1}.{'jpg' if len(index) % 2 else 'png'}"
        image.save(args.folder / file)
        if (args.folder / file).stat().st_size > 40_000:  # noise makes large PNG files
            continue
        if right("caption", describe(args.hf, [{"image": str(args.folder / file), "prompt": PROMPT}])[0], names):
            index.append({"file": file, "title": ", ".join(names)})
            seen |= set(names)
    (args.folder / "index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
