"""The model's tokenizer.json in LLaMA's form: BPE with byte fallback, a leading space on every word, `<s>` in front."""

import json

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from names import COLOURS, FIRST_CLOTHES, SHAPES, UNKNOWN
from questions import CAPTION_PROMPTS, ask
from scenes import Thing

SPACE = "\u2581"
TRAINED = 1100  # pieces learned from the questions and answers, letters included


def _corpus(seed=0, pictures=6000):
    rng = np.random.default_rng(seed)
    yield from ["USER: ASSISTANT:"] * 100
    yield from CAPTION_PROMPTS * 20
    yield from (
        f"is there not a {colour} shape present? does the image contain no circle?"
        for colour in COLOURS
        for _ in range(20)
    )
    for n in range(pictures):
        count = int(rng.integers(1, 4))
        names = (
            rng.choice(len(SHAPES), count)
            if n % 2
            else rng.choice(np.arange(FIRST_CLOTHES, UNKNOWN), count, replace=False)
        )
        things = [Thing(int(i), int(rng.integers(len(COLOURS))) if n % 2 else -1, *rng.random(3)) for i in names]
        if n % 20 == 0:
            things = [Thing(UNKNOWN, -1, 0.5, 0.5, 1.0)]
        for question, answer in ask(things, rng, 6):
            yield f"{question} {answer}"


def build(corpus=None, trained=TRAINED):
    """The tokenizer learned from texts (default: the questions and answers about drawings), of `trained` pieces."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SPACE, "merged_with_next"), pre_tokenizers.Punctuation()]
    )
    letters = [SPACE] + [chr(c) for c in range(33, 127)]
    learner.train_from_iterator(
        corpus or _corpus(),
        trainers.BpeTrainer(
            vocab_size=trained, initial_alphabet=letters, limit_alphabet=len(letters), show_progress=False
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    pieces += sorted(learned["vocab"], key=learned["vocab"].get)
    model = models.BPE(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=[tuple(m) for m in learned["merges"]],
        unk_token="<unk>", fuse_unk=True, byte_fallback=True,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = learner.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "<image>", "<pad>")]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


if __name__ == "__main__":
    t = build()
    print(
        t.get_vocab_size(),
        t.encode("USER: <image>\nWhat is in this picture? ASSISTANT: a red circle and an orange star").tokens,
    )
