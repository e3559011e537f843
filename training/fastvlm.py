"""The model that sees photographs: FastVLM's layout on EfficientNet-Lite0, and its Hugging Face folder."""

import torch
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, GenerationConfig, LlamaConfig
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

import tower
from model import write

POSITIONS = tower.GRID**2
SIZE = 1184, 2, 160  # width (a unit for each kind), layers and inner width of the decoder
HEADS, HEAD = 8, 64  # each with keys and values of its own: what is learned of a picture goes through 512 values a layer
QUIET = 0.1  # what the units' values are multiplied by
LOUD = 100 * QUIET  # about the length of a loud position's units


def build(tokenizer, size=SIZE):
    """The model on random weights."""
    width, layers, inner = size
    ids = {t: tokenizer.token_to_id(t) for t in ("<s>", "</s>", "<image>", "<pad>")}
    special = {"bos_token_id": ids["<s>"], "eos_token_id": ids["</s>"], "pad_token_id": ids["<pad>"]}
    config = FastVlmConfig(
        vision_config=TimmWrapperConfig(
            architecture=tower.ARCHITECTURE, do_pooling=True, hidden_size=tower.WIDTH, model_args={},
        ),
        text_config=LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=width, intermediate_size=inner,
            num_hidden_layers=layers, num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=HEAD,
            max_position_embeddings=1024, rms_norm_eps=1e-5, tie_word_embeddings=True, **special,
        ),
        image_token_index=ids["<image>"], image_seq_length=POSITIONS, projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )  # fmt: skip
    model = FastVlmForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**special)
    return model


@torch.no_grad()
def show_units(model, units):
    """Make the projector hand the units' values on, each as a number of its own. Those left over are always LOUD together,
    so that the norms of the decoder hardly change how the values of different positions compare."""
    projector = model.model.multi_modal_projector.requires_grad_(False)
    units.put_into(projector.linear_1)
    projector.linear_2.weight.copy_(QUIET * torch.eye(len(projector.linear_2.weight)))
    spare = projector.linear_2.bias.zero_()[len(units) :]
    spare += LOUD / len(spare) ** 0.5


@torch.no_grad()
def begin(model, members, average, heads, seed=0):
    """Weights to begin with, by which a picture's kinds are named from the first step on. Each layer hands the units' mean on, in
    directions of its own, so that a number of the last state stands for a unit; and a token's embedding is long where it
    belongs to a unit's name. Most heads look at the picture.

    `members` (tokens, units): how much a token belongs to a name; `average` (units): values of the units in the middle of
    many pictures; `heads`: of the loss on units."""
    count = members.shape[1]
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(count, count, generator=generator)).Q
    loud = model.model.multi_modal_projector.linear_2.bias[-1]
    embeddings = model.get_input_embeddings().weight
    embeddings[:, :count] += 0.4 * members / members.norm(dim=1, keepdim=True).clamp(min=1e-6)
    embeddings[:, count:] = -0.4 / (embeddings.shape[1] - count) ** 0.5  # pictures have LOUD there
    still = HEAD // 2 - 1  # of a head's numbers the one that positions turn least
    for layer, own in zip(model.model.language_model.layers, directions.split(HEADS * HEAD)):
        attention = layer.self_attn
        attention.q_proj.weight.mul_(0.3)
        for head in range(HEADS * 3 // 4):
            attention.q_proj.weight[head * HEAD + still, count:] = -0.1
            attention.k_proj.weight[head * HEAD + still, count:] = 0.1
        attention.v_proj.weight.zero_()[: len(own), :count] = own
        attention.v_proj.weight[: len(own), count:] -= (own @ (QUIET * average / loud))[:, None] / len(embeddings[0, count:])
        attention.o_proj.weight.zero_()[:count, : len(own)] = 2 * own.T
    for head in heads:
        head.weight.zero_()[:, :count] = 8 * torch.eye(count)
        head.bias.zero_()


def load_tower(model, cache):
    weights = tower.load(cache).state_dict()
    found = {f"timm_model.{k}": v for k, v in weights.items() if not k.startswith("classifier.")}
    wanted = model.model.vision_tower.state_dict()
    assert found.keys() == wanted.keys(), found.keys() ^ wanted.keys()
    model.model.vision_tower.load_state_dict(found)


def export(model, tokenizer, folder):
    """Write the folder that transformers and `llava-convert` read."""
    size = {"height": tower.IMAGE_SIZE, "width": tower.IMAGE_SIZE}
    image_processor = {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True,
        "do_resize": True, "size": size, "resample": 3, "do_center_crop": True, "crop_size": size,
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": tower.MEAN, "image_std": tower.STD,
    }  # fmt: skip
    processor = {"patch_size": 32, "num_additional_image_tokens": 0, "vision_feature_select_strategy": "full"}
    write(model, tokenizer, folder, image_processor, processor)
