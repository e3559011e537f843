"""Models for the engines beside ours: random weights, the same 4-bit blocks in every file.

    models.py FOLDER

    T, S   decoders: NAME.onnx for onnxruntime-web, NAME-Q4_0.gguf, NAME-Q4_1.gguf (the same values) and NAME-IQ4_NL.gguf (others) for
           wllama, NAME.json with shape and what numpy makes of it: the prompt's last logits and the greedy tokens after it
    V      a CLIP vision tower: V.onnx, V.json with numpy's pooled output

The shapes are those of ../src/models.rs. The graphs are what exporters make today: MatMulNBits (4 bits, blocks of 32),
GroupQueryAttention with packed q, k and v and rotation inside, MultiHeadAttention for V; only the last position goes through
the head.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DECODERS = {
    "T": dict(seed=1, hidden=256, layers=6, heads=4, kv=4, ffn=704, vocab=2048, tied=False),
    "S": dict(seed=2, hidden=576, layers=30, heads=9, kv=3, ffn=1536, vocab=49152, tied=True),
}
TOWER = dict(image=112, patch=14, hidden=384, layers=6, heads=6, mlp=1536)
# llama.cpp's 4-bit formats whose blocks divide these rows; those of 256 (Q4_K) do not.
KINDS = ["Q4_0", "Q4_1", "IQ4_NL"]
BLOCK = 32
EPSILON = 1e-5
THETA = 10000.0
LONGEST = 2048
PROMPT = 64
GREEDY = 4
# Tokens below are control and byte tokens for llama.cpp; their rows are zero so that they are never the likeliest.
FIRST_TEXT_TOKEN = 300
MICROSOFT = "com.microsoft"


class Q4:
    """A matrix [rows, columns] in Q4_0's blocks along the columns: value = scale * (q - 8), the scale rounded to f16."""

    def __init__(self, matrix):
        rows, columns = matrix.shape
        blocks = matrix.reshape(rows, columns // BLOCK, BLOCK)
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
        self.shape = matrix.shape
        self.scale = (largest / -8).astype(np.float16)
        scale = self.scale.astype(np.float32)[..., None]
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
        self.q = np.clip(np.floor(blocks * inverse + 8.5), 0, 15).astype(np.uint8)

    @classmethod
    def of(cls, q, scale):
        made = object.__new__(cls)
        made.q, made.scale = q, scale
        made.shape = (q.shape[0], q.shape[1] * BLOCK)
        return made

    def values(self):
        return ((self.q.astype(np.float32) - 8) * self.scale.astype(np.float32)[..., None]).reshape(self.shape)

    def below(self, *others):
        parts = (self, *others)
        return Q4.of(np.concatenate([p.q for p in parts]), np.concatenate([p.scale for p in parts]))

    def interleaved(self, heads):
        """Rows as llama.cpp rotates them: the pairs of a head side by side."""
        rows = self.shape[0]
        order = np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)
        return Q4.of(self.q[order], self.scale[order])

    def onnx(self):
        return self.q[..., 0::2] | (self.q[..., 1::2] << 4)

    def gguf(self, kind):
        """Blocks of a 4-bit format of llama.cpp's: Q4_0 and Q4_1 with these values, IQ4_NL with those that its table has at their places."""
        half = BLOCK // 2
        rows, blocks = self.scale.shape
        numbers = lambda values: np.ascontiguousarray(values, np.float16).view(np.uint8).reshape(rows, blocks, 2)
        head = {
            "Q4_0": [numbers(self.scale)],
            "Q4_1": [numbers(self.scale), numbers(-8 * self.scale)],
            "IQ4_NL": [numbers(self.scale * np.float16(8 / 127))],
        }[kind]
        quants = self.q[..., :half] | (self.q[..., half:] << 4)
        return np.concatenate([*head, quants], -1).reshape(rows, -1)


