"""Questions about a picture and their answers. What a picture shows is a list of scenes.Thing."""

from names import CATEGORIES, COLOURS, COUNTS, EMOJI, FIRST_CLOTHES, FIRST_EMOJI, NAMES, SHAPES, UNKNOWN
from scenes import in_order

CAPTION_PROMPTS = [
    "What is in this picture?", "What is in this image?", "What is in the picture?", "What is in the image?",
    "What's in this picture?", "What's in this image?", "What is this?", "What is shown here?",
    "What is shown in this image?",
    "What do you see?", "What do you see in this picture?", "What do you see in this image?", "What can you see?",
    "What does this picture show?", "What does the image show?", "Describe this picture.", "Describe this image.",
    "Describe the picture.", "Describe the image.", "Describe what you see.", "Describe this image in detail.",
    "Describe the image in one sentence.", "Caption this image.", "Write a caption for this picture.",
    "Generate a caption for this image", "Generate a caption for this picture.",
    "Give a short description of this image.",
    "Provide a one-sentence caption for the provided image.", "Please describe this picture.",
    "Tell me what is in this picture.",
    "Can you describe this image?", "What is it?", "What did I draw?", "Name what you see.",
]  # fmt: skip
RELATIONS = {
    "left": ["to the left of", "left of"],
    "right": ["to the right of", "right of"],
    "above": ["above", "over"],
    "below": ["below", "under", "beneath"],
}
CLEAR = 0.1  # "left of" and the others are asked about only where the centres differ by this much
DO_NOT_KNOW = "I don't know what this is."
NOTHING = "nothing"
_PLURAL = {"cross": "crosses"}


def article(words):
    """`words` with "a" or "an" where it is one thing; plurals and stuffs that the lists name go without."""
    bare = {
        "trousers", "grapes", "cherries", "pancakes", "fries", "noodles", "spaghetti", "sushi", "popcorn", "soup",
        "salad", "bread", "cheese", "bacon", "corn", "broccoli", "chocolate", "candy", "milk", "coffee", "wine",
        "beer", "soda", "paw prints", "glasses", "sunglasses", "jeans", "headphones", "money", "scissors",
        "fork and knife", "fire", "bowling", "dice", "ice cream",
    }  # fmt: skip
    if words in bare:
        return words
    return f"an {words}" if words[0] in "aeio" or words == "umbrella" else f"a {words}"


def is_shape(thing):
    return thing.name < FIRST_CLOTHES


def name(thing):
    return f"{COLOURS[thing.colour]} {NAMES[thing.name]}" if thing.colour >= 0 else NAMES[thing.name]


def plural(words):
    return _PLURAL.get(words, words + "s")


def category(thing):
    if is_shape(thing):
        return "shape"
    return "clothing" if thing.name < FIRST_EMOJI else EMOJI[thing.name - FIRST_EMOJI].category


def groups(things):
    """[(thing, how many like it)] in the order of a caption."""
    found = {}
    for t in in_order(things):
        found.setdefault((t.name, t.colour), []).append(t)
    return [(same[0], len(same)) for same in found.values()]


def joined(names):
    """`a, b and c`"""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def caption(things):
    if not things:
        return NOTHING
    if things[0].name == UNKNOWN:
        return DO_NOT_KNOW
    names = [
        article(name(t)) if n == 1 else f"{COUNTS[n]} {COLOURS[t.colour]} {plural(NAMES[t.name])}"
        for t, n in groups(things)
    ]
    return joined(names)


