"""Questions about a photograph and their answers."""

from dataclasses import dataclass

from questions import CAPTION_PROMPTS, DO_NOT_KNOW

A_DRAWING = "a drawing"  # what the model of drawings is asked about then
SORT_PROMPTS = ["What kind of thing is this?", "What sort of thing is this?", "What type of thing is it?"]
THERE_PROMPTS = [
    "Is there {} in this picture?", "Is there {} in the picture?", "Is there {} in this image?", "Is this {}?",
    "Can you see {}?", "Does this picture show {}?", "Do you see {}?",
]  # fmt: skip
OTHER_PROMPTS = [
    "How many things are there?", "How many things are in this picture?", "How many are there?", "How many people are there?",
    "What colour is it?", "What color is it?", "What colour is this?", "What color is the thing?", "Where is this?", "Where is it?",
    "What is happening?", "What is it doing?", "What is the person doing?", "Who is this?", "What does it say?",
    "What is on the left?", "Is it left or right?", "Why?", "Hello!", "When was this?",
]  # fmt: skip


@dataclass
class Known:
    """What may be said of a picture. `caption` None: nothing."""

    caption: str | None
    sort: str | None = None
    there: tuple = ()  # names that are true of it
    absent: tuple = ()  # names of which some are asked for, and are not there


def pick(options, rng):
    return options[rng.integers(len(options))]


def ask_caption(known, rng):
    return pick(CAPTION_PROMPTS, rng), known.caption or DO_NOT_KNOW


def ask_sort(known, rng):
    if known.caption == A_DRAWING:
        return pick(SORT_PROMPTS, rng), A_DRAWING
    return (pick(SORT_PROMPTS, rng), known.sort or DO_NOT_KNOW) if known.sort or not known.caption else None


def ask_there(known, rng):
    yes = known.there and rng.random() < 0.5
    names = known.there if yes else known.absent
    if not names:
        return None
    answer = A_DRAWING if known.caption == A_DRAWING else "yes" if yes else "no"
    return pick(THERE_PROMPTS, rng).format(pick(names, rng)), answer


def ask_else(known, rng):
    """What it is not taught to see: how many there are, in which colour, what happens."""
    return pick(OTHER_PROMPTS, rng), A_DRAWING if known.caption == A_DRAWING else DO_NOT_KNOW


def ask(known, rng, count=2):
    """`count` questions and answers, the first one a caption."""
    found = [ask_caption(known, rng)]
    for _ in range(count - 1):
        kind = rng.random()
        more = ask_sort if kind < 0.3 else ask_there if kind < 0.85 else ask_else
        found.append(more(known, rng) or ask_caption(known, rng))
    return found


def corpus(kinds, names, rng):
    """Texts that the tokenizer is learned from."""
    every = [n.name for n in kinds.exact + kinds.wider + kinds.sorts] + list(names)
    yield from ["USER: ASSISTANT:"] * 300
    yield from [DO_NOT_KNOW, A_DRAWING, "yes", "no"] * 100
    yield from (CAPTION_PROMPTS + SORT_PROMPTS) * 30
    for name in every:
        for _ in range(6):
            yield name
        yield pick(THERE_PROMPTS, rng).format(name)
