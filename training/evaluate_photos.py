"""Score the photograph model on held-out pictures.

    evaluate_photos.py inputs SET CACHE PHOTOS [--drawn SET]   write SET/cases.jsonl, SET/inputs.jsonl and pictures; --drawn:
                                                               a folder of `evaluate.py inputs`
    evaluate_photos.py torch SET HF                            answer with transformers in f32: SET/outputs-torch.jsonl, and score
    evaluate_photos.py score SET OUTPUTS                       score the outputs of any engine, a line for each input
    evaluate_photos.py pair SET OUTPUTS DRAWN                  SET of `evaluate.py inputs`, answered by this model and by that of
                                                               drawings: SET/outputs-pair.jsonl has the latter's answer
                                                               where this one says "a drawing", for `evaluate.py score`

Every question is "What is in this picture?". Beside each score stand those of every other picture of the set, the first and the
second ones, of which only the first are there to choose by; and two controls: the answer on a blanked picture (plain grey) and
that on another picture of the set.
"""

import argparse
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import photographs
import tower
from evaluate import PROMPT, REFUSAL, read, write
from kinds import Kinds, bare
from sayings import A_DRAWING

SURE = 0.5  # the classifier's weight from which a kind must be named
GOALS = {
    "labelled, right": "at least 70", "labelled, wrong": "at most 18", "sure kinds, named": "at least 85",
    "nothing, refused": "at least 80",
}  # fmt: skip


# --- the sets --------------------------------------------------------------------------------------------------------


