"""Tiny random LLaVA folders and what transformers computes with them, stage by stage, in f32."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import bundle
import pictures
import text

STEPS = 32
# Where the top two logits are closer than this, either may win.
MARGIN = 6e-3
QUANTIZATIONS = ["f32", "f16", "q8", "q4"]
PROMPT = "What is in this picture?"

# Between them: grouped, multi-query and full attention; tied and untied heads; head_dim apart from hidden / heads; both
# select strategies, one and several feature layers; biases; rope variants; widths no quantization block divides;
# pictures no patch divides; three weight types; the three namings of keys that checkpoints come in; shards.
SPECS = {
    "gqa": {
        "seed": 11,
        "dtype": "float32",
        "naming": "saved",
        "max_shard_size": "200KB",
        "text": {"num_attention_heads": 4, "num_key_value_heads": 2},
        "vision": {"image_size": 28, "patch_size": 7},
        "llava": {},
        "picture": "rgb.png",
    },
    "tied": {
        "seed": 22,
        "dtype": "bfloat16",
        "naming": "new",
        "text": {
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 24,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        "vision": {"image_size": 42, "patch_size": 14, "num_hidden_layers": 2},
        "llava": {"vision_feature_layer": -1, "vision_feature_select_strategy": "full", "tie_word_embeddings": True},
        "picture": "lossless.webp",
    },
    "biased": {
        "seed": 13,
        "dtype": "float16",
        "naming": "old",
        "text": {
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": 80,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        "vision": {
            "image_size": 32,
            "patch_size": 6,
            "hidden_size": 40,
            "intermediate_size": 72,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
        },
        "llava": {"vision_feature_layer": [-2, -1], "multimodal_projector_bias": False},
        "picture": "palette.png",
    },
}


def randomize(model, seed):
    """Weights with which every stage matters and logits are of order 1 to 10 (the last norm's scale sees to that)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            scale = 3 if name == "model.language_model.norm.weight" else 1
            parameter.data = scale * (1 + 0.2 * noise)
        elif name.endswith("bias"):
            parameter.data = 0.1 * noise
        elif "vision_tower.embeddings" in name and "patch" not in name:
            parameter.data = 0.5 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            # Small beside what the layers add, or a tied head would only repeat its input.
            parameter.data = 0.15 * noise
        else:
            parameter.data = 1.3 * noise / np.sqrt(np.prod(parameter.shape[1:]))


def rename(folder, naming):
    """Gives a saved folder the keys of published checkpoints ("old") or of the modules themselves ("new")."""
    prefixes = {
        "old": {"vision_tower.": "vision_tower.vision_model."},
        "new": {
            "vision_tower.": "model.vision_tower.",
            "multi_modal_projector.": "model.multi_modal_projector.",
            "language_model.model.": "model.language_model.",
            "language_model.lm_head.": "lm_head.",
        },
    }[naming]
    tensors = {}
    for key, tensor in load_file(folder / "model.safetensors").items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        tensors[prefixes.get(prefix, "") + key.removeprefix(prefix)] = tensor
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if naming == "old":
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["torch_dtype"] = config.pop("dtype")
        rope = config["text_config"].pop("rope_parameters")
        config["text_config"]["rope_theta"] = rope.pop("rope_theta")
        config["text_config"]["rope_scaling"] = rope
        path.write_text(json.dumps(config, indent=2) + "\n")


def write_model(folder, spec):
    """A Hugging Face LLaVA folder made from `spec`."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = text.llama()
    image_token = tokenizer.token_to_id("<image>")
    base = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256}
    ids = {"vocab_size": tokenizer.get_vocab_size() + 5, "bos_token_id": 1, "eos_token_id": 2}
    text_config = LlamaConfig(**{**base, **ids, **spec["text"]})
    base = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision_config = CLIPVisionConfig(**{**base, **spec["vision"]})
    config = LlavaConfig(vision_config=vision_config, text_config=text_config, image_token_id=image_token, **spec["llava"])
    model = LlavaForConditionalGeneration(config)
    randomize(model, spec["seed"])
    model.tie_weights()
    model.to(getattr(torch, spec["dtype"])).save_pretrained(folder, max_shard_size=spec.get("max_shard_size", "1GB"))
    if spec["naming"] != "saved":
        rename(folder, spec["naming"])
    side = vision_config.image_size
    settings = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    processor = json.loads(CLIPImageProcessorPil(**settings).to_json_string())
    if spec["naming"] == "new":
        nested = {"image_processor": processor, "patch_size": vision_config.patch_size, "processor_class": "LlavaProcessor"}
        (folder / "processor_config.json").write_text(json.dumps(nested, indent=2) + "\n")
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


class Reference:
    """transformers on the folder's weights, or on those of a bundle made from it."""

    prompt = "USER: <image>\n{prompt} ASSISTANT:"

    def __init__(self, folder):
        self.model = self.load_model(folder)
        self.tokenizer = text.Tokenizer.from_file(str(folder / "tokenizer.json"))
        plain = folder / "preprocessor_config.json"
        settings = json.loads((plain if plain.exists() else folder / "processor_config.json").read_text())
        self.processor = CLIPImageProcessorPil(**settings.get("image_processor", settings))

    def load_model(self, folder):
        model, report = LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not report["missing_keys"] and not report["unexpected_keys"], report
        return model

    def load_bundle(self, folder):
        parameters = dict(self.model.named_parameters())
        prefixes = {
            "vision_tower.vision_model.": "model.vision_tower.",
            "multi_modal_projector.": "model.multi_modal_projector.",
            "language_model.model.": "model.language_model.",
            "language_model.": "",
        }
        for name, values in bundle.read(folder).items():
            prefix = next(prefix for prefix in prefixes if name.startswith(prefix))
            parameter = parameters.pop(prefixes[prefix] + name.removeprefix(prefix))
            parameter.data = torch.from_numpy(np.array(values)).reshape(parameter.shape)
        # Layers above the one LLaVA reads from may be left out of a bundle; nothing else may.
        assert all(name.startswith("model.vision_tower.") for name in parameters), list(parameters)

    def hidden(self, pixels):
        """What the projector reads."""
        config = self.model.config
        layers = config.vision_feature_layer
        states = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        hidden = torch.cat([states[layer] for layer in (layers if isinstance(layers, list) else [layers])], dim=-1)
        return hidden[:, 1:] if config.vision_feature_select_strategy == "default" else hidden

    @torch.no_grad()
    def run(self, picture, prompt=PROMPT):
        """Every stage for one picture and prompt, and greedy decoding up to the end of sequence."""
        model = self.model
        pixels = torch.from_numpy(np.asarray(self.processor(picture)["pixel_values"][0], dtype=np.float32))[None]
        hidden = self.hidden(pixels)
        features = model.model.multi_modal_projector(hidden)
        prompt_text = self.prompt.format(prompt=prompt).replace("<image>", "<image>" * hidden.shape[1])
        ids = self.tokenizer.encode(prompt_text).ids
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)), "pixel_values": pixels}
        settings = {"do_sample": False, "max_new_tokens": STEPS, "output_logits": True, "return_dict_in_generate": True}
        generated = model.generate(**inputs, **settings)
        tokens = generated.sequences[0, len(ids) :].tolist()
        best = torch.topk(torch.cat(generated.logits), 2).values
        margins = [round(margin, 6) for margin in (best[:, 0] - best[:, 1]).tolist()]
        first = generated.logits[0][0]
        stages = {"pixel_values": pixels[0], "vision_hidden_state": hidden[0], "image_features": features[0], "logits": first}
        return {"prompt_ids": ids, "tokens": tokens, "margins": margins}, stages