class Graph:
    """An ONNX graph under construction."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], {}, [], []

    def weight(self, name, array):
        self.weights.setdefault(name, numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def op(self, kind, inputs, outputs, domain="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = f"{outputs[0] or outputs[-1]}_{kind}"
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def linear(self, name, x, weight, out=None):
        rows, columns = weight.shape
        quants, scales = self.weight(f"{name}.q", weight.onnx()), self.weight(f"{name}.s", weight.scale.astype(np.float32).reshape(-1))
        return self.op("MatMulNBits", [x, quants, scales], out or f"{name}.out", MICROSOFT, K=columns, N=rows, bits=4, block_size=BLOCK)

    def takes(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def gives(self, name, shape):
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def save(self, path):
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, list(self.weights.values()))
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def xorshift(seed, count):
    """The generator that peers.js has too."""
    state, out = seed, []
    for _ in range(count):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        out.append(state)
    return np.array(out, np.uint64)


def prompt(vocab):
    return FIRST_TEXT_TOKEN + xorshift(0x12345678, PROMPT).astype(np.int64) % (vocab - FIRST_TEXT_TOKEN)


# ---- decoders ----


def decoder_weights(shape):
    random = np.random.default_rng(shape["seed"])
    hidden, ffn = shape["hidden"], shape["ffn"]
    kv = shape["kv"] * (hidden // shape["heads"])

    def matrix(rows, columns, gain=1.0):
        return Q4(random.standard_normal((rows, columns), np.float32) * np.float32(gain / np.sqrt(columns)))

    def norm():
        return (1 + 0.1 * random.standard_normal(hidden)).astype(np.float32)

    def table(gain):
        values = random.standard_normal((shape["vocab"], hidden), np.float32) * np.float32(gain)
        values[:FIRST_TEXT_TOKEN] = 0
        return Q4(values)

    embed = table(1.0)
    layers = [
        dict(norm1=norm(), q=matrix(hidden, hidden), k=matrix(kv, hidden), v=matrix(kv, hidden), o=matrix(hidden, hidden, 0.5),
             norm2=norm(), gate=matrix(ffn, hidden), up=matrix(ffn, hidden), down=matrix(hidden, ffn, 0.5))
        for _ in range(shape["layers"])
    ]
    head = embed if shape["tied"] else table(1 / np.sqrt(hidden))
    return dict(embed=embed, layers=layers, norm=norm(), head=head)


def angles(head_dim, positions):
    frequencies = THETA ** (-np.arange(0, head_dim, 2) / head_dim)
    turned = np.outer(np.arange(positions), frequencies)
    return np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)


def decoder_reference(shape, weights):
    """numpy's logits for the prompt's last position, and the greedy tokens after it."""
    heads, kv, head_dim = shape["heads"], shape["kv"], shape["hidden"] // shape["heads"]
    dense = {id(w): w.values() for layer in weights["layers"] for w in layer.values() if isinstance(w, Q4)}
    embed, head = weights["embed"].values(), weights["head"].values()

    def normed(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight

    def logits(ids):
        n = len(ids)
        cos, sin = (part[:, None, :] for part in angles(head_dim, n))
        unseen = np.triu(np.full((n, n), -np.inf, np.float32), 1)

        def rotated(x, count):
            x = x.reshape(n, count, head_dim)
            a, b = np.split(x, 2, -1)
            return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

        x = embed[ids]
        for layer in weights["layers"]:
            w = {name: dense.get(id(value), value) for name, value in layer.items()}
            y = normed(x, w["norm1"])
            q = rotated(y @ w["q"].T, heads).transpose(1, 0, 2)
            k = np.repeat(rotated(y @ w["k"].T, kv), heads // kv, 1).transpose(1, 2, 0)
            v = np.repeat((y @ w["v"].T).reshape(n, kv, head_dim), heads // kv, 1).transpose(1, 0, 2)
            attended = softmax(q @ k / np.sqrt(head_dim) + unseen) @ v
            x = x + attended.transpose(1, 0, 2).reshape(n, -1) @ w["o"].T
            y = normed(x, w["norm2"])
            gate = y @ w["gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (y @ w["up"].T)) @ w["down"].T
        return normed(x[-1], weights["norm"]) @ head.T

    ids = list(prompt(shape["vocab"]))
    first = last = logits(ids)
    greedy = []
    for _ in range(GREEDY):
        greedy.append(int(last.argmax()))
        last = logits(ids + greedy)
    return first, greedy


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def decoder_onnx(shape, weights, path):
    heads, kv, head_dim = shape["heads"], shape["kv"], shape["hidden"] // shape["heads"]
    g = Graph()
    g.takes("input_ids", TensorProto.INT64, ["b", "s"])
    g.takes("attention_mask", TensorProto.INT64, ["b", "t"])
    g.gives("logits", ["b", 1, shape["vocab"]])
    g.op("ReduceSum", ["attention_mask", g.weight("axis1", np.array([1]))], "mask_sum", keepdims=0)
    g.op("Sub", ["mask_sum", "axis1"], "mask_last")
    g.op("Cast", ["mask_last"], "seqlens_k", to=TensorProto.INT32)
    g.op("Shape", ["attention_mask"], "mask_shape")
    g.op("Gather", ["mask_shape", g.weight("index1", np.array(1))], "total")
    g.op("Cast", ["total"], "total_len", to=TensorProto.INT32)
    for name, table in zip(("cos", "sin"), angles(head_dim, LONGEST)):
        g.weight(name, table)
    embed = weights["embed"]
    quants, scales = g.weight("embed.q", embed.onnx().reshape(shape["vocab"], -1)), g.weight("embed.s", embed.scale.astype(np.float32))
    residual = g.op("GatherBlockQuantized", [quants, "input_ids", scales], "embed.out", MICROSOFT, bits=4, block_size=BLOCK, gather_axis=0, quantize_axis=1)
    norm1 = g.weight("l0.norm1", weights["layers"][0]["norm1"])
    x = g.op("SimplifiedLayerNormalization", [residual, norm1], "l0.in", axis=-1, epsilon=EPSILON, stash_type=1)
    for i, layer in enumerate(weights["layers"]):
        p = f"l{i}."
        past = [f"past_key_values.{i}.{part}" for part in ("key", "value")]
        present = [f"present.{i}.{part}" for part in ("key", "value")]
        qkv = g.linear(f"{p}qkv", x, layer["q"].below(layer["k"], layer["v"]))
        g.op("GroupQueryAttention", [qkv, "", "", *past, "seqlens_k", "total_len", "cos", "sin"], [f"{p}attended", *present], MICROSOFT,
             num_heads=heads, kv_num_heads=kv, do_rotary=1, rotary_interleaved=0, scale=float(head_dim**-0.5), local_window_size=-1, softcap=0.0)
        for name in past:
            g.takes(name, TensorProto.FLOAT, ["b", kv, "p", head_dim])
        for name in present:
            g.gives(name, ["b", kv, "t", head_dim])
        o = g.linear(f"{p}o", f"{p}attended", layer["o"])
        norm2 = g.weight(f"{p}norm2", layer["norm2"])
        g.op("SkipSimplifiedLayerNormalization", [residual, o, norm2], [f"{p}mlp_in", "", "", f"{p}mid"], MICROSOFT, epsilon=EPSILON)
        gate, up = g.linear(f"{p}gate", f"{p}mlp_in", layer["gate"]), g.linear(f"{p}up", f"{p}mlp_in", layer["up"])
        g.op("Sigmoid", [gate], f"{p}sigmoid")
        g.op("Mul", [gate, f"{p}sigmoid"], f"{p}silu")
        g.op("Mul", [f"{p}silu", up], f"{p}product")
        down = g.linear(f"{p}down", f"{p}product", layer["down"])
        last = i + 1 == shape["layers"]
        norm = g.weight("norm", weights["norm"]) if last else g.weight(f"l{i + 1}.norm1", weights["layers"][i + 1]["norm1"])
        x, residual = f"l{i + 1}.in", f"l{i + 1}.residual"
        g.op("SkipSimplifiedLayerNormalization", [f"{p}mid", down, norm], [x] if last else [x, "", "", residual], MICROSOFT, epsilon=EPSILON)
    bounds = [g.weight(name, np.array([value])) for name, value in (("from", -1), ("to", 2**31 - 1))]
    g.linear("head", g.op("Slice", [x, *bounds, "axis1"], "last"), weights["head"], "logits")
    g.save(path)


def decoder_gguf(name, shape, weights, kind, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(LONGEST)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv"])
    writer.add_rope_dimension_count(shape["hidden"] // shape["heads"])
    writer.add_rope_freq_base(THETA)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_vocab_size(shape["vocab"])
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    kinds = gguf.TokenType
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
    # One code point for each token, so that a prompt as text is a list of ids.
    text = range(len(tokens), shape["vocab"])
    scores = [0.0] * len(tokens) + [-float(i) for i in range(len(text))]
    tokens += [chr(0x20000 + token).encode() for token in text]
    types += [kinds.NORMAL] * len(text)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)

    def q4(name, weight):
        writer.add_tensor(name, weight.gguf(kind), raw_dtype=gguf.GGMLQuantizationType[kind])

    q4("token_embd.weight", weights["embed"])
    writer.add_tensor("output_norm.weight", weights["norm"])
    if not shape["tied"]:
        q4("output.weight", weights["head"])
    for i, layer in enumerate(weights["layers"]):
        writer.add_tensor(f"blk.{i}.attn_norm.weight", layer["norm1"])
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", layer["norm2"])
        q4(f"blk.{i}.attn_q.weight", layer["q"].interleaved(shape["heads"]))
        q4(f"blk.{i}.attn_k.weight", layer["k"].interleaved(shape["kv"]))
        q4(f"blk.{i}.attn_v.weight", layer["v"])
        q4(f"blk.{i}.attn_output.weight", layer["o"])
        for part in ("gate", "up", "down"):
            q4(f"blk.{i}.ffn_{part}.weight", layer[part])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_decoder(name, folder):
    shape = DECODERS[name]
    weights = decoder_weights(shape)
    decoder_onnx(shape, weights, folder / f"{name}.onnx")
    for kind in KINDS:
        decoder_gguf(name, shape, weights, kind, folder / f"{name}-{kind}.gguf")
    logits, greedy = decoder_reference(shape, weights)
    known = dict(shape, head_dim=shape["hidden"] // shape["heads"], prompt=[int(i) for i in prompt(shape["vocab"])],
                 logits=[float(v) for v in logits[FIRST_TEXT_TOKEN:FIRST_TEXT_TOKEN + 64]], logits_from=FIRST_TEXT_TOKEN,
                 deviation=float(logits.std()), greedy=greedy)
    (folder / f"{name}.json").write_text(json.dumps(known))


# ---- vision tower ----


def write_tower(folder):
    hidden, mlp, heads, patch = TOWER["hidden"], TOWER["mlp"], TOWER["heads"], TOWER["patch"]
    random = np.random.default_rng(7)
    patches, head_dim = (TOWER["image"] // patch) ** 2, hidden // heads

    def values(*size, gain=1.0):
        return random.standard_normal(size, np.float32) * np.float32(gain)

    def layer_norm():
        return 1 + values(hidden, gain=0.1), values(hidden, gain=0.1)

    def linear(rows, columns, gain=1.0):
        return Q4(values(rows, columns, gain=gain / np.sqrt(columns))), values(rows, gain=0.05)

    kernel = values(hidden, 3, patch, patch, gain=(3 * patch * patch) ** -0.5)
    class_row, positions = values(hidden, gain=0.5), values(patches + 1, hidden, gain=0.5)
    pre, post = layer_norm(), layer_norm()
    layers = [
        dict(norm1=layer_norm(), norm2=layer_norm(), **{part: linear(hidden, hidden) for part in "qkvo"},
             fc1=linear(mlp, hidden), fc2=linear(hidden, mlp, 0.5))
        for _ in range(TOWER["layers"])
    ]

    g = Graph()
    g.takes("pixel_values", TensorProto.FLOAT, ["b", 3, TOWER["image"], TOWER["image"]])
    g.gives("pooled", ["b", hidden])
    g.gives("last_hidden_state", ["b", patches + 1, hidden])

    def graph_norm(x, name, weights, out=None):
        parts = [g.weight(f"{name}.{part}", array) for part, array in zip(("weight", "bias"), weights)]
        return g.op("LayerNormalization", [x, *parts], out or f"{name}.out", axis=-1, epsilon=EPSILON)

    def graph_linear(x, name, weights):
        return g.op("Add", [g.linear(name, x, weights[0]), g.weight(f"{name}.bias", weights[1])], f"{name}.sum")

    g.op("Conv", ["pixel_values", g.weight("kernel", kernel)], "conv", kernel_shape=[patch] * 2, strides=[patch] * 2)
    g.op("Reshape", ["conv", g.weight("flat", np.array([0, hidden, patches]))], "cut")
    g.op("Transpose", ["cut"], "rows", perm=[0, 2, 1])
    g.op("Concat", [g.weight("class", class_row.reshape(1, 1, hidden)), "rows"], "joined", axis=1)
    g.op("Add", ["joined", g.weight("positions", positions[None])], "embedded")
    x = graph_norm("embedded", "pre", pre)
    for i, layer in enumerate(layers):
        p = f"l{i}."
        y = graph_norm(x, f"{p}norm1", layer["norm1"])
        qkv = [graph_linear(y, p + part, layer[part]) for part in "qkv"]
        attended = g.op("MultiHeadAttention", qkv, f"{p}attended", MICROSOFT, num_heads=heads, scale=float(head_dim**-0.5))
        x = g.op("Add", [x, graph_linear(attended, f"{p}o", layer["o"])], f"{p}mid")
        y = graph_linear(graph_norm(x, f"{p}norm2", layer["norm2"]), f"{p}fc1", layer["fc1"])
        g.op("Mul", [y, g.weight("quick", np.array(1.702, np.float32))], f"{p}scaled")
        g.op("Sigmoid", [f"{p}scaled"], f"{p}sigmoid")
        g.op("Mul", [y, f"{p}sigmoid"], f"{p}gelu")
        x = g.op("Add", [x, graph_linear(f"{p}gelu", f"{p}fc2", layer["fc2"])], f"{p}end")
    g.op("Identity", [x], "last_hidden_state")
    g.op("Gather", [x, g.weight("index0", np.array(0))], "class_out", axis=1)
    graph_norm("class_out", "post", post, "pooled")
    g.save(folder / "V.onnx")

    def normed(x, weights):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weights[0] + weights[1]

    def applied(x, weights):
        return x @ weights[0].values().T + weights[1]

    side = TOWER["image"] // patch
    pixels = (xorshift(0x9E3779B9, 3 * TOWER["image"] ** 2) / 2147483648.0 - 1).astype(np.float32)
    cut = pixels.reshape(3, side, patch, side, patch).transpose(1, 3, 0, 2, 4).reshape(patches, -1)
    x = np.concatenate([class_row[None], cut @ kernel.reshape(hidden, -1).T]) + positions
    x = normed(x, pre)
    for layer in layers:
        y = normed(x, layer["norm1"])
        q, k, v = (applied(y, layer[part]).reshape(-1, heads, head_dim).transpose(1, 0, 2) for part in "qkv")
        attended = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(head_dim)) @ v
        x = x + applied(attended.transpose(1, 0, 2).reshape(-1, hidden), layer["o"])
        y = applied(normed(x, layer["norm2"]), layer["fc1"])
        x = x + applied(y / (1 + np.exp(-1.702 * y)), layer["fc2"])
    pooled = normed(x[0], post)
    (folder / "V.json").write_text(json.dumps(dict(TOWER, pooled=[float(v) for v in pooled])))


def main():
    parser = argparse.ArgumentParser(description="Write the models the other engines run.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in DECODERS:
        write_decoder(name, folder)
        print(f"{name} written", flush=True)
    write_tower(folder)
    print("V written")


if __name__ == "__main__":
    main()
