"""Writes the inputs from which the fuzz targets start into corpus/: small files that are in order, of every kind that is read,
and what the fuzzer has found.

    python3 fuzz/seeds.py"""

import hashlib
import json
import shutil
import struct
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "tests/golden"
# A LLaMA as small as one can be: two heads of four values, which is the smallest size that runs.
HIDDEN, INNER, VOCAB, HEADS, HEAD = 4, 6, 16, 2, 4
DECODER = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN), "self_attn.k_proj": (HEAD, HIDDEN), "self_attn.v_proj": (HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER), "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,),
}
TEXT = {
    "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_attention_heads": HEADS,
    "num_key_value_heads": 1, "head_dim": HEAD, "num_hidden_layers": 1, "max_position_embeddings": 16, "vocab_size": VOCAB,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "eos_token_id": [2],
}
VISION = {
    "model_type": "clip_vision_model", "hidden_size": 8, "intermediate_size": 4, "num_attention_heads": 2,
    "num_hidden_layers": 2, "image_size": 4, "patch_size": 2,
}


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def count(shape):
    product = 1
    for size in shape:
        product *= size
    return product


# ---- manifest.json ----

def manifest(config, preprocessor, tensors, **more):
    at, entries = 0, []
    for name, dtype, shape, size in tensors:
        entries.append({"name": name, "dtype": dtype, "shape": shape, "spans": [{"chunk": 0, "offset": at, "bytes": size}]})
        at += size
    digest = hashlib.sha256(b"").hexdigest()
    return {
        "format": "llava-web", "version": 1, "model": {"name": "m"}, "config": config, "generation": {"eos_token_id": 2},
        "preprocessor": preprocessor, "quantization": "q4",
        "tokenizer": {"file": "tokenizer.json", "bytes": 2, "sha256": digest}, "tensors": entries,
        "chunks": [{"file": f"chunks/{digest}.bin", "bytes": at, "sha256": digest}], "total_bytes": at + 2,
    } | more


