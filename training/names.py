"""What the model has words for: colours, shapes, clothes and emoji, as one list of names that a thing's `name`
indexes."""

from dataclasses import dataclass
from pathlib import Path

COLOURS = ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "white", "gray"]
SHAPES = ["circle", "oval", "square", "rectangle", "triangle", "diamond", "star", "heart", "cross", "moon"]
CLOTHES = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
COUNTS = ["zero", "one", "two", "three", "four", "five"]


@dataclass
class Emoji:
    name: str
    category: str
    emoji: list
    synonyms: list


def codes_of(emoji):
    """Code points in hexadecimal, joined by `-`, without the variation selector."""
    return "-".join(f"{ord(c):x}" for c in emoji if c != "\ufe0f")


def _clusters(text):
    """The emoji of a string: joiners and variation selectors stay with what they join."""
    found = []
    for c in text:
        if found and (c in "\ufe0f\u200d" or found[-1].endswith("\u200d")):
            found[-1] += c
        else:
            found.append(c)
    return found


def _read(path):
    category, found = None, []
    for line in path.read_text().splitlines():
        if line.startswith("["):
            category = line.strip("[]")
        elif line and not line.startswith("#"):
            name, emoji, synonyms = (part.strip() for part in line.split("|"))
            found.append(Emoji(name, category, _clusters(emoji), [s.strip() for s in synonyms.split(",") if s.strip()]))
    return found


EMOJI = _read(Path(__file__).with_name("emoji.txt"))
CATEGORIES = sorted({e.category for e in EMOJI})
NAMES = SHAPES + CLOTHES + [e.name for e in EMOJI]
UNKNOWN = len(NAMES)  # the name of what the model must say it does not know
FIRST_CLOTHES, FIRST_EMOJI = len(SHAPES), len(SHAPES) + len(CLOTHES)
