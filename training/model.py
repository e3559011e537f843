"""The default model: LLaVA-1.5's layout at a hundredth of its width, and its Hugging Face folder."""

import json
from pathlib import Path

import torch
from transformers import CLIPVisionConfig, GenerationConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from data import IMAGE_SIZE
from preprocess import MEAN, STD

PATCH = 16
GRID = IMAGE_SIZE // PATCH
PROMPT = "USER: <image>\n{} ASSISTANT:"
TURN = "USER: {} ASSISTANT:"  # a further one; the tokenizer puts the space before it
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + ' ' }}{% else %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def normalize(pixels, device):
    """(B, S, S, 3) u8 to (B, 3, S, S) as the tower wants them."""
    x = torch.as_tensor(pixels).to(device).float() / 255
    x = (x - torch.tensor(MEAN, device=device)) / torch.tensor(STD, device=device)
    return x.permute(0, 3, 1, 2).contiguous()


def sincos(grid, width):
    """Sine-cosine position embedding (grid * grid, width): a start from which the tower knows what lies beside what."""
    k = width // 4
    freq = (1 / 100 ** (torch.arange(k) / k))[None]
    y, x = torch.meshgrid(torch.arange(grid) * 1.0, torch.arange(grid) * 1.0, indexing="ij")
    parts = [f(v.reshape(-1, 1) * freq) for v in (x, y) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, 1)


@torch.no_grad()
def whiten(model, pixels):
    """Start the patch embedding as the whitened principal components of real patches: mean colours would drown the
    edges."""
    weight = model.model.vision_tower.embeddings.patch_embedding.weight
    patches = torch.nn.functional.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    spread, directions = torch.linalg.eigh(torch.cov(patches.T))
    k = len(weight)
    whitened = directions[:, -k:] / (spread[-k:] + 0.05).sqrt()
    turn = torch.linalg.qr(torch.randn(k, k)).Q
    weight.copy_((whitened @ turn).T.view_as(weight))


def build(vision, text, tokenizer):
    """The model on random weights; `vision` and `text`: width and layers of tower and decoder."""
    (vision_width, vision_layers), (width, layers) = vision, text
    ids = {t: tokenizer.token_to_id(t) for t in ("<s>", "</s>", "<image>", "<pad>")}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=vision_width, intermediate_size=4 * vision_width, num_hidden_layers=vision_layers,
            num_attention_heads=vision_width // 32, image_size=IMAGE_SIZE, patch_size=PATCH,
            projection_dim=vision_width,
        ),
        text_config=LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32, max_position_embeddings=1024, rms_norm_eps=1e-5, tie_word_embeddings=False,
            bos_token_id=ids["<s>"], eos_token_id=ids["</s>"], pad_token_id=ids["<pad>"],
        ),
        image_token_index=ids["<image>"], image_seq_length=GRID * GRID, projector_hidden_act="gelu",
        vision_feature_layer=-1, vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    embeddings = model.model.vision_tower.embeddings
    with torch.no_grad():
        embeddings.position_embedding.weight[1:] = 0.3 * sincos(GRID, vision_width)
    model.generation_config = GenerationConfig(
        bos_token_id=ids["<s>"], eos_token_id=ids["</s>"], pad_token_id=ids["<pad>"]
    )
    return model


def export(model, tokenizer, folder):
    """Write the folder that transformers and `llava-convert` read."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = {
        "image_processor_type": "LlavaImageProcessor",
        "image_aspect_ratio": "pad",
        "do_pad": True,
        "do_convert_rgb": True,
        "do_resize": True, "size": {"shortest_edge": IMAGE_SIZE}, "resample": 3,
        "do_center_crop": True, "crop_size": size,
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    processor = {"patch_size": PATCH, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    write(model, tokenizer, folder, image_processor, processor)


def write(model, tokenizer, folder, image_processor, processor):
    """The folder of a model with these settings for pictures and for their places in a prompt."""
    folder = Path(folder)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    files = {
        "preprocessor_config.json": image_processor,
        "processor_config.json": {"processor_class": "LlavaProcessor", "image_token": "<image>", **processor},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "processor_class": "LlavaProcessor", "padding_side": "left",
            "model_max_length": 1024, "add_bos_token": True, "add_eos_token": False, "legacy": True,
            "extra_special_tokens": {"image_token": "<image>"}, **special,
        },
        "special_tokens_map.json": special,
    }  # fmt: skip
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
