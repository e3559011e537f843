"""Score a model on the held-out sets.

    evaluate.py inputs SET CACHE      draw the pictures and write SET/cases.jsonl and SET/inputs.jsonl, one input
    object a line
    evaluate.py torch SET MODEL       answer them with transformers, in f32: SET/outputs-torch.jsonl, then score; MODEL
                                      is a Hugging Face folder or a bundle
    evaluate.py score SET OUTPUTS     score the outputs of any engine: {"description"} a line, in the order of
    inputs.jsonl

CACHE is what fetch.py left. `--share 0.1` takes a tenth of the pictures, for slow engines. Beside each score stand two
controls, answered by the same model: every picture blanked (plain grey), and the same prompts with another picture of
the set.
A picture and prompt that several rows need is asked once.
"""

import argparse
import itertools
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

import held_out
import questions
from collage import crop
from names import CLOTHES, EMOJI

PROMPT = "What is in this picture?"
REFUSAL = re.compile(r"\b(don't|do not) know\b")
# Set and kind of question, in the table's order, and the share that is wanted of it ("refused": at most).
GOALS = {
    ("scenes", "caption"): 0.95, ("scenes", "drawn by hand"): 0.5, ("scenes", "colour"): None,
    ("scenes", "shape"): None,
    ("scenes", "filled"): None, ("scenes", "count"): 0.9, ("scenes", "count one kind"): 0.9,
    ("scenes", "relation, which"): 0.9, ("scenes", "relation, yes or no"): 0.9,
    ("scenes", "relation, one of two"): None,
    ("emoji", "name"): 0.6, ("emoji", "two"): None, ("emoji", "three"): None, ("emoji", "kind"): None,
    ("clothes", "name"): 0.85, ("easy-VQA", "yes or no"): None, ("easy-VQA", "others"): 0.9, ("easy-VQA", "all"): 0.95,
    ("photographs", "does not know"): 0.8,
}  # fmt: skip


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- the sets --------------------------------------------------------------------------------------------------------


class Sets:
    """Draws pictures into a folder and gathers {"set", "kind", "image", "prompt", "expected"}."""

    def __init__(self, folder, cache, share, seed):
        self.folder, self.cache, self.share, self.seed, self.cases = folder, cache, share, seed, []

    def amount(self, whole):
        return max(1, round(whole * self.share))

    def rng(self, name):
        return random.Random(f"{self.seed} {name}")

    def save(self, image, name, n):
        path = self.folder / "pictures" / f"{name}-{n:04d}.{'jpg' if n % 2 and min(image.size) > 32 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"quality": 85} if path.suffix == ".jpg" else {}))
        return str(path)

    def add(self, which, kind, image, prompt, expected, **more):
        case = {"set": which, "kind": kind, "image": image, "prompt": prompt, "expected": expected}
        self.cases.append(case | more)

    def scenes(self):
        rng = self.rng("scenes")
        for n in range(self.amount(300)):
            image, things = held_out.scene(rng)
            path = self.save(image, "scene", n)
            self.add("scenes", "caption", path, PROMPT, [f"{t['colour']} {t['shape']}" for t in things])
            scene = {"things": things, "width": image.width, "height": image.height}
            for q in held_out.questions(random.Random(f"{self.seed}-{n}"), scene):
                self.add("scenes", q["kind"], path, q["prompt"], q["answer"])
        for n in range(self.amount(100)):
            image, things = held_out.drawing(rng)
            path = self.save(image, "drawing", n)
            self.add("scenes", "drawn by hand", path, PROMPT, [f"{t['colour']} {t['shape']}" for t in things])

    def emoji(self):
        rng = self.rng("emoji")
        with np.load(self.cache / "sprites-twitter.npz") as data:
            pixels, names = data["pixels"], data["name"]
        kinds = [n for n, e in enumerate(EMOJI)]
        for n, name in enumerate(rng.sample(kinds, self.amount(len(kinds)))):
            image, _ = held_out.emoji(rng, [pixels[rng.choice(np.flatnonzero(names == name))]])
            path = self.save(image, "emoji", n)
            self.add("emoji", "name", path, PROMPT, [EMOJI[name].name])
            if n % 3 == 0:
                self.add("emoji", "kind", path, "What kind of thing is this?", EMOJI[name].category)
        for count, kind in ((2, "two"), (3, "three")):
            for n in range(self.amount(80)):
                chosen = rng.sample(kinds, count)
                image, _ = held_out.emoji(rng, [pixels[rng.choice(np.flatnonzero(names == name))] for name in chosen])
                self.add("emoji", kind, self.save(image, kind, n), PROMPT, [EMOJI[name].name for name in chosen])

    def clothes(self):
        rng = self.rng("clothes")
        with np.load(self.cache / "fashion.npz") as data:
            pixels, labels = data["test"], data["test_labels"]
        for n in rng.sample(range(len(pixels)), self.amount(500)):
            path = self.save(Image.fromarray(pixels[n]), "clothes", n)
            self.add("clothes", "name", path, PROMPT, [CLOTHES[labels[n]]])

    def easy_vqa(self):
        rng = self.rng("easy-VQA")
        with np.load(self.cache / "easy-vqa.npz") as data:
            pixels, questions = data["test"], json.loads(str(data["test_questions"]))
        for question, answer, n in rng.sample(questions, self.amount(500)):
            kind = "yes or no" if answer in ("yes", "no") else "others"
            self.add("easy-VQA", kind, self.save(Image.fromarray(pixels[n]), "vqa", 2 * n), question, answer)

    def photographs(self):
        rng = np.random.default_rng(self.seed)
        files = sorted((self.cache / "photos" / "test").glob("*.jpg"))
        for n in range(self.amount(100)):
            source = files[n % len(files)]
            photo = Image.open(source).convert("RGB")
            if n >= len(files):  # after each whole photograph, parts of them
                photo = crop(photo, *held_out.size(random.Random(n), 96), rng)
            path = self.save(photo, "photo", n)
            self.add("photographs", "does not know", path, PROMPT, None, source=source.stem)


