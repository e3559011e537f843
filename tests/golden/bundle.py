"""Reads a bundle back into f32 arrays: what the GPU computes with, whatever the quantization."""

import json

import numpy as np


def dequantize(dtype, data, shape):
    count = int(np.prod(shape))
    if dtype == "f32":
        return np.frombuffer(data, "<f4", count).reshape(shape)
    if dtype == "f16":
        return np.frombuffer(data, "<f2", count).astype(np.float32).reshape(shape)
    blocks = count // 32
    if dtype == "q8":
        quants = np.frombuffer(data, np.int8, count).reshape(blocks, 32).astype(np.float32)
        scales = np.frombuffer(data, "<f2", blocks, count).astype(np.float32)
        return (quants * scales[:, None]).reshape(shape)
    assert dtype == "q4", dtype
    packed = np.frombuffer(data, np.uint8, 16 * blocks).reshape(blocks, 16)
    quants = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    scales = np.frombuffer(data, "<f2", 2 * blocks, 16 * blocks).astype(np.float32).reshape(blocks, 2)
    return (quants * scales[:, :1] + scales[:, 1:]).reshape(shape)


def read(folder):
    """Every tensor of the bundle by its canonical name."""
    manifest = json.loads((folder / "manifest.json").read_text())
    chunks = [(folder / chunk["file"]).read_bytes() for chunk in manifest["chunks"]]
    tensors = {}
    for tensor in manifest["tensors"]:
        spans = [chunks[span["chunk"]][span["offset"] : span["offset"] + span["bytes"]] for span in tensor["spans"]]
        tensors[tensor["name"]] = dequantize(tensor["dtype"], b"".join(spans), tensor["shape"])
    return tensors
