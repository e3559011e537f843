"""Two small tokenizers and what the tokenizers library does with them."""

import json

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "USER: What is in this picture? ASSISTANT: a red circle and a blue star.",
    "USER: What colour is the square? ASSISTANT: The square is green.",
    "USER: How many things are there? ASSISTANT: There are three things in this picture.",
    "A chat between a curious human and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
]
TEXTS = [
    "",
    " ",
    "a",
    "  two  spaces ",
    "\n",
    "What is in this picture?",
    "USER: <image>\nWhat is in this picture? ASSISTANT:",
    "<image>",
    "<image> <image>\n\n<image>",
    "before <image>after",
    "literal <s> and </s> and <0x41>",
    "naïve café – “quotes” …",
    "日本語のテキスト",
    "🙂👩‍👩‍👧 flags 🇫🇷",
    "tabs\tand\r\nlines\u00a0nbsp",
    "▁literal underline▁",
    "0123456789 3.14",
]


def llama():
    """LLaMA's form: bytes as fallback, a space put in front of every stretch of text (the legacy behaviour)."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>"], show_progress=False))
    state = json.loads(trained.to_str())["model"]
    vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    vocab += [token for token, _ in sorted(state["vocab"].items(), key=lambda item: item[1]) if token != "<unk>"]
    merges = [tuple(merge) for merge in state["merges"]]
    ids = {token: index for index, token in enumerate(vocab)}
    model = models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ["<unk>", "<s>", "</s>", "<image>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", ids["<s>"])]
    )
    return tokenizer


def byte_level():
    """GPT-2's form, which LLaMA 3 and SmolLM share."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>", "<image>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def cases(tokenizer, seed):
    encodes = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS]
    rng = np.random.default_rng(seed)
    size = tokenizer.get_vocab_size()
    runs = [rng.integers(0, size, length).tolist() for length in (1, 2, 5, 40)]
    # Bytes alone, mostly invalid as UTF-8, and a valid character followed by a stray byte.
    first_byte = tokenizer.token_to_id("<0x00>")
    if first_byte is not None:
        runs += [(first_byte + rng.integers(0, 256, length)).tolist() for length in (1, 3, 12)]
        runs += [[first_byte + byte for byte in "é🙂".encode()], [first_byte + byte for byte in "é".encode() + b"\xff"]]
    runs += [case["ids"] for case in encodes] + [case["ids"][1:] for case in encodes]
    return {"encodes": encodes, "decodes": [{"ids": ids, "text": tokenizer.decode(ids)} for ids in runs]}


def make(root):
    folder = root / "tokenizers"
    folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, tokenizer, seed in [("llama", llama(), 1), ("byte_level", byte_level(), 2)]:
        tokenizer.save(str(folder / f"{name}.json"), pretty=False)
        results[name] = cases(tokenizer, seed)
    (root / "text.json").write_text(json.dumps(results, indent=0) + "\n")
