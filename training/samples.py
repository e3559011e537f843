"""Pick the demo page's sample pictures out of the held-out set: of each kind some that the model describes right.

samples.py SET OUTPUTS ../www/demo/samples      OUTPUTS: what evaluate.py scores
"""

import argparse
import json
import shutil
from pathlib import Path

from evaluate import PROMPT, read, right

# How many of each kind. The held-out photographs may not be handed out, so there are none of them.
WANTED = {
    ("scenes", "caption"): 3,
    ("scenes", "drawn by hand"): 1,
    ("emoji", "name"): 2,
    ("emoji", "two"): 1,
    ("clothes", "name"): 1,
}
LARGEST = 40_000  # bytes of a file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    said = {
        (i["image"], i["prompt"]): o["description"] for i, o in zip(read(args.set / "inputs.jsonl"), read(args.outputs))
    }
    index, seen, left = [], set(), dict(WANTED)
    for case in read(args.set / "cases.jsonl"):
        kind, names, source = (case["set"], case["kind"]), case["expected"], Path(case["image"])
        if not left.get(kind) or case["prompt"] != PROMPT or seen & set(names) or source.stat().st_size > LARGEST:
            continue
        if right(case, said[case["image"], PROMPT]):
            left[kind] -= 1
            seen |= set(names)
            file = f"{case['set']}-{len(index) + 1}{source.suffix}"
            shutil.copy(source, args.folder / file)
            index.append({"file": file, "title": ", ".join(names)})
    (args.folder / "index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
