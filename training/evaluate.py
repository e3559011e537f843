"""Score a model on the held-out scenes.

    evaluate.py inputs SET            write SET/inputs.jsonl (and its pictures, where they are missing): one input object a line
    evaluate.py torch SET HF_FOLDER   describe them with transformers, in f32: SET/outputs-torch.jsonl, then score
    evaluate.py score SET OUTPUTS     score the outputs of any engine: {"description"} a line, in the order of inputs.jsonl

The inputs are a caption of every picture, the questions about it, and the captions once more with every picture blanked.
"""

import argparse
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image

import held_out

PROMPT = "What is in this picture?"


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def cases(folder):
    """[(kind, input, expected)]: for captions the list of things, else the answer."""
    found = {"caption": [], "questions": [], "blanked": []}
    for scene in read(folder / "scenes.jsonl"):
        picture, blank = folder / scene["file"], folder / "blank" / f"{Path(scene['file']).stem}.png"
        things = [f"{t['colour']} {t['shape']}" for t in scene["things"]]
        found["caption"].append(("caption", {"image": str(picture), "prompt": PROMPT}, things))
        found["blanked"].append(("blanked", {"image": str(blank), "prompt": PROMPT}, things))
        for q in scene["questions"]:
            found["questions"].append((q["kind"], {"image": str(picture), "prompt": q["prompt"]}, q["answer"]))
    return found["caption"] + found["questions"] + found["blanked"]


def prepare(folder, count, seed):
    if not (folder / "scenes.jsonl").exists():
        held_out.write(folder, count, seed)
    (folder / "blank").mkdir(exist_ok=True)
    for scene in read(folder / "scenes.jsonl"):
        grey = Image.new("RGB", (scene["width"], scene["height"]), (128, 128, 128))
        grey.save(folder / "blank" / f"{Path(scene['file']).stem}.png")
    lines = [json.dumps(i | {"max_tokens": 32}) + "\n" for _, i, _ in cases(folder)]
    (folder / "inputs.jsonl").write_text("".join(lines))
    return len(lines)


def named(text):
    """The (colour, shape) pairs a caption names, as a multiset."""
    return Counter(re.findall(rf"({'|'.join(held_out.PALETTE)}) ({'|'.join(held_out.SHAPES)})", text))


def right(kind, text, expected):
    if kind in ("caption", "blanked"):
        return named(text) == Counter(tuple(t.split()) for t in expected)
    return text.strip().lower().rstrip(".") == expected


def score(folder, descriptions):
    found, wrong = defaultdict(list), []
    listed = cases(folder)
    assert len(listed) == len(descriptions), f"{len(listed)} inputs but {len(descriptions)} outputs"
    for (kind, given, expected), text in zip(listed, descriptions):
        ok = right(kind, text, expected)
        found[kind].append(ok)
        if kind == "caption":
            found[f"caption, {len(expected)} shape{'s' * (len(expected) > 1)}"].append(ok)
        if not ok and kind != "blanked":
            wrong.append({"image": given["image"], "prompt": given["prompt"], "said": text, "expected": expected})
    (folder / "wrong.jsonl").write_text("".join(json.dumps(w) + "\n" for w in wrong))
    for kind, marks in sorted(found.items()):
        print(f"{kind:20} {sum(marks):4} of {len(marks):4}  {100 * sum(marks) / len(marks):5.1f}%")
    return {kind: sum(marks) / len(marks) for kind, marks in found.items()}


def describe(hf, inputs, batch=50):
    """Greedy descriptions by transformers' LlavaForConditionalGeneration in f32."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration

    import model as layout
    from preprocess import to_square_pixels
    from train import normalize

    model = LlavaForConditionalGeneration.from_pretrained(hf, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(Path(hf) / "tokenizer.json"))
    image = tokenizer.token_to_id("<image>")
    pixels = {p: to_square_pixels(Image.open(p).convert("RGB"), layout.IMAGE_SIZE) for p in {i["image"] for i in inputs}}
    by_length = defaultdict(list)
    for n, i in enumerate(inputs):
        ids = []
        for token in tokenizer.encode(layout.PROMPT.format(i["prompt"])).ids:
            ids += [token] * (layout.GRID**2 if token == image else 1)
        by_length[len(ids)].append((n, ids))
    texts = [""] * len(inputs)
    for rows in by_length.values():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            ids = torch.tensor([r for _, r in part])
            x = torch.stack([normalize(pixels[inputs[n]["image"]][None], "cpu")[0] for n, _ in part])
            with torch.no_grad():
                out = model.generate(input_ids=ids, pixel_values=x, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32)
            for (n, _), row in zip(part, out[:, ids.shape[1] :].tolist()):
                texts[n] = tokenizer.decode(row, skip_special_tokens=True).strip()
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["inputs", "torch", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", nargs="?", help="the Hugging Face folder, or the file of outputs")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    if args.command == "inputs":
        print(prepare(args.folder, args.count, args.seed), "inputs")
        return
    if args.other is None:
        parser.error("name the Hugging Face folder or the file of outputs")
    if args.command == "torch":
        texts = describe(args.other, read(args.folder / "inputs.jsonl"))
        (args.folder / "outputs-torch.jsonl").write_text("".join(json.dumps({"description": t}) + "\n" for t in texts))
    else:
        texts = [o["description"] for o in read(args.other)]
    score(args.folder, texts)


if __name__ == "__main__":
    main()