def _related(a, b, relation):
    """True or False where it is clear whether `a` is left of (right of, above, below) `b`, else None."""
    d = {"left": b.x - a.x, "right": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[relation]
    return d > 0 if abs(d) >= CLEAR else None


def references(thing, things):
    """The phrases that mean this thing and no other in the picture."""
    found = []
    if sum((t.name, t.colour) == (thing.name, thing.colour) for t in things) == 1:
        found.append(name(thing))
    if thing.colour >= 0:
        if sum(t.name == thing.name for t in things) == 1:
            found.append(NAMES[thing.name])
        if sum(t.colour == thing.colour for t in things) == 1:
            found += [f"{COLOURS[thing.colour]} thing", f"{COLOURS[thing.colour]} shape"]
    return found


def _pick(items, rng, p=None):
    return items[int(rng.choice(len(items), p=p))]


def ask_caption(things, rng):
    return _pick(CAPTION_PROMPTS, rng), caption(things)


def ask_colour(things, rng):
    unique = [t for t in things if t.colour >= 0 and sum(o.name == t.name for o in things) == 1]
    if not unique:
        return None
    t = _pick(unique, rng)
    word = "colour" if rng.random() < 0.5 else "color"
    shape = "shape" if len(things) == 1 and rng.random() < 0.3 else NAMES[t.name]
    forms = [f"What {word} is the {shape}?", f"What is the {word} of the {shape}?", f"Which {word} is the {shape}?"]
    return _pick(forms, rng, [0.6, 0.3, 0.1]), COLOURS[t.colour]


def ask_shape(things, rng):
    unique = [t for t in things if t.colour >= 0 and sum(o.colour == t.colour for o in things) == 1]
    if not unique:
        return None
    t = _pick(unique, rng)
    c = COLOURS[t.colour]
    forms = [
        f"What shape is the {c} thing?",
        f"What is the {c} thing?",
        f"What shape is {c}?",
        f"What is the {c} shape?",
    ]
    if len(things) == 1:
        forms += ["What shape is this?", "What shape is in the image?"]
    return _pick(forms, rng), NAMES[t.name]


def ask_count(things, rng):
    kind = rng.random()
    if kind < 0.4 or not all(map(is_shape, things)) or not things:
        nouns = ["shapes", "things", "objects"] if all(map(is_shape, things)) else ["things", "objects"]
        return f"How many {_pick(nouns, rng)} are there?", COUNTS[len(things)]
    some = _pick(things, rng)
    if kind < 0.6:
        c = some.colour if rng.random() < 0.75 else int(rng.integers(len(COLOURS)))
        noun = _pick(["things", "shapes"], rng)
        return f"How many {COLOURS[c]} {noun} are there?", COUNTS[sum(t.colour == c for t in things)]
    s = some.name if rng.random() < 0.75 else int(rng.integers(len(SHAPES)))
    if kind < 0.75:
        words = f"{COLOURS[some.colour]} {plural(SHAPES[s])}"
        return f"How many {words} are there?", COUNTS[sum((t.name, t.colour) == (s, some.colour) for t in things)]
    return f"How many {plural(SHAPES[s])} are there?", COUNTS[sum(t.name == s for t in things)]


def ask_present(things, rng):
    shapes = [t for t in things if is_shape(t)]
    if shapes or not things:
        t = _pick(shapes, rng) if shapes else None
        shape, colour = (t.name, t.colour) if t else (int(rng.integers(len(SHAPES))), int(rng.integers(len(COLOURS))))
        if rng.random() < 0.5:  # something that is mostly not there, often half right
            if rng.random() < 0.5:
                shape = int(rng.integers(len(SHAPES)))
            else:
                colour = int(rng.integers(len(COLOURS)))
        forms = [
            (article(f"{COLOURS[colour]} {SHAPES[shape]}"), any((o.name, o.colour) == (shape, colour) for o in things)),
            (article(SHAPES[shape]), any(o.name == shape for o in things)),
            (f"anything {COLOURS[colour]}", any(o.colour == colour for o in things)),
            (article(f"{COLOURS[colour]} shape"), any(o.colour == colour for o in things)),
        ]
        words, truth = _pick(forms, rng, [0.5, 0.2, 0.15, 0.15])
    else:
        of_kind = range(FIRST_CLOTHES, FIRST_EMOJI) if things[0].name < FIRST_EMOJI else range(FIRST_EMOJI, UNKNOWN)
        asked = _pick(things, rng).name if rng.random() < 0.5 else int(rng.choice(of_kind))
        words, truth = article(NAMES[asked]), any(o.name == asked for o in things)
    return (
        f"Is there {words}{_pick(['', ' in the image', ' in this picture'], rng, [0.7, 0.15, 0.15])}?",
        "yes" if truth else "no",
    )


def ask_where(things, rng):
    """What is left of the star? Only where exactly one thing clearly is and the others clearly are not."""
    t = _pick(things, rng)
    relation = _pick(list(RELATIONS), rng)
    sides = [(o, _related(o, t, relation)) for o in things if o is not t]
    names = references(t, things)
    there = [o for o, side in sides if side]
    if len(there) != 1 or any(side is None for _, side in sides) or not names:
        return None
    return f"What is {_pick(RELATIONS[relation], rng)} the {_pick(names, rng)}?", article(name(there[0]))


def _two(things, rng):
    """Two things, each with a phrase that means it and no other; None where there are none."""
    if len(things) < 2:
        return None
    pair = [things[i] for i in rng.choice(len(things), 2, replace=False)]
    names = [references(t, things) for t in pair]
    return (*pair, *(_pick(n, rng) for n in names)) if all(names) else None


def ask_whether(things, rng):
    """Is the star left of the heart?"""
    two = _two(things, rng)
    if two is None:
        return None
    a, b, first, second = two
    relation = _pick(list(RELATIONS), rng)
    truth = _related(a, b, relation)
    if truth is None:
        return None
    return f"Is the {first} {_pick(RELATIONS[relation], rng)} the {second}?", "yes" if truth else "no"


def ask_side(things, rng):
    """Is the star left or right of the heart? Half of the time in the other order."""
    two = _two(things, rng)
    if two is None:
        return None
    a, b, first, second = two
    one, other = _pick([("left", "right"), ("above", "below")], rng)
    truth = _related(a, b, one)
    if truth is None:
        return None
    words = [one, other] if rng.random() < 0.5 else [other, one]
    of = "of " if one == "left" else ""
    return f"Is the {first} {words[0]} or {words[1]} {of}the {second}?", one if truth else other


def ask_category(things, rng):
    kinds = {category(t) for t in things}
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if rng.random() < 0.5:
        return _pick(["What kind of thing is this?", "What kind of thing is shown?"], rng), kind
    asked = kind if rng.random() < 0.5 else _pick([*CATEGORIES, "shape", "clothing"], rng)
    words = asked if asked in ("clothing", "food") else article(asked)
    return f"Is this {words}?", "yes" if asked == kind else "no"


def ask_which(things, rng):
    """Which animal is this?"""
    if len(things) != 1 or things[0].name < FIRST_EMOJI:
        return None
    return _pick(["What {} is this?", "Which {} is this?", "Name this {}."], rng).format(category(things[0])), article(
        name(things[0])
    )


def ask_filled(things, rng):
    unique = [t for t in things if is_shape(t) and references(t, things)]
    if not unique:
        return None
    t = _pick(unique, rng)
    return f"Is the {_pick(references(t, things), rng)} filled?", "yes" if t.filled else "no"


# Often what is learned last: which thing a question means, and yes or no.
OF_SHAPES = [ask_colour] * 3 + [ask_count] * 3 + [ask_where] * 4 + [ask_whether] * 4 + [ask_side] * 2
OF_SHAPES += [ask_shape, ask_present, ask_filled]
OF_OTHERS = [ask_count, ask_present, ask_present, ask_where, ask_whether, ask_side, ask_category, ask_which]
OF_OTHERS += [ask_caption]
OF_NOTHING = [ask_count, ask_present, ask_caption]
OF_UNKNOWN = [
    "What colour is it?",
    "How many things are there?",
    "What kind of thing is this?",
    "What shape is this?",
    "What animal is this?",
]


def as_typed(question, rng):
    """Now and then a question as people type it: without a capital, without its last sign."""
    if rng.random() < 0.15:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.1:
        question = question.rstrip("?.")
    return question


def ask(things, rng, count):
    """`count` question-answer pairs; the first is mostly the caption."""
    pairs = [ask_caption(things, rng)] if len(things) < 2 or rng.random() < 0.8 else []
    if things and things[0].name == UNKNOWN:
        pairs += [(_pick(OF_UNKNOWN, rng), DO_NOT_KNOW) for _ in range(count - 1)]
    else:
        kinds = OF_NOTHING if not things else OF_SHAPES if is_shape(things[0]) else OF_OTHERS
        while len(pairs) < count:
            pair = _pick(kinds, rng)(things, rng)
            if pair is not None:
                pairs.append(pair)
    return [(as_typed(q, rng), a) for q, a in pairs]
