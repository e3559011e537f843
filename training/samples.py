"""Pick pictures out of the held-out set, for people and for the tests.

    samples.py demo SET OUTPUTS ../www/demo/samples    of each kind some that the model describes right, behind photographs
    samples.py tests SET OUTPUTS ../tests/held-out --q4 OUTPUTS
                                                       of each kind the first, right or not, and what counts as right

OUTPUTS is what `evaluate.py score` scores, --q4 that of the q4 bundle. Only pictures that may be handed out are taken.
"""

import argparse
import io
import json
import shutil
from collections import Counter
from pathlib import Path

from PIL import Image

from evaluate import PROMPT, accepted, asked, plain, read, right, write
from fetch import SKIMAGE_TEST
from photographs import pictures

LARGEST = {"demo": 40_000, "tests": 16_000}  # bytes of a file
# How many of each kind.
WANTED = {
    "demo": {
        ("scenes", "caption"): 3, ("scenes", "drawn by hand"): 1, ("emoji", "name"): 3, ("emoji", "two"): 1,
        ("clothes", "name"): 1, ("easy-VQA", "others"): 1,
    },
    "tests": {
        ("scenes", "caption"): 8, ("scenes", "drawn by hand"): 4, ("scenes", "colour"): 3, ("scenes", "shape"): 3,
        ("scenes", "filled"): 2, ("scenes", "count"): 4, ("scenes", "count one kind"): 4,
        ("scenes", "relation, which"): 3, ("scenes", "relation, yes or no"): 3,
        ("scenes", "relation, one of two"): 3, ("emoji", "name"): 10,
        ("emoji", "two"): 3, ("emoji", "kind"): 3, ("clothes", "name"): 8, ("easy-VQA", "yes or no"): 4,
        ("easy-VQA", "others"): 6, ("photographs", "does not know"): 4,
    },
}  # fmt: skip


# The photographs that the demo shows and what is in them: fetch.py's, or where a folder is named one of the licensed photographs
# that no model learned from. Credits are in the demo's page.
PHOTOGRAPHS = {
    "chelsea": "cat",
    "picosdeeuropa": "mountain",
    "val/6c5db989d608c84a": "group of people",
    "gravel": "gravel, which it should not know",
}


def may_be_shown(case, use):
    free = case["set"] != "photographs" or case["source"] in {Path(name).stem for name in SKIMAGE_TEST}
    return free and Path(case["image"]).stat().st_size <= LARGEST[use]


def title(case):
    """What the sample's button says, and what an answer to the page's question should contain."""
    if case["expected"] is None:
        return f"a photograph ({case['source']}), which it should not know"
    return case["expected"] if isinstance(case["expected"], str) else ", ".join(dict.fromkeys(case["expected"]))


def photograph(name, cache, photos):
    """Its file."""
    if "/" in name:
        return next(io.BytesIO(found) for file, found in pictures(photos, name.split("/")[0]) if file == f"{name}.jpg")
    return next(path for split in ("train", "test") for path in (cache / "photos" / split).glob(f"{name}.jpg"))


def photographs(cache, photos, folder):
    """Writes them, and gives back their rows of the index."""
    rows = []
    for name, title in PHOTOGRAPHS.items():
        image = Image.open(photograph(name, cache, photos))
        image.thumbnail((360, 360), Image.LANCZOS)
        rows.append({"file": f"photographs-{len(rows) + 1}.jpg", "title": title})
        image.save(folder / rows[-1]["file"], quality=82)
    return rows


def demo(cases, said, cache, photos, folder):
    index, seen, left = photographs(cache, photos, folder), set(), dict(WANTED["demo"])
    for case in cases:
        kind, names = (case["set"], case["kind"]), title(case).split(", ")
        of_the_page = case["prompt"] == PROMPT or case["set"] == "easy-VQA"
        if not left.get(kind) or not of_the_page or seen & set(names) or not may_be_shown(case, "demo"):
            continue
        if right(case, said[asked(case)]):
            left[kind] -= 1
            seen |= set(names)
            source = Path(case["image"])
            file = f"{case['set']}-{len(index) + 1}{source.suffix}"
            shutil.copy(source, folder / file)
            index.append({"file": file, "title": title(case)})
    (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n")


def tests(cases, said, said_by_q4, folder):
    """cases.jsonl with what the model said, the pictures, and in scores.json how many of each set each bundle answers
    right."""
    rows, left = [], dict(WANTED["tests"])
    scores = {"llava-sketches": (said, {}), "llava-sketches-q4": (said_by_q4, {})}
    for case in cases:
        kind, source = (case["set"], case["kind"]), Path(case["image"])
        if not left.get(kind) or not may_be_shown(case, "tests"):
            continue
        left[kind] -= 1
        if not (folder / source.name).exists():
            shutil.copy(source, folder / source.name)
        row = {k: case[k] for k in ("set", "kind", "prompt")} | {"image": source.name, "accepted": accepted(case)}
        row["said"] = said[asked(case)]
        for answers, score in scores.values():
            score.setdefault(case["set"], Counter()).update(right=plain(answers[asked(case)]) in row["accepted"], of=1)
        rows.append(row)
    write(folder / "cases.jsonl", rows)
    scores = {bundle: score for bundle, (_, score) in scores.items()}
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("use", choices=["demo", "tests"])
    parser.add_argument("set", type=Path)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, help="fetch.py's, of which the demo's photographs come")
    parser.add_argument("--photos", type=Path, help="the licensed photographs, of which others come")
    parser.add_argument("--q4", type=Path, metavar="OUTPUTS", help="what the q4 bundle said (tests)")
    args = parser.parse_args()
    if args.use == "tests" and not args.q4:
        parser.error("the tests are of both bundles: give --q4 too")
    if args.use == "demo" and not (args.cache and args.photos):
        parser.error("the demo shows photographs: give --cache and --photos too")
    args.folder.mkdir(parents=True, exist_ok=True)
    inputs, cases = read(args.set / "inputs.jsonl"), read(args.set / "cases.jsonl")
    said = lambda outputs: {(i["image"], i["prompt"]): o["description"] for i, o in zip(inputs, read(outputs))}
    if args.use == "demo":
        demo(cases, said(args.outputs), args.cache, args.photos, args.folder)
    else:
        tests(cases, said(args.outputs), said(args.q4), args.folder)


if __name__ == "__main__":
    main()