def asked(case, image=None):
    return image or case["image"], case["prompt"]


def prepare(folder, cache, share, seed):
    """Write the pictures, cases.jsonl with the picture that stands in for the shuffled control, and inputs.jsonl."""
    sets = Sets(folder, cache, share, seed)
    for draw in (sets.scenes, sets.emoji, sets.clothes, sets.easy_vqa, sets.photographs):
        draw()
    blank = sets.save(Image.new("RGB", (128, 128), (128, 128, 128)), "blank", 0)
    of_kind = defaultdict(list)
    for case in sets.cases:
        of_kind[case["set"], case["kind"]].append(case)
    for (which, _), cases in of_kind.items():
        half = len(cases) // 2
        # Every photograph is one that it should not know: there another set's pictures stand in.
        others = of_kind["emoji", "name"] if which == "photographs" else cases[half:] + cases[:half]
        for case, other in zip(cases, others):
            case["shuffled"], case["blank"] = other["image"], blank
    write(folder / "cases.jsonl", sets.cases)
    inputs = dict.fromkeys(
        asked(case, case[picture]) for picture in ("image", "blank", "shuffled") for case in sets.cases
    )
    write(folder / "inputs.jsonl", [{"image": image, "prompt": prompt, "max_tokens": 40} for image, prompt in inputs])
    return len(sets.cases), len(inputs)


# --- the scores ------------------------------------------------------------------------------------------------------

_ARTICLE = re.compile(r"^(?:a|an|the) ")
ACCEPTED = {e.name: {e.name, *e.synonyms} for e in EMOJI}
_WITH_AND = {words for accepted in ACCEPTED.values() for words in accepted if " and " in words}


def plain(text):
    """An answer in lower case, without its last full stop."""
    return text.strip().lower().rstrip(".")


def names(text):
    """The things a caption lists, without articles. "and" joins two things, except inside a name ("fork and knife")."""
    text = plain(text)
    for words in _WITH_AND:
        text = text.replace(words, words.replace(" and ", "&"))
    return [_ARTICLE.sub("", part.strip()).replace("&", " and ") for part in re.split(", | and ", text)]


def coloured_shapes(text):
    """The coloured shapes a caption names, as a multiset of "colour shape"."""
    found = Counter()
    counts, colours, shapes = ("|".join(words) for words in (held_out.COUNTS[2:], held_out.PALETTE, held_out.SHAPES))
    pattern = rf"\b(?:({counts}) )?({colours}) ({shapes})(?:e?s)?\b"
    for count, colour, shape in re.findall(pattern, text.replace("grey", "gray")):
        found[f"{colour} {shape}"] += held_out.COUNTS.index(count) if count else 1
    return found


def names_right(text, expected):
    """True where the caption lists exactly these names, each by a word that counts, in any order."""
    said = names(text)
    if len(said) != len(expected):
        return False
    for name in expected:
        match = next((s for s in said if s in ACCEPTED.get(name, {name.lower()})), None)
        if match is None:
            return False
        said.remove(match)
    return True


def right(case, text):
    which, kind, expected = case["set"], case["kind"], case["expected"]
    if which == "photographs":
        return bool(REFUSAL.search(text))
    if which == "scenes" and kind in ("caption", "drawn by hand"):
        return coloured_shapes(text) == Counter(expected)
    if isinstance(expected, list):
        return names_right(text, expected)
    return plain(text).replace("grey", "gray") == expected


