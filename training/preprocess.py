"""What the image processor does to a picture: pad to a square with the mean colour, resize bicubically, normalize."""

import numpy as np
from PIL import Image

# OpenAI CLIP's
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BACKGROUND = tuple(int(255 * m) for m in MEAN)  # LLaVA's expand2square


def to_square_pixels(image, size):
    """RGB pixels (size, size, 3) u8 of a Pillow image."""
    width, height = image.size
    side = max(width, height)
    if width != height:
        square = Image.new("RGB", (side, side), BACKGROUND)
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        image = square
    return np.asarray(image.resize((size, size), Image.BICUBIC))
