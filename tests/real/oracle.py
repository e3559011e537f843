"""What llama.cpp (the package xllamacpp) makes of ten prompts with a GGUF: for each the prompt's ids, 64 greedy tokens, and how
far each of them was above the runner-up. Asked twice: with the file as it is, and with the same weights in f32, so that
llama.cpp's own rounding of activations is out of it.

    python oracle.py MODEL.gguf OUT.json
"""

import json
import os
import sys
import urllib.request

import gguf
import numpy as np
import xllamacpp

STEPS = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, there was a little girl who lived in a small house near the forest.",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees Celsius, which is the same as",
    "The three primary colours are red, yellow and",
    "In 1969, Neil Armstrong and Buzz Aldrin",
    "Dear Sir or Madam,\n\nI am writing to",
    "1, 2, 4, 8, 16, 32,",
    "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nName three animals that can fly, and say for each how fast it is.<|im_end|>\n<|im_start|>assistant\n",
]


def dequantized(model, out):
    """Copies a GGUF with every tensor in f32."""
    reader, writer = gguf.GGUFReader(model), gguf.GGUFWriter(out, "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def start(model):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = model, 1024, 1
    params.n_gpu_layers, params.warmup, params.verbosity = 0, False, 0
    # Its threads wait for each other actively: two on a busy machine take far longer than one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # As our cache; llama.cpp's own default is f16.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(params)


def ask(model):
    server = start(model)

    def post(path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))

    cases = []
    for prompt in PROMPTS:
        ids = post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]
        tokens, margins = [], []
        # One request a token: an end of sequence among them does not end the comparison.
        while len(tokens) < STEPS:
            body = {"prompt": ids + tokens, "n_predict": 1, "temperature": 0, "n_probs": 2, "cache_prompt": True}
            [step] = post("/completion", body)["completion_probabilities"]
            first, second = step["top_logprobs"]
            tokens.append(first["id"])
            margins.append(first["logprob"] - second["logprob"])
        cases.append({"prompt": prompt, "prompt_ids": ids, "tokens": tokens, "margins": margins})
        print(f"    {prompt!r}: {STEPS} tokens", file=sys.stderr, flush=True)
    return cases


def main(model, out):
    plain = f"{model}.f32"
    dequantized(model, plain)
    try:
        answers = {"f32": ask(plain), "file": ask(model)}
    finally:
        os.remove(plain)
    with open(out, "w") as file:
        json.dump(answers, file)


main(*sys.argv[1:])