def accepted(case):
    """The whole answers that count as right, in lower case and without the last sign. Of a caption, its things in any
    order; names with "and" in them aside, these are all that `right` takes, but for other articles."""
    expected = case["expected"]
    if expected is None:
        return [plain(questions.DO_NOT_KNOW)]
    if isinstance(expected, str):
        return [expected]
    things = Counter(expected)
    several = lambda name, n: f"{held_out.COUNTS[n]} {questions.plural(name)}"
    others = lambda name: sorted(ACCEPTED.get(name, {name}) - {name})
    words = [
        [several(name, n)] if n > 1 else [questions.article(w) for w in [name, *others(name)]]
        for name, n in things.items()
    ]
    orders = itertools.permutations(words)
    return [questions.joined(names).lower() for order in orders for names in itertools.product(*order)]


def score(folder, descriptions):
    inputs, cases = read(folder / "inputs.jsonl"), read(folder / "cases.jsonl")
    if len(inputs) != len(descriptions):
        raise SystemExit(
            f"{len(inputs)} inputs but {len(descriptions)} outputs: they must be of {folder}/inputs.jsonl, in order"
        )
    said = {(i["image"], i["prompt"]): text for i, text in zip(inputs, descriptions)}
    marks, wrong, refused = defaultdict(list), [], []
    for case in cases:
        row = [right(case, said[case[picture], case["prompt"]]) for picture in ("image", "blank", "shuffled")]
        marks[case["set"], case["kind"]].append(row)
        if case["set"] == "easy-VQA":
            marks["easy-VQA", "all"].append(row)
        text = said[asked(case)]
        if case["set"] != "photographs":
            refused.append(bool(REFUSAL.search(text)))
        if not row[0]:
            wrong.append({k: case[k] for k in ("set", "kind", "image", "prompt", "expected")} | {"said": text})
    write(folder / "wrong.jsonl", wrong)
    print("| set | question | right | of | score | blanked | shuffled | goal |\n|---|---|--:|--:|--:|--:|--:|--:|")
    scores = {}
    for (which, kind), goal in GOALS.items():
        rows = marks[which, kind]
        if not rows:
            continue
        share, blank, shuffled = (100 * np.mean(column) for column in zip(*rows))
        scores[f"{which}, {kind}"] = round(share, 1)
        wanted = f"{100 * goal:.0f}" if goal else ""
        print(
            f"| {which} | {kind} | {sum(r[0] for r in rows)} | {len(rows)} "
            f"| {share:.1f} | {blank:.1f} | {shuffled:.1f} | {wanted} |"
        )
    share = 100 * np.mean(refused)
    scores["inside, does not know"] = round(share, 1)
    print(
        f"| all but photographs | says it does not know | {sum(refused)} | {len(refused)} "
        f"| {share:.1f} | | | at most 5 |"
    )
    return scores


def describe(hf, inputs, batch=64):
    """Greedy descriptions by transformers' LlavaForConditionalGeneration in f32, of a folder or a bundle."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration

    import model as layout
    from bundle import Bundle
    from preprocess import to_square_pixels

    if (Path(hf) / "manifest.json").exists():
        found = Bundle(hf)
        model, tokenizer = found.model(), found.tokenizer
    else:
        model = LlavaForConditionalGeneration.from_pretrained(hf, dtype=torch.float32)
        tokenizer = Tokenizer.from_file(str(Path(hf) / "tokenizer.json"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).eval()
    image = tokenizer.token_to_id("<image>")
    pixels = {
        p: to_square_pixels(Image.open(p).convert("RGB"), layout.IMAGE_SIZE) for p in {i["image"] for i in inputs}
    }
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
            ids = torch.tensor([r for _, r in part], device=device)
            x = layout.normalize(np.stack([pixels[inputs[n]["image"]] for n, _ in part]), device)
            with torch.no_grad():
                out = model.generate(
                    input_ids=ids,
                    pixel_values=x,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    max_new_tokens=40,
                )
            for (n, _), row in zip(part, out[:, ids.shape[1] :].tolist()):
                texts[n] = tokenizer.decode(row, skip_special_tokens=True).strip()
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["inputs", "torch", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "other", type=Path, help="the cache of fetch.py, the model, or the file of outputs"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the pictures of each set (inputs)")
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    if args.command == "inputs":
        print("{} cases, {} inputs".format(*prepare(args.folder, args.other, args.share, args.seed)))
        return
    if args.command == "torch":
        texts = describe(args.other, read(args.folder / "inputs.jsonl"))
        write(args.folder / "outputs-torch.jsonl", [{"description": t} for t in texts])
    else:
        texts = [o["description"] for o in read(args.other)]
    scores = score(args.folder, texts)
    (args.folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
