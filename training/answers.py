"""What the whole model learns: answers, from several questions packed behind each picture."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import rotate_half

import data
from mentions import Mentions, difference
from model import GRID, PROMPT, TURN
from names import UNKNOWN


class Packer:
    """Puts several questions behind one picture: independent ones, each of which sees the picture and itself only, or
    the turns of a conversation.

    The tokens are exactly those of `PROMPT` with the answer and `</s>` behind it, once per question; in a conversation
    `</s>` ends each answer too, but is not among the tokens that the next turn sees. Questions that would need more
    than `room` tokens in all are left out.
    """

    def __init__(self, tokenizer, room=1 << 20):
        self.room = room
        self.head, self.tail = PROMPT.split("<image>")
        self.tokenizer = tokenizer
        self.prefix = tokenizer.encode(self.head).ids
        self.end = tokenizer.token_to_id("</s>")
        self.mentions = Mentions(tokenizer)
        self.encode = lru_cache(1 << 16)(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)

    def __call__(self, scenes, tables, turned):
        """ids, answers (-100 where there is nothing to learn), positions and segments, all (B, T), without the
        prefix; what questions name (N, 7): picture, token, and Mentions' targets; how far two that a question names are
        apart (N, 4): picture, token, x and y; and what answers name next (N, 7).

        `tables` (B, MOST, COLUMNS) are the things in the pictures, `turned` (B) says whose questions are the turns of
        one conversation.
        """
        start = len(self.prefix) + GRID * GRID
        rows, named, apart, to_come = [], [], [], []
        for picture, (pairs, table, turns) in enumerate(zip(scenes, tables, turned)):
            row, things = [], [] if table[0, 0] == UNKNOWN else data.things_of(table)
            for n, (question, answer) in enumerate(pairs):
                asked = self.encode((TURN if turns and n else self.tail).format(question))
                said = self.encode(answer) + [self.end]
                ids = asked + said[:-1]
                wanted = [-100] * (len(asked) - 1) + said
                if len(row) + len(ids) > self.room and row:  # one picture must not make all the others' rows long
                    break
                first = start + (len(row) if turns else 0)
                mentioned = self.mentions.targets(tuple(asked), things)
                named += [(picture, len(row) + at, *rest) for at, *rest in mentioned]
                apart += [(picture, len(row) + at, *rest) for at, *rest in difference(mentioned)]
                come = self.mentions.to_come(said, answer, things)
                to_come += [(picture, len(row) + len(asked) + at, *rest) for at, *rest in come]
                row += zip(ids, wanted, range(first, first + len(ids)), [1 if turns else n + 1] * len(ids))
            rows.append(row)
        longest = max(map(len, rows))
        rows = [row + [(0, -100, 0, -1)] * (longest - len(row)) for row in rows]
        found = ((named, 7), (apart, 4), (to_come, 7))
        return *torch.tensor(rows).unbind(-1), *(torch.tensor(r).reshape(-1, columns) for r, columns in found)

    def mask(self, segments):
        """(B, 1, T, T) additive: causal, and only the own segment or the prefix (segment 0)."""
        n = segments.shape[1]
        seen = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
        seen &= torch.ones(n, n, dtype=torch.bool, device=segments.device).tril()
        return torch.zeros(seen.shape, device=segments.device).masked_fill(~seen, -1e9)[:, None]


def decode(decoder, x, positions, mask, keep):
    """LlamaModel's forward, only that the last layer computes no more than the rows `keep` (B, K) -> (B, K, width); and
    all rows' states after each of the others."""
    cos, sin = decoder.rotary_emb(x, positions)
    heads = lambda t: t.unflatten(-1, (-1, decoder.layers[0].self_attn.head_dim)).transpose(1, 2)
    states = []
    for layer in decoder.layers:
        attention, h = layer.self_attn, layer.input_layernorm(x)
        key, value = heads(attention.k_proj(h)), heads(attention.v_proj(h))
        key = key * cos[:, None] + rotate_half(key) * sin[:, None]
        if layer is decoder.layers[-1]:
            pick = lambda t: t.gather(1, keep[..., None].expand(-1, -1, t.shape[-1]))
            x, h, cos, sin, mask = pick(x), pick(h), pick(cos), pick(sin), pick(mask[:, 0])[:, None]
        query = heads(attention.q_proj(h))
        query = query * cos[:, None] + rotate_half(query) * sin[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, mask)
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        states.append(x)
    return decoder.norm(x), states[:-1]


def answer_loss(model, found, packer, features, kept, packed, device):
    """Cross-entropy of the answers, loss and values of `found`; `kept` (B, K): which patches the features are of, None:
    all. The others' places stay empty."""
    ids, wanted, positions, segments, named, apart, to_come = (t.to(device) for t in packed)
    n = len(ids)  # the first pictures of the batch
    features, kept = features[:n], None if kept is None else kept[:n]
    embed = model.get_input_embeddings()
    prefix = embed(torch.tensor(packer.prefix, device=device)).expand(n, -1, -1)
    first = prefix.shape[1] + features.shape[1]
    x = torch.cat([prefix, model.model.multi_modal_projector(features), embed(ids)], 1)
    patches = torch.arange(GRID * GRID, device=device).expand(n, -1) if kept is None else kept
    start = prefix.shape[1]
    positions = torch.cat([torch.arange(start, device=device).expand(n, -1), start + patches, positions], 1)
    segments = torch.cat([torch.zeros(n, first, dtype=torch.long, device=device), segments], 1)
    learn = wanted != -100
    keep = learn.long().topk(int(learn.sum(1).max()), 1).indices  # the rows that predict something, padded with others
    out, states = decode(model.model.language_model, x, positions, packer.mask(segments), keep + first)
    at = lambda depth, rows: states[depth - 1][rows[:, 0].long(), first + rows[:, 1].long()]
    finding, values = 0, {}
    for loss, depth, rows in (
        (found.named_loss, found.EARLY, named),
        (found.apart_loss, found.LATER, apart),
        (found.next_loss, found.LATER, to_come),
    ):
        part, right = loss(at(depth, rows), rows[:, 2:])
        finding, values = finding + part, values | right
    answers = F.cross_entropy(model.lm_head(out).flatten(0, 1), wanted.gather(1, keep).flatten())
    return answers, finding, values