def manifests():
    tensors = [("a", "q4", [2, 32], 40), ("b", "q8", [1, 64], 68), ("c", "f16", [3], 8), ("d", "f32", [2], 8),
               ("e", "q4k", [1, 256], 144), ("f", "q6k", [1, 256], 212), ("g", "q5k", [1, 256], 176)]
    preprocessor = json.loads((GOLDEN / "checkpoints/gqa/preprocessor_config.json").read_text())
    memory = {
        "largest_weight": {"name": "qkv_proj.weight", "bytes": 40}, "layers": 1, "keys": HEAD, "head_dim": HEAD,
        "trained_positions": 16, "image_tokens": 0, "picture_bytes": 0, "position_bytes": 32,
    }
    write("manifest", "decoder", manifest(TEXT, None, tensors, memory=memory))
    llava = {"model_type": "llava", "text_config": TEXT, "vision_config": VISION, "image_token_index": 15}
    write("manifest", "llava", manifest(llava, preprocessor, tensors))
    llava |= {
        "text_config": TEXT | {"rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8}},
        "vision_feature_layer": [-2, -1], "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu",
        "multimodal_projector_bias": False, "tie_word_embeddings": True,
    }
    write("manifest", "llama3", manifest(llava, {}, tensors[:1]))


# ---- safetensors ----

def safetensors(dtype, size):
    header, data = {}, b""
    shapes = {f"model.layers.0.{name}.weight": shape for name, shape in DECODER.items()}
    shapes |= {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCAB, HIDDEN)}
    for name, shape in shapes.items():
        part = b"\x01\x3c\x00\x3f"[:size] * count(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# ---- GGUF ----

def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(item):
    """A metadata value with its type."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + string(item)
    kinds = [value(element) for element in item]
    return struct.pack("<I", 9) + kinds[0][:4] + struct.pack("<Q", len(item)) + b"".join(kind[4:] for kind in kinds)


# Elements and bytes of a block, by the type's id.
BLOCKS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
          12: (256, 144), 13: (256, 176), 14: (256, 210)}


def gguf(metadata, tensors):
    head, data = b"", b""
    for key, item in metadata.items():
        head += string(key) + value(item)
    for name, (shape, kind) in tensors.items():
        elements, size = BLOCKS[kind if shape[-1] % BLOCKS[kind][0] == 0 else 1]
        kind = kind if shape[-1] % BLOCKS[kind][0] == 0 else 1
        head += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        data += (b"\x11\x3c" * (count(shape) // elements * size))[: count(shape) // elements * size]
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + head
    return head + bytes(-len(head) % 32) + data


def decoder(tokenizer, hidden, kind, extra={}):
    metadata = {
        "general.architecture": "llama", "llama.embedding_length": hidden, "llama.block_count": 1,
        "llama.feed_forward_length": INNER, "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": 1,
        "llama.attention.key_length": HEAD, "llama.attention.value_length": HEAD, "llama.rope.dimension_count": HEAD,
        "llama.context_length": 16, "llama.attention.layer_norm_rms_epsilon": 1e-6, "llama.rope.freq_base": 10000.0,
    }
    block = {
        "attn_q": (HEADS * HEAD, hidden), "attn_k": (HEAD, hidden), "attn_v": (HEAD, hidden),
        "attn_output": (hidden, HEADS * HEAD), "ffn_gate": (INNER, hidden), "ffn_up": (INNER, hidden), "ffn_down": (hidden, INNER),
    }
    tensors = {f"blk.0.{name}.weight": (shape, kind) for name, shape in block.items()}
    tensors |= {f"{name}.weight": ((hidden,), 0) for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"]}
    tensors |= {"token_embd.weight": ((VOCAB, hidden), kind), "output.weight": ((VOCAB, hidden), kind)}
    return gguf(metadata | tokenizer | extra, tensors)


def ggufs():
    tokens = ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab", "<0x0A>", "<0x41>", "c", "abc"]
    types = [2, 3, 3, 1, 1, 1, 1, 1, 6, 6, 1, 4]
    sentencepiece = {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [float(-index) for index in range(len(tokens))], "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": False,
    }
    tokens = ["<|begin|>", "<|end|>", "a", "b", "c", "\u0120", "ab", "\u0120ab"]
    byte_level = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, 1, 1, 1, 1, 1, 1], "tokenizer.ggml.merges": ["a b", "\u0120 ab"],
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 1,
    }
    for kind, hidden in [(0, HIDDEN), (1, HIDDEN), (30, HIDDEN), (2, 32), (3, 32), (6, 32), (7, 32), (8, 32), (12, 256),
                         (13, 256), (14, 256)]:
        write("gguf", f"type-{kind}", decoder(sentencepiece, hidden, kind))
    write("gguf", "byte-level", decoder(byte_level, HIDDEN, 1))
    for pre in ["gpt-2", "smollm"]:
        write("gguf", f"byte-level-{pre}", decoder(byte_level | {"tokenizer.ggml.pre": pre}, HIDDEN, 1))
    scaling = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}
    write("gguf", "scaled", decoder(sentencepiece, HIDDEN, 1, scaling))

    metadata = {
        "general.architecture": "clip", "clip.has_vision_encoder": True, "clip.has_llava_projector": True,
        "clip.projector_type": "mlp", "clip.use_gelu": False, "clip.vision.image_size": 4, "clip.vision.patch_size": 2,
        "clip.vision.projection_dim": 4, "clip.vision.embedding_length": 8, "clip.vision.feed_forward_length": 6,
        "clip.vision.attention.head_count": 2, "clip.vision.attention.layer_norm_epsilon": 1e-5, "clip.vision.block_count": 1,
        "clip.vision.image_mean": [0.5, 0.5, 0.5], "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    tensors = {"v.class_embd": ((8,), 0), "v.patch_embd.weight": ((8, 3, 2, 2), 1), "v.position_embd.weight": ((5, 8), 0)}
    block = {"attn_q": (8, 8), "attn_k": (8, 8), "attn_v": (8, 8), "attn_out": (8, 8), "ffn_down": (6, 8), "ffn_up": (8, 6),
             "ln1": (8,), "ln2": (8,)}
    parts = {f"v.blk.0.{name}": shape for name, shape in block.items()}
    # As wide as the decoder that the target puts beside it.
    parts |= {"v.pre_ln": (8,), "mm.0": (32, 8), "mm.2": (32, 32)}
    for name, shape in parts.items():
        tensors[f"{name}.weight"] = (shape, 0 if len(shape) == 1 else 1)
        tensors[f"{name}.bias"] = (shape[:1], 0)
    write("mmproj", "f16", gguf(metadata, tensors))
    write("mmproj", "q8_0", gguf(metadata, tensors | {"mm.2.weight": ((32, 32), 8)}))
    write("mmproj", "layers", gguf(metadata | {"clip.vision.feature_layer": [0, 1]}, tensors | {"mm.0.weight": ((32, 16), 1)}))


# ---- tokenizer.json ----

def tokenizers():
    shutil.copyfile(GOLDEN / "checkpoints/gqa/tokenizer.json", HERE / "corpus/tokenizer/llama")
    full = json.loads((GOLDEN / "checkpoints/gqa/tokenizer.json").read_text())
    vocab = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", "\u2581", "a", "t", "at", "s", "<0x0A>"])}
    model = full["model"] | {"vocab": vocab, "merges": ["a t"]}
    small = full | {"model": model, "added_tokens": full["added_tokens"][:3]}
    write("tokenizer", "small", small)
    # What the library panics on.
    write("tokenizer", "finding-key", json.dumps(small | {"decoder": {"type": "Fuse", "?": 1}}).replace('"?"', "?").encode())
    write("tokenizer", "finding-strip", small | {"decoder": {"type": "Strip", "content": " ", "start": 0, "stop": 2}})
    unknown = {"single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}], "pair": [], "special_tokens": {}}
    write("tokenizer", "finding-template", small | {"post_processor": {"type": "TemplateProcessing"} | unknown})
    write("tokenizer", "byte-level", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {"a": 0, "t": 1, "at": 2, "\u0120": 3}, "merges": [["a", "t"]]}})


if __name__ == "__main__":
    manifests()
    for dtype, size in [("F32", 4), ("F16", 2), ("BF16", 2), ("I8", 1)]:
        write("safetensors", dtype, safetensors(dtype, size))
    ggufs()
    (HERE / "corpus/tokenizer").mkdir(parents=True, exist_ok=True)
    tokenizers()
    for picture in [*(GOLDEN / "pictures").iterdir(), *(GOLDEN / "odd").iterdir()]:
        if picture.stat().st_size < 3000:
            write("image", picture.name, picture.read_bytes())
