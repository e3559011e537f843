"""The model that sees photographs: FastVLM's layout on EfficientNet-Lite0, and its Hugging Face folder."""

import torch
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, GenerationConfig, LlamaConfig
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

import tower
from model import write

POSITIONS = tower.GRID**2
SIZE = 1184, 2, 448  # width (a unit for each kind), layers and inner width of the decoder
HEADS, HEAD = 4, 64  # each with keys and values of its own: what is learned of a picture goes through 256 values a layer
QUIET = 0.1  # what the units' values are multiplied by
LOUD = 300 * QUIET  # about the greatest length of a position's units


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
