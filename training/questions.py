"""Questions about a scene and their answers, in short lower-case text."""

from scenes import COLOURS, COUNTS, SHAPES, in_order

CAPTION_PROMPTS = [
    "What is in this picture?", "What is in this image?", "What is in the picture?", "What is in the image?",
    "What's in this picture?", "What's in this image?", "What is this?", "What is shown here?", "What is shown in this image?",
    "What do you see?", "What do you see in this picture?", "What do you see in this image?", "What can you see?",
    "What does this picture show?", "What does the image show?", "Describe this picture.", "Describe this image.",
    "Describe the picture.", "Describe the image.", "Describe what you see.", "Describe this image in detail.",
    "Describe the image in one sentence.", "Caption this image.", "Write a caption for this picture.",
    "Generate a caption for this image", "Generate a caption for this picture.", "Give a short description of this image.",
    "Provide a one-sentence caption for the provided image.", "Please describe this picture.", "Tell me what is in this picture.",
    "Can you describe this image?", "Name the shapes in this picture.", "List the shapes.", "Which shapes are there?",
]  # fmt: skip
RELATIONS = {
    "left": ["to the left of", "left of"],
    "right": ["to the right of", "right of"],
    "above": ["above", "over"],
    "below": ["below", "under", "beneath"],
}
CLEAR = 0.1  # "left of" and the others are asked about only where the centres differ by this much


def article(words):
    return f"an {words}" if words[0] in "aeio" else f"a {words}"


def name(thing):
    return f"{COLOURS[thing.colour]} {SHAPES[thing.shape]}"


def caption(things):
    names = [article(name(t)) for t in in_order(things)]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _related(a, b, relation):
    """True or False where it is clear whether `a` is left of (right of, above, below) `b`, else None."""
    d = {"left": b.x - a.x, "right": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[relation]
    return d > 0 if abs(d) >= CLEAR else None


def references(thing, things):
    """The phrases that mean this thing and no other in the scene."""
    found = []
    if sum((t.shape, t.colour) == (thing.shape, thing.colour) for t in things) == 1:
        found.append(name(thing))
    if sum(t.shape == thing.shape for t in things) == 1:
        found.append(SHAPES[thing.shape])
    if sum(t.colour == thing.colour for t in things) == 1:
        found += [f"{COLOURS[thing.colour]} thing", f"{COLOURS[thing.colour]} shape"]
    return found


def ask_caption(things, rng):
    return str(rng.choice(CAPTION_PROMPTS)), caption(things)


def ask_colour(things, rng):
    unique = [t for t in things if sum(o.shape == t.shape for o in things) == 1]
    if not unique:
        return None
    t = unique[rng.integers(len(unique))]
    word = "colour" if rng.random() < 0.5 else "color"
    shape = SHAPES[t.shape]
    forms = [f"What {word} is the {shape}?", f"What is the {word} of the {shape}?", f"Which {word} is the {shape}?"]
    return str(rng.choice(forms, p=[0.7, 0.2, 0.1])), COLOURS[t.colour]


def ask_shape(things, rng):
    unique = [t for t in things if sum(o.colour == t.colour for o in things) == 1]
    if not unique:
        return None
    t = unique[rng.integers(len(unique))]
    c = COLOURS[t.colour]
    forms = [f"What shape is the {c} thing?", f"What is the {c} thing?", f"What shape is {c}?", f"Which shape is {c}?"]
    return str(rng.choice(forms, p=[0.6, 0.2, 0.1, 0.1])), SHAPES[t.shape]


def ask_count(things, rng):
    kind = rng.random()
    if kind < 0.4:
        nouns = ["shapes", "things", "objects"]
        return f"How many {rng.choice(nouns)} are there?", COUNTS[len(things)]
    some = things[rng.integers(len(things))]
    if kind < 0.7:
        c = some.colour if rng.random() < 0.7 else int(rng.integers(8))
        noun = rng.choice(["things", "shapes"])
        return f"How many {COLOURS[c]} {noun} are there?", COUNTS[sum(t.colour == c for t in things)]
    s = some.shape if rng.random() < 0.7 else int(rng.integers(5))
    return f"How many {SHAPES[s]}s are there?", COUNTS[sum(t.shape == s for t in things)]


def ask_present(things, rng):
    t = things[rng.integers(len(things))]
    shape, colour = t.shape, t.colour
    if rng.random() < 0.5:  # something that is mostly not there, often half right
        if rng.random() < 0.5:
            shape = int(rng.integers(5))
        else:
            colour = int(rng.integers(8))
    forms = [
        (article(f"{COLOURS[colour]} {SHAPES[shape]}"), any((o.shape, o.colour) == (shape, colour) for o in things)),
        (article(SHAPES[shape]), any(o.shape == shape for o in things)),
        (f"anything {COLOURS[colour]}", any(o.colour == colour for o in things)),
    ]
    words, truth = forms[rng.choice(3, p=[0.6, 0.2, 0.2])]
    return f"Is there {words}?", "yes" if truth else "no"


def ask_where(things, rng):
    """What is left of the star? Only where exactly one thing clearly is and the others clearly are not."""
    t = things[rng.integers(len(things))]
    relation = list(RELATIONS)[rng.integers(4)]
    sides = [(o, _related(o, t, relation)) for o in things if o is not t]
    names = references(t, things)
    there = [o for o, side in sides if side]
    if len(there) != 1 or any(side is None for _, side in sides) or not names:
        return None
    return f"What is {rng.choice(RELATIONS[relation])} the {rng.choice(names)}?", article(name(there[0]))


def ask_whether(things, rng):
    if len(things) < 2:
        return None
    i, j = rng.choice(len(things), 2, replace=False)
    relation = list(RELATIONS)[rng.integers(4)]
    truth = _related(things[i], things[j], relation)
    first, second = references(things[i], things), references(things[j], things)
    if truth is None or not first or not second:
        return None
    phrase = rng.choice(RELATIONS[relation])
    return f"Is the {rng.choice(first)} {phrase} the {rng.choice(second)}?", "yes" if truth else "no"


KINDS = {
    "colour": ask_colour, "shape": ask_shape, "count": ask_count, "present": ask_present,
    "where": ask_where, "whether": ask_whether,
}  # fmt: skip


def _as_typed(question, rng):
    """Now and then a question as people type it: without a capital, without its last sign."""
    if rng.random() < 0.15:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.1:
        question = question.rstrip("?.")
    return question


def ask(things, rng, count):
    """`count` question-answer pairs, the first of them the caption."""
    pairs = [ask_caption(things, rng)]
    kinds = list(KINDS.values())
    while len(pairs) < count:
        pair = kinds[rng.integers(len(kinds))](things, rng)
        if pair is not None:
            pairs.append(pair)
    return [(_as_typed(q, rng), a) for q, a in pairs]