def convert(binary, folder, quantization):
    out = Path(tempfile.mkdtemp()) / "bundle"
    subprocess.run([binary, folder, out, "--quant", quantization], check=True, stdout=subprocess.DEVNULL)
    return out


def describe(name, result, logits):
    """Random models can be dull, and a golden of a dull one proves little: prints how lively this one is."""
    distinct, peak = len(set(result["tokens"])), float(logits.abs().max())
    print(f"{name}: {len(result['tokens'])} tokens, {distinct} distinct, least margin {min(result['margins'])}, peak logit {peak:.1f}")
    return distinct >= 8 and 1 < peak < 30


def make(root, binary):
    for name, spec in SPECS.items():
        folder = root / "checkpoints" / name
        write_model(folder, spec)
        picture = pictures.load(root / "pictures" / spec["picture"])
        expected = {"picture": spec["picture"], "prompt": PROMPT, "quantizations": {}}
        tensors = {}
        for quantization in QUANTIZATIONS:
            reference = Reference(folder)
            if binary:
                reference.load_bundle(convert(binary, folder, quantization))
            elif quantization != "f32":
                continue
            expected["quantizations"][quantization], stages = reference.run(picture)
            assert describe(f"{name} {quantization}", expected["quantizations"][quantization], stages["logits"])
            tensors |= {f"{quantization}.{stage}": values.contiguous() for stage, values in stages.items() if stage != "pixel_values"}
            tensors["pixel_values"] = stages["pixel_values"].contiguous()
        (root / "checkpoints" / f"{name}.json").write_text(json.dumps(expected) + "\n")
        save_file(tensors, root / "checkpoints" / f"{name}.safetensors")


