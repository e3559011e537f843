"""Models on convolutional towers. Their weights are too many to be kept here (timm lets no width of EfficientNet be chosen):
`checkpoints/<name>` has a config.json alone, and `llava-convert synthetic` makes the rest of the folder from it."""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import FastVlmForConditionalGeneration

import bundle
import checkpoints
import pictures

# By folder: the picture that is asked about.
SPECS = {"lite0": "rgb.png", "mci3": "palette.png"}
# The chat formats by the kind of decoder.
PROMPTS = {
    "llama": "USER: <image>\n{prompt} ASSISTANT:",
    "qwen2": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\n{prompt}<|im_end|>\n<|im_start|>assistant\n",
}

# What `save_pretrained` calls what the converter writes as LLaVA-1.5's publication did.
PREFIXES = {"language_model.model.": "model.language_model.", "language_model.": "", "": "model."}


def key(name):
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[prefix] + name.removeprefix(prefix)


def write_model(folder, binary):
    """The whole folder of a config.json, with the keys of `save_pretrained`."""
    out = Path(tempfile.mkdtemp()) / "model"
    subprocess.run([binary, "synthetic", folder / "config.json", out], check=True, stdout=subprocess.DEVNULL)
    index = out / "model.safetensors.index.json"
    tensors = {}
    for shard in set(json.loads(index.read_text())["weight_map"].values()):
        tensors |= {key(name): values for name, values in load_file(out / shard).items()}
        (out / shard).unlink()
    index.unlink()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


class Reference(checkpoints.Reference):
    def load_model(self, folder):
        model, report = FastVlmForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        missing = [name for name in report["missing_keys"] if not name.endswith("num_batches_tracked")]
        assert not missing and not report["unexpected_keys"], report
        return model.eval()

    @torch.no_grad()
    def load_bundle(self, folder):
        """A bundle's convolutions have folded in what stands beside them, which therefore becomes nothing here."""
        tower = self.model.model.vision_tower
        for module in tower.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for value, number in [("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1 - module.eps)]:
                    getattr(module, value).fill_(number)
            if isinstance(module, torch.nn.Conv2d) and module.bias is None:
                module.bias = torch.nn.Parameter(torch.zeros(module.out_channels))
            if hasattr(module, "gamma"):
                module.gamma.fill_(1)
        parameters = dict(self.model.named_parameters())
        for name, values in bundle.read(folder).items():
            parameter = parameters.pop(key(name))
            parameter.data = torch.from_numpy(np.array(values)).reshape(parameter.shape)
        assert all(".bn" in name or name.endswith("gamma") for name in parameters), list(parameters)

    def hidden(self, pixels):
        return self.model.model.vision_tower(pixels).last_hidden_state.flatten(2).permute(0, 2, 1)


def make(root, binary):
    assert binary, "the weights of these models are made by llava-convert: give --convert"
    for name, picture in SPECS.items():
        folder = write_model(root / "checkpoints" / name, binary)
        expected = {"picture": picture, "prompt": checkpoints.PROMPT, "quantizations": {}}
        tensors = {}
        for quantization in checkpoints.QUANTIZATIONS:
            reference = Reference(folder)
            # In f32 nothing is rounded, so that what is folded is compared with what is not.
            if quantization != "f32":
                reference.load_bundle(checkpoints.convert(binary, folder, quantization))
            reference.prompt = PROMPTS[reference.model.config.text_config.model_type]
            result, stages = reference.run(pictures.load(root / "pictures" / picture))
            assert checkpoints.describe(f"{name} {quantization}", result, stages["logits"])
            assert 0.2 < float(stages["image_features"].std()) < 5, "features that the tolerance of the tests says nothing of"
            expected["quantizations"][quantization] = result
            tensors |= {f"{quantization}.{stage}": values.contiguous() for stage, values in stages.items() if stage != "pixel_values"}
            tensors["pixel_values"] = stages["pixel_values"].contiguous()
        (root / "checkpoints" / f"{name}.json").write_text(json.dumps(expected) + "\n")
        save_file(tensors, root / "checkpoints" / f"{name}.safetensors")
