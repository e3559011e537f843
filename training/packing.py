"""Several questions packed behind one picture of the photograph model, and the loss on their answers."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import rotate_half

from fastvlm import POSITIONS
from model import PROMPT


class Packer:
    """Puts independent questions behind a picture, each of which sees the picture and itself only. The tokens are exactly
    those of `PROMPT` with the answer and `</s>` behind it."""

    def __init__(self, tokenizer):
        head, self.tail = PROMPT.split("<image>")
        self.prefix = tokenizer.encode(head).ids
        self.end = tokenizer.token_to_id("</s>")
        self.start = len(self.prefix) + POSITIONS
        self.encode = lru_cache(1 << 16)(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)

    def __call__(self, pictures):
        """ids, answers (-100 where there is nothing to learn), positions and segments, all (B, T), without the prefix;
        and where each picture's first question ends (B)."""
        rows, ends = [], []
        for pairs in pictures:
            row = []
            for n, (question, answer) in enumerate(pairs):
                asked = self.encode(self.tail.format(question))
                said = self.encode(answer) + [self.end]
                ids = asked + said[:-1]
                wanted = [-100] * (len(asked) - 1) + said
                if n == 0:
                    ends.append(len(asked) - 1)
                row += zip(ids, wanted, range(self.start, self.start + len(ids)), [n + 1] * len(ids))
            rows.append(row)
        longest = max(map(len, rows))
        rows = [row + [(0, -100, 0, -1)] * (longest - len(row)) for row in rows]
        return *torch.tensor(rows).unbind(-1), torch.tensor(ends)


def mask(segments):
    """(B, 1, T, T): causal, and only the own segment or the prefix (segment 0)."""
    n = segments.shape[1]
    seen = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    return (seen & torch.ones(n, n, dtype=torch.bool).tril())[:, None]


def decode(decoder, x, positions, seen, keep):
    """LlamaModel's forward, only that the last layer computes no more than the rows `keep` (B, K) -> (B, K, width); and
    all rows' states after each of the others."""
    cos, sin = decoder.rotary_emb(x, positions)
    heads = lambda t: t.unflatten(-1, (-1, decoder.layers[0].self_attn.head_dim)).transpose(1, 2)
    turn = lambda t, cos, sin: t * cos[:, None] + rotate_half(t) * sin[:, None]
    states = []
    for layer in decoder.layers:
        attention, h = layer.self_attn, layer.input_layernorm(x)
        key, value = turn(heads(attention.k_proj(h)), cos, sin), heads(attention.v_proj(h))
        if layer is decoder.layers[-1]:
            pick = lambda t: t.gather(1, keep[..., None].expand(-1, -1, t.shape[-1]))
            x, h, cos, sin, seen = pick(x), pick(h), pick(cos), pick(sin), pick(seen[:, 0])[:, None]
        query = turn(heads(attention.q_proj(h)), cos, sin)
        groups = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
        mixed = F.scaled_dot_product_attention(query, key, value.to(query.dtype), seen)
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        states.append(x)
    return decoder.norm(x), states[:-1]


def answer_loss(model, packer, hidden, kept, packed):
    """Cross-entropy of the answers and, after each layer but the last, the states where the first question ends. `hidden`
    (B, K, width): the projector's hidden units at the positions `kept` (B, K); the others' places stay empty."""
    ids, wanted, positions, segments, ends = packed
    n, embed = len(ids), model.get_input_embeddings()
    prefix = embed(torch.tensor(packer.prefix)).expand(n, -1, -1)
    x = torch.cat([prefix, model.model.multi_modal_projector.linear_2(hidden), embed(ids)], 1)
    before = len(packer.prefix)
    positions = torch.cat([torch.arange(before).expand(n, -1), before + kept, positions], 1)
    first = before + kept.shape[1]
    segments = torch.cat([torch.zeros(n, first, dtype=torch.long), segments], 1)
    learn = wanted != -100
    keep = learn.long().topk(int(learn.sum(1).max()), 1).indices
    out, states = decode(model.model.language_model, x, positions, mask(segments), keep + first)
    loss = F.cross_entropy(model.lm_head(out).flatten(0, 1).float(), wanted.gather(1, keep).flatten())
    return loss, [s[torch.arange(n), first + ends] for s in states]
