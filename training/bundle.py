"""Reads a bundle back as transformers' model: to go on training it, and to score what quantization left of it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from model import build

BLOCK = 32  # neighbouring columns that share one scale, see src/quant.rs
# From the manifest's names, which are those of published checkpoints, to those of transformers 5.
PREFIXES = {
    "vision_tower.vision_model.": "model.vision_tower.",
    "multi_modal_projector.": "model.multi_modal_projector.",
    "language_model.model.": "model.language_model.",
    "language_model.lm_head.": "lm_head.",
}


class Bundle:
    """Reads manifest.json and the chunks, and checks these against their hashes."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(self.folder / self.manifest["tokenizer"]["file"]))
        self.chunks = []
        for chunk in self.manifest["chunks"]:
            content = (self.folder / chunk["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != chunk["sha256"]:
                raise SystemExit(f"{chunk['file']} is not what {self.folder}/manifest.json says")
            self.chunks.append(content)

    @property
    def sizes(self):
        """Width and layers of the vision tower, then of the decoder."""
        config = self.manifest["config"]
        parts = config["vision_config"], config["text_config"]
        return [[part["hidden_size"], part["num_hidden_layers"]] for part in parts]

    def weights(self):
        """{name: f32 array}, quantized ones dequantized."""
        found = {}
        for tensor in self.manifest["tensors"]:
            prefix = next(p for p in PREFIXES if tensor["name"].startswith(p))
            spans = (self.chunks[s["chunk"]][s["offset"] : s["offset"] + s["bytes"]] for s in tensor["spans"])
            found[tensor["name"].replace(prefix, PREFIXES[prefix])] = dequantize(
                tensor["dtype"], tensor["shape"], b"".join(spans)
            )
        return found

    def model(self):
        """transformers' model, in f32."""
        model = build(*self.sizes, self.tokenizer)
        weights, found = model.state_dict(), self.weights()
        for name, array in found.items():
            weights[name] = torch.from_numpy(array).view(weights[name].shape)
        model.load_state_dict(weights)
        # What LLaVA never uses is not in a bundle.
        left = [name for name in weights.keys() - found.keys() if "post_layernorm" not in name]
        assert not left, left
        return model


def dequantize(dtype, shape, content):
    """`[rows, cols]` f32 of a tensor's bytes: all quants, then all scales, then padding."""
    count = int(np.prod(shape))
    if dtype in ("f32", "f16"):
        plain = np.frombuffer(content, {"f32": "<f4", "f16": "<f2"}[dtype], count)
        return plain.astype(np.float32).reshape(shape)
    blocks = count // BLOCK
    if dtype == "q8":
        quants = np.frombuffer(content, np.int8, count).reshape(blocks, BLOCK)
        scales = np.frombuffer(content, "<f2", blocks, offset=count).astype(np.float32)
        return (quants * scales[:, None]).reshape(shape)
    assert dtype == "q4", dtype
    pairs = np.frombuffer(content, np.uint8, count // 2).reshape(blocks, BLOCK // 2)
    quants = np.concatenate([pairs & 15, pairs >> 4], 1)
    scales = np.frombuffer(content, "<f2", 2 * blocks, offset=count // 2).astype(np.float32).reshape(blocks, 2)
    return (quants * scales[:, :1] + scales[:, 1:]).reshape(shape)
