"""The credits that photographs' licences ask for, as a text that lies beside the model.

    credits.py PHOTOS > CREDITS.md
"""

import json
import re
import sys
from pathlib import Path


def credit(row):
    """Of a textbook's picture: who is credited; nothing where the book names nobody."""
    found = re.search(r"\(((?:photo )?(?:courtesy|credit|attribution|work)\b.*)\)", row["credit"], re.IGNORECASE)
    return found[1].strip() if found else row["credit"] if "credit" in row["credit"] else ""


def main(photos):
    rows = [json.loads(line) for line in (Path(photos) / "index.jsonl").read_text().splitlines()]
    of = lambda which: sorted(
        (r for r in rows if r["set"] == which and r["file"].startswith("train/")), key=lambda r: r["source"]
    )
    name = lambda row: row["source"].rsplit("/", 1)[1]
    flowers = [name(r).split("_")[0] for r in of("flowers")]
    vehicles = [name(r).split("_")[0].split(".")[0] for r in of("vehicles")]
    print("# The photographs that llava-photos was trained on\n")
    print("Caltech-101: Fei-Fei Li, Marco Andreetto, Marc'Aurelio Ranzato, Pietro Perona; CaltechDATA; CC BY 4.0.\n")
    print("Clothes: Alexey Grigorev and contributors; CC0 1.0. Groceries: Marcus Klasson; MIT. Dishes: based.cooking; public domain.\n")
    print("All were brought to 240 pixels on the shorter side.\n")
    print("## Flowers, CC BY 2.0\n\nBy their photographers on Flickr; the photograph N is at https://flickr.com/photo.gne?id=N\n")
    print(", ".join(flowers))
    print("\n## Vehicles, CC BY 2.0\n\nOf Open Images, which lists their photographers by these numbers:\n")
    print(", ".join(vehicles))
    print("\n## Textbooks, CC BY 3.0\n\nOpenStax, editions of 2014: the book, the picture, and its credit as printed there.\n")
    for row in of("textbooks"):
        book = row["source"].split(":")[0].rsplit("/", 1)[1]
        print(f"- {book}, {name(row)}" + (f": {credit(row)}" if credit(row) else ""))


if __name__ == "__main__":
    main(sys.argv[1])
