"""Small GGUF files as llama.cpp's own converters write them, and what llama.cpp makes of texts with them.

Needs the packages gguf (llama.cpp's writer, and its dequantization in numpy) and xllamacpp (llama.cpp itself)."""

import json
import tempfile
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import xllamacpp
from safetensors.torch import load_file
from gguf import GGMLQuantizationType as T

import text

TEXTS = text.TEXTS + [
    "don't I'M we'll",
    "12345 6789 and 1,000,000",
    "x  = [1, 2]\n\n\n    y = 3  \n",
    "<s>[a] </s> b",
    " leading and trailing ",
    "ÅÄÖ åäö ½ ² Ⅷ ٣",
]
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6


def interleave(weight, heads):
    """llama.cpp's order of the rows of q and k: the two halves of a head take turns."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def sentencepiece(writer, folder, rows):
    """The tables of a LLaMA-style tokenizer.json, filled up to the rows of the embedding; a token's score is its rank, as in
    LLaMA's own model."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    ids = {index: token for token, index in tokenizer["model"]["vocab"].items()} | added
    tokens = [ids[index] for index in range(max(ids) + 1)]
    types = [CONTROL if index in added else BYTE if token.startswith("<0x") else NORMAL for index, token in enumerate(tokens)]
    types[0] = UNKNOWN
    types += [UNUSED] * (rows - len(tokens))
    tokens += [f"[PAD{index}]" for index in range(len(tokens), rows)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0 if kind != NORMAL else float(258 - index) for index, kind in enumerate(types)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def header(writer, config):
    writer.add_context_length(config.get("max_position_embeddings", 256))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])


def add(writer, name, value):
    """Vectors in f32, the rest in f16, as the converters do for `--outtype f16`."""
    value = value.float().numpy()
    writer.add_tensor(name, np.ascontiguousarray(value if value.ndim == 1 else value.astype(np.float16)))


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pair(folder, model, mmproj):
    """The checkpoint in `folder` as the decoder's and the projector's file."""
    config = json.loads((folder / "config.json").read_text())
    text_config, vision = config["text_config"], config["vision_config"]
    tensors = {}
    for shard in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(shard)
    tensors = {name.replace("vision_tower.vision_model.", "vision_tower."): value for name, value in tensors.items()}

    writer = gguf.GGUFWriter(model, "llama")
    header(writer, text_config)
    sentencepiece(writer, folder, text_config["vocab_size"])
    decoder = "language_model.model."
    add(writer, "token_embd.weight", tensors[f"{decoder}embed_tokens.weight"])
    parts = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    heads = {"attn_q": text_config["num_attention_heads"], "attn_k": text_config["num_key_value_heads"]}
    for layer in range(text_config["num_hidden_layers"]):
        for name, part in parts.items():
            value = tensors[f"{decoder}layers.{layer}.{part}.weight"]
            add(writer, f"blk.{layer}.{name}.weight", interleave(value, heads[name]) if name in heads else value)
    add(writer, "output_norm.weight", tensors[f"{decoder}norm.weight"])
    add(writer, "output.weight", tensors["language_model.lm_head.weight"])
    close(writer)

    writer = gguf.GGUFWriter(mmproj, "clip")
    # The keys and names of llama.cpp's converter for LLaVA-1.5: the last layer is dropped and counted off, and the two
    # feed-forward matrices go by each other's name.
    layers = vision["num_hidden_layers"] - 1
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    for key in ["image_size", "patch_size", "projection_dim"]:
        writer.add_uint32(f"clip.vision.{key}", vision[key])
    writer.add_uint32("clip.vision.embedding_length", vision["hidden_size"])
    writer.add_uint32("clip.vision.feed_forward_length", vision["intermediate_size"])
    writer.add_uint32("clip.vision.attention.head_count", vision["num_attention_heads"])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_uint32("clip.vision.block_count", layers)
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    for key in ["image_mean", "image_std"]:
        writer.add_array(f"clip.vision.{key}", preprocessor[key])
    writer.add_bool("clip.use_gelu", vision["hidden_act"] == "gelu")
    tower = "vision_tower."
    add(writer, "v.class_embd", tensors[f"{tower}embeddings.class_embedding"])
    add(writer, "v.patch_embd.weight", tensors[f"{tower}embeddings.patch_embedding.weight"])
    writer.add_tensor("v.position_embd.weight", tensors[f"{tower}embeddings.position_embedding.weight"].float().numpy())
    parts = {
        "ln1": "layer_norm1", "ln2": "layer_norm2",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_out": "self_attn.out_proj", "ffn_down": "mlp.fc1", "ffn_up": "mlp.fc2",
    }
    for kind in ["weight", "bias"]:
        add(writer, f"v.pre_ln.{kind}", tensors[f"{tower}pre_layrnorm.{kind}"])
        for layer in range(layers):
            for name, part in parts.items():
                add(writer, f"v.blk.{layer}.{name}.{kind}", tensors[f"{tower}encoder.layers.{layer}.{part}.{kind}"])
        for name, part in {"mm.0": "linear_1", "mm.2": "linear_2"}.items():
            add(writer, f"{name}.{kind}", tensors[f"multi_modal_projector.{part}.{kind}"])
    close(writer)