def fresh(seed, out, binary):
    """A checkpoint no one has seen: `out/model`, pictures of every kind, `out/batch.jsonl` to caption them and the
    expected tokens in `out/expected.json`."""
    rng = np.random.default_rng(seed)
    groups, heads = int(rng.choice([2, 4])), int(rng.choice([2, 3]))
    side, patch = [(56, 8), (45, 9), (70, 10), (64, 12)][rng.integers(4)]
    spec = {
        "seed": seed,
        "dtype": "bfloat16",
        "naming": str(rng.choice(["saved", "new", "old"])),
        "text": {
            "hidden_size": int(rng.choice([96, 192])),
            "intermediate_size": int(rng.choice([96, 160, 192])),
            "num_hidden_layers": int(rng.choice([2, 3])),
            "num_attention_heads": groups * heads,
            "num_key_value_heads": groups,
            "head_dim": int(rng.choice([16, 32, 64])),
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": float(rng.choice([1e4, 1e5, 1e6]))},
        },
        "vision": {"image_size": side, "patch_size": patch, "hidden_size": 64, "intermediate_size": 128},
        "llava": {"tie_word_embeddings": True},
    }
    write_model(out / "model", spec)
    print(json.dumps(spec))
    names = pictures.draw(out / "pictures")
    kinds = ["rgb.png", "rgba.png", "grey.png", "grey_alpha.png", "palette.png", "large.png", "photo.jpg", "exif6.jpg", "exif3.jpg"]
    expected = []
    for quantization in QUANTIZATIONS if binary else ["f32"]:
        reference = Reference(out / "model")
        if binary:
            reference.load_bundle(convert(binary, out / "model", quantization))
        for name in [name for name in names if name in kinds]:
            result, stages = reference.run(pictures.load(out / "pictures" / name))
            describe(f"{quantization} {name}", result, stages["logits"])
            expected.append({"quantization": quantization, "picture": f"pictures/{name}", "prompt": PROMPT, **result})
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    shown = [name for name in names if name in kinds]
    lines = [{"image": str(out.resolve() / "pictures" / name), "prompt": PROMPT, "max_tokens": STEPS} for name in shown]
    (out / "batch.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def compare(expected, results, quantization):
    """Results of `cargo xtask caption --batch batch.jsonl --json`, one object a line, against `expected.json`."""
    wanted = [case for case in json.loads(expected.read_text()) if case["quantization"] == quantization]
    found = [json.loads(line) for line in results.read_text().splitlines() if line.startswith("{")]
    assert len(wanted) == len(found), f"{len(found)} results for {len(wanted)} pictures"
    failures = 0
    for case, result in zip(wanted, found):
        certain = next((at for at, margin in enumerate(case["margins"]) if margin <= MARGIN), len(case["tokens"]))
        same = result["token_ids"][:certain] == case["tokens"][:certain]
        failures += not same
        print(f"{case['picture']}: {'same' if same else 'DIFFERENT'} over {certain} of {len(case['tokens'])} tokens")
    return failures