def nothing(rng):
    """A picture without anything to name, drawn by other code than the training's."""
    side = int(rng.integers(64, 320))
    y, x = np.mgrid[:side, :side] / side
    kind = int(rng.integers(6))
    if kind == 0:  # plain
        field = np.full((side, side, 1), 0.5)
    elif kind == 1:  # noise, coarse or fine
        cells = max(2, side // int(rng.integers(1, 12)))
        noise = rng.integers(0, 256, (cells, cells), dtype=np.uint8)
        field = np.asarray(Image.fromarray(noise).resize((side, side), Image.BILINEAR))[..., None] / 255
    elif kind == 2:  # a grade
        field = (x * rng.normal() + y * rng.normal())[..., None]
    elif kind == 3:  # stripes
        field = np.sin((x * rng.normal() + y * rng.normal()) * rng.uniform(20, 120))[..., None]
    elif kind == 4:  # chequers
        n = rng.integers(4, 24)
        field = ((x * n).astype(int) + (y * n).astype(int))[..., None] % 2
    else:  # clouds
        field = np.zeros((side, side, 1))
        for cells in (3, 6, 12, 24, 48):
            noise = Image.fromarray(rng.random((cells, cells)).astype(np.float32)).resize((side, side), Image.BICUBIC)
            field += np.asarray(noise)[..., None] / cells
    field = (field - field.min()) / (np.ptp(field) + 1e-9)
    a, b = rng.integers(0, 256, (2, 3))
    return Image.fromarray((a + field * (b - a)).clip(0, 255).astype(np.uint8))


def prepare(folder, cache, photos, drawn):
    model, cases = tower.load(cache), []
    kinds = Kinds.load(cache)
    labelled = set().union(*(p.kinds for p in photographs.load(photos, cache, "train")))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    contents = dict(photographs.pictures(photos, "val"))
    for photo in photographs.load(photos, cache, "val"):
        path = folder / "pictures" / Path(photo.file).name
        path.write_bytes(contents[photo.file])
        with torch.no_grad():
            pixels = tower.normalize(tower.fit(Image.open(path).convert("RGB"))[None])
            share = model(pixels).softmax(-1)[0]
        case = {"image": str(path), "from": photo.set}
        if photo.label:
            case |= {"set": "labelled", "name": photo.name, "right": sorted(photo.right), "wider": sorted(photo.wider)}
        else:
            case |= {"set": "described", "description": photo.description}
        best = int(share.argmax())
        if share[best] > SURE:
            above = [n for n in kinds.exact + kinds.wider if best in n.kinds]
            case |= {"kind": kinds.exact[best].name, "unseen": best not in labelled, "kind words": sorted(set().union(*(n.words for n in above)))}
        cases.append(case)
    rng = np.random.default_rng(2026)
    for n in range(150):
        path = folder / "pictures" / f"nothing-{n:03d}.png"
        nothing(rng).save(path)
        cases.append({"image": str(path), "set": "nothing"})
    if drawn:
        seen = {}
        for case in read(drawn / "cases.jsonl"):
            if case["set"] != "photographs":
                seen.setdefault(case["image"], case["set"])
        cases += [{"image": image, "set": "drawn", "from": which} for image, which in seen.items()]
    blank = folder / "pictures" / "blank.png"
    Image.new("RGB", (224, 224), (128, 128, 128)).save(blank)
    write(folder / "cases.jsonl", cases)
    images = list(dict.fromkeys([str(blank)] + [c["image"] for c in cases]))
    write(folder / "inputs.jsonl", [{"image": i, "prompt": PROMPT, "max_tokens": 40} for i in images])
    return len(cases)


# --- the scores ------------------------------------------------------------------------------------------------------


def words_of(text):
    return re.findall(r"[\w'’-]+", text.lower())


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(said, meant):
    """BLEU-4 of a corpus, one reference each, smoothed by one half where nothing is found."""
    found, of = [0] * 4, [0] * 4
    for s, m in zip(said, meant):
        for n in range(4):
            a, b = grams(s, n + 1), grams(m, n + 1)
            found[n] += sum((a & b).values())
            of[n] += sum(a.values())
    length, wanted = sum(map(len, said)), sum(map(len, meant))
    mean = sum(math.log(max(f, 0.5) / max(o, 1)) for f, o in zip(found, of)) / 4
    return 100 * math.exp(mean + min(0, 1 - wanted / max(length, 1)))


def cider(said, meant):
    """CIDEr of a corpus, one reference each: the mean cosine of tf-idf vectors of 1- to 4-grams, times ten."""
    total = 0
    for n in range(1, 5):
        a, b = ([grams(t, n) for t in texts] for texts in (said, meant))
        seen = Counter(g for row in b for g in row)
        weigh = lambda row: {g: c * math.log(len(b) / max(1, seen[g])) for g, c in row.items()}
        for x, y in zip(map(weigh, a), map(weigh, b)):
            size = math.sqrt(sum(v * v for v in x.values()) * sum(v * v for v in y.values()))
            total += sum(v * y.get(g, 0) for g, v in x.items()) / size if size else 0
    return 10 * total / 4 / len(said)


def things(text):
    """The names in a caption, without articles: "bananas in a grocery store" has two."""
    return {bare(part) for part in re.split(r" in | and | with ", text)}


def judge(case, text):
    """{mark: bool} of an answer. Of a labelled photograph it is right where one of the things it names is."""
    words, refused = bare(text), bool(REFUSAL.search(text))
    if case["set"] == "drawn":
        return {f"{case['from']}, to the other model": words == bare(A_DRAWING), f"{case['from']}, refused": refused}
    if case["set"] == "nothing":
        return {"refused": refused, "to the other model": words == bare(A_DRAWING)}
    marks = {"to the other model": words == bare(A_DRAWING)}
    if case["set"] == "labelled":
        right = bool(things(text) & set(case["right"]))
        wider = not right and bool(things(text) & set(case["wider"]))
        marks |= {"right": right, "wider": wider, "refused": refused, "wrong": not (right or wider or refused)}
        marks |= {f"{case['from']}: right": right, f"{case['from']}: wrong": marks["wrong"]}
    return marks


def score(folder, texts):
    inputs, cases = read(folder / "inputs.jsonl"), read(folder / "cases.jsonl")
    assert len(inputs) == len(texts), f"{len(inputs)} inputs but {len(texts)} outputs"
    said = {i["image"]: text for i, text in zip(inputs, texts)}
    blank = texts[0]
    rows, log = defaultdict(list), []  # of each mark: (own, blanked, shuffled) and whether it is of the second half
    of_set = defaultdict(list)
    for case in cases:
        of_set[case["set"]].append(case)
    for which, members in of_set.items():
        half = len(members) // 2
        for n, (case, other) in enumerate(zip(members, members[half:] + members[:half])):
            answers = said[case["image"]], blank, said[other["image"]]
            marks = [judge(case, text) for text in answers]
            for mark in marks[0]:
                rows[f"{which}, {mark}"].append([*(m[mark] for m in marks), n % 2])
            if "kind words" in case:
                named = [*(bool(things(text) & set(case["kind words"])) for text in answers), n % 2]
                rows["sure kinds, named"].append(named)
                rows["sure kinds, named, or the label"].append([*(a or m.get("right", False) for a, m in zip(named, marks)), n % 2])
                if case["unseen"]:
                    rows["sure kinds without a labelled photograph, named"].append(named)
            log.append(case | {"said": answers[0]} | marks[0])
    print(f"blanked: {blank}\n\n| what | pictures | score | first half | second half | blanked | shuffled | goal |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    scores = {}
    for name, marks in rows.items():
        marks = np.array(marks, float)
        own, blanked, shuffled = 100 * marks[:, :3].mean(0)
        halves = [100 * marks[marks[:, 3] == n, 0].mean() for n in (0, 1)]
        scores[name] = round(float(own), 1)
        figures = " | ".join(f"{x:.1f}" for x in (own, *halves, blanked, shuffled))
        print(f"| {name} | {len(marks)} | {figures} | {GOALS.get(name, '')} |")
    described = of_set["described"]
    meant = [words_of(c["description"]) for c in described]
    constant = words_of("A photograph shows a group of people.")
    for name, measure in (("BLEU-4", bleu), ("CIDEr", cider)):
        own = measure([words_of(said[c["image"]]) for c in described], meant)
        fixed = measure([constant] * len(meant), meant)
        scores[name] = round(own, 3)
        print(f"| described, {name} (a constant caption: {fixed:.3f}) | {len(meant)} | {own:.3f} | | | | | |")
    write(folder / "judged.jsonl", log)
    return scores


def describe(hf, inputs, batch=32):
    """Greedy descriptions by transformers' FastVlmForConditionalGeneration in f32."""
    from tokenizers import Tokenizer
    from transformers import FastVlmForConditionalGeneration

    from fastvlm import POSITIONS
    from model import PROMPT as TEMPLATE

    model = FastVlmForConditionalGeneration.from_pretrained(hf, dtype=torch.float32).eval()
    model.model.vision_tower.to(memory_format=torch.channels_last)
    tokenizer = Tokenizer.from_file(str(Path(hf) / "tokenizer.json"))
    image, texts = tokenizer.token_to_id("<image>"), [""] * len(inputs)
    by_prompt = defaultdict(list)
    for n, i in enumerate(inputs):
        by_prompt[i["prompt"]].append(n)
    for prompt, rows in by_prompt.items():
        ids = []
        for token in tokenizer.encode(TEMPLATE.format(prompt)).ids:
            ids += [token] * (POSITIONS if token == image else 1)
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            pixels = np.stack([tower.fit(Image.open(inputs[n]["image"]).convert("RGB")) for n in part])
            with torch.no_grad():
                out = model.generate(
                    input_ids=torch.tensor([ids] * len(part)),
                    pixel_values=tower.normalize(pixels).to(memory_format=torch.channels_last),
                    attention_mask=torch.ones(len(part), len(ids), dtype=torch.long),
                    do_sample=False, max_new_tokens=20,
                )  # fmt: skip
            for n, row in zip(part, out[:, len(ids) :].tolist()):
                texts[n] = tokenizer.decode(row, skip_special_tokens=True).strip()
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["inputs", "torch", "score", "pair"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", type=Path, nargs="+")
    parser.add_argument("--drawn", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "inputs":
        print(prepare(args.folder, *args.other, args.drawn), "cases")
        return
    if args.command == "pair":
        rows = zip(*map(read, args.other))
        chosen = [drawn if bare(own["description"]) == bare(A_DRAWING) else own for own, drawn in rows]
        write(args.folder / "outputs-pair.jsonl", chosen)
        return
    if args.command == "torch":
        texts = describe(args.other[0], read(args.folder / "inputs.jsonl"))
        write(args.folder / "outputs-torch.jsonl", [{"description": t} for t in texts])
    else:
        texts = [o["description"] for o in read(args.other[0])]
    scores = score(args.folder, texts)
    (args.folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