def byte_level(path, tokenizer, pre):
    """A decoder of one small layer with the tables of a byte-level tokenizer.json."""
    tokenizer = json.loads(tokenizer.read_text())
    added = {token["id"] for token in tokenizer["added_tokens"]}
    vocab = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    config = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 1,
              "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 1e4}, "head_dim": 32,
              "vocab_size": len(vocab)}
    writer = gguf.GGUFWriter(path, "llama")
    header(writer, config)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in vocab])
    writer.add_token_types([CONTROL if index in added else NORMAL for _, index in vocab])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    zeros = lambda *shape: np.zeros(shape, np.float16)
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        writer.add_tensor(f"blk.0.{name}.weight", zeros(32, 32))
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"]:
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    # Quantized only because the file is smaller then.
    embedding = gguf.quants.quantize(np.zeros((len(vocab), 32), np.float32), T.Q4_0)
    writer.add_tensor("token_embd.weight", embedding, raw_dtype=T.Q4_0)
    close(writer)


def tokenize(path):
    """llama.cpp's ids of TEXTS: special tokens in the text are special, and what the file asks for is put around."""
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.verbosity = str(path), 64, False, 0
    server = xllamacpp.Server(params)

    def ids(content):
        body = json.dumps({"content": content, "add_special": True, "parse_special": True}).encode()
        request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))["tokens"]

    return [{"text": content, "ids": ids(content)} for content in TEXTS]


def blocks(path):
    """Every block type with random contents, as `TYPE`, beside its values by llama.cpp's numpy code, as `TYPE.values`."""
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama")
    for kind in [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]:
        weights, size = gguf.GGML_QUANT_SIZES[kind]
        rows, per_row = 3, 512 // weights
        raw = random.integers(0, 256, (rows, per_row, size), np.uint8)
        # The f16 fields (bf16's too) must be numbers: signs stay, exponents are made small.
        halves = {T.F16: [0], T.BF16: [0], T.Q4_1: [0, 2], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
        for at in halves.get(kind, [0]):
            raw[..., at + 1] &= 0xAF
        raw = raw.reshape(rows, per_row * size)
        values = gguf.quants.dequantize(raw.view(np.float16) if kind == T.F16 else raw, kind).astype(np.float32)
        assert np.isfinite(values).all() and values.shape == (rows, 512), kind
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.values", values[:, :512])
    close(writer)


def make(root):
    out = root / "gguf"
    out.mkdir(exist_ok=True)
    blocks(out / "blocks.gguf")
    pair(root / "checkpoints/gqa", out / "gqa-f16.gguf", out / "gqa-mmproj-f16.gguf")
    expected = {"gqa-f16": tokenize(out / "gqa-f16.gguf")}
    for pre in ["gpt-2", "smollm", "llama-bpe"]:
        byte_level(out / f"{pre}.gguf", root / "tokenizers/byte_level.json", pre)
        expected[pre] = tokenize(out / f"{pre}.gguf")
    lines = (f' "{name}": [\n' + ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases) + "\n ]" for name, cases in expected.items())
    (out / "tokens.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
