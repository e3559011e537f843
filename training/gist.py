"""The short caption within a person's description of a picture: what is in it, in the words the model has."""

import re

COUNTED = r"(?:people|persons|men|women|children|boys|girls|students|soldiers|workers|adults|players|kids|friends|teens)"
MANY = r"(?:a (?:large |small )?group of|a crowd of|groups of|crowds of|several|many|three|four|five|six|dozens of|hundreds of|rows of|some|various)"
MAN = r"(?:man|boy|father|king|president|soldier|businessman|farmer|officer|male|monk|priest|sailor)"
WOMAN = r"(?:woman|girl|lady|mother|queen|female|nurse|bride|actress)"
PERSON = r"(?:person|child|baby|infant|toddler|student|worker|scientist|doctor|athlete|player|dancer|skater|figure skater|runner|swimmer|diver|astronaut|individual|teacher|patient|baseball player|adult|hand|face|bartender|cyclist|skier|surfer)"
WORDS = r"(?:[\w'’,-]+ ){0,3}?"
# In order of preference: a pattern, found in the first sentence in lower case, and the caption.
PATTERNS = [
    (r"\b(?:diagram|graph|chart|map|schematic|figure [a-d]|arrows?|labeled|axis|vector|circuit|equation|flowchart|logo|table)\b", "a diagram"),
    (r"\bmicrograph|magnified|microscop\w+ (?:image|view)", "a micrograph"),
    (r"\b(?:painting|mural|engraving|drawing|woodcut|cartoon|illustration|poster|lithograph|watercolor|sketch)\b", "a painting"),
    (rf"\b(?:{MANY} {WORDS}{COUNTED}|crowd|people|families|men and women|soldiers|audience|{COUNTED})\b(?<!two people)(?<!two men)(?<!two women)(?<!two children)", "a group of people"),
    (rf"\btwo {WORDS}{COUNTED}\b|\ba {WORDS}{MAN} and an? {WORDS}(?:{WOMAN}|{PERSON})|\ba couple\b|\b{WOMAN} and an? {WORDS}(?:{MAN}|{PERSON})", "two people"),
    (rf"\ban? {WORDS}{WOMAN}\b", "a woman"),
    (rf"\ban? {WORDS}{MAN}\b|\bportrait of\b", "a man"),
    (rf"\b{PERSON}s?\b", "a person"),
    (r"\bskyline|skyscraper|city\b|downtown", "a city"),
    (r"\bstreet|road|highway|traffic|sidewalk", "a street"),
    (r"\b(?:room|office|classroom|kitchen|hospital ward|bedroom|hallway|library|laborator\w+)\b", "a room"),
    (r"\b(?:building|house|mansion|church|temple|cathedral|courthouse|restaurant|store|dwellings?|stadium|castle)s?\b", "a building"),
    (r"\b(?:mountains?|glacier|canyon|cliff|volcano|peaks?)\b", "mountains"),
    (r"\b(?:beach|coast|shore)\b", "a beach"),
    (r"\b(?:sea|ocean|lake|river|waterfall|stream|waves?)\b", "water"),
    (r"\b(?:galaxy|nebula|telescope image|comet|planet|stars)\b", "space"),
    (r"\bforest|rainforest|woods\b", "a forest"),
    (r"\b(?:field|plain|desert|grassland|prairie|savanna|tundra|landscape)\b", "a landscape"),
    (r"\bflowers?\b|\bblossoms?\b|\bpetals\b", "a flower"),
    (r"\b(?:plate|bowl|variety) of\b.*\b(?:food|foods|vegetables|fruit|nuts|meat|rice)|\bfoods?\b", "a plate of food"),
    (r"\btrees?\b", "a tree"),
    (r"\b(?:plant|leaf|leaves|shrub|fern|moss|cactus|cacti|weed|grass)\b", "a plant"),
    (r"\bmushrooms?|fung(?:us|i)\b", "a fungus"),
    (r"\bbirds?\b", "a bird"), (r"\bfish\b", "a fish"), (r"\bbutterfl", "a butterfly"), (r"\bspider\b", "a spider"),
    (r"\b(?:insect|fly|flies|ants|bee|wasp|mosquito)s?\b", "an insect"), (r"\bsnake\b", "a snake"),
    (r"\blizard|gecko", "a lizard"), (r"\bfrog|toad", "a frog"), (r"\bmonkeys?\b", "a monkey"), (r"\bdogs?\b", "a dog"),
    (r"\bhorses?\b", "a horse"), (r"\bcars?\b", "a car"), (r"\btrains?\b", "a train"), (r"\bships?\b", "a ship"),
    (r"\b(?:air)?planes?\b", "an airliner"),
]  # fmt: skip
PATTERNS = [(re.compile(pattern), caption) for pattern, caption in PATTERNS]
CAPTIONS = sorted({caption for _, caption in PATTERNS})


def gist(description):
    """A caption, or "" where none of the words is there."""
    first = re.split(r"(?<=[.;])\s", description.strip(), maxsplit=1)[0].lower()
    return next((caption for pattern, caption in PATTERNS if pattern.search(first)), "")
