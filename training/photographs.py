"""The licensed photographs: what is in them and which answers count as right."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from kinds import HERE, Kinds, bare, listed


@dataclass
class Photograph:
    file: str  # train/... or val/...
    set: str
    label: str = ""  # as the set calls it
    name: str = ""  # as it is said
    right: frozenset = frozenset()  # words that name it, without articles
    wider: frozenset = frozenset()  # words that name it loosely
    kinds: frozenset = frozenset()  # ImageNet's within it, whose words are among `right`
    description: str = ""

    def judge(self, said):
        """What an answer that names one thing is of a labelled photograph: "right", "wider" or "wrong"."""
        words = bare(said)
        return "right" if words in self.right else "wider" if words in self.wider else "wrong"


def labels():
    """{(set, label): (name, other words, wider words)} of labels.txt."""
    found, which = {}, None
    for line in (HERE / "labels.txt").read_text().splitlines():
        if line.startswith("["):
            which = line.strip("[]")
        elif line and not line.startswith("#"):
            label, name, right, wider = (part.strip() for part in line.split("|"))
            found[which, label] = name, listed(right), listed(wider)
    return found


def load(folder, cache, split):
    """The photographs of a split, in the order of index.jsonl."""
    named, kinds, found = labels(), Kinds.load(cache), []
    for line in (Path(folder) / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
        if not row["file"].startswith(split + "/"):
            continue
        photo = Photograph(row["file"], row["set"], row.get("label", ""), description=row.get("description", ""))
        if photo.set == "cooking":
            photo.name, right, wider = "a plate of food", [photo.label, "food", "a dish", "a bowl of food"], []
        elif photo.label:
            photo.name, right, wider = named[photo.set, row.get("kind", photo.label)]
        if photo.label:
            words = {bare(w) for w in (photo.name, *right)}
            of = lambda names, said: {k for n in names if said(n) in words for k in n.kinds}
            photo.kinds = frozenset(of(kinds.wider, lambda n: bare(n.name)))
            photo.kinds |= {k for n in kinds.exact if n.words & words for k in n.kinds}
            below = [n for n in kinds.exact + kinds.wider if n.kinds <= photo.kinds]
            photo.right = frozenset(words.union(*(n.words for n in below)))
            above = [n for n in kinds.wider if photo.kinds and n.kinds > photo.kinds]
            photo.wider = frozenset({bare(w) for w in wider}.union(*(n.words for n in above)) - photo.right)
        found.append(photo)
    return found


def pictures(folder, split):
    """(file, bytes) of a split's tar files."""
    for path in sorted(Path(folder).glob(f"{split}-*.tar")):
        with tarfile.open(path) as files:
            for member in files:
                if member.isfile():
                    yield member.name, files.extractfile(member).read()
