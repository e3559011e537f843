"""Our CPU engine natively beside llama.cpp (the package xllamacpp) on SmolLM2-135M's shape: a token behind 64 others, and 64 positions at
once, in milliseconds. Both take turns on the same cores, one of them and then all; what counts is the best of each.

    python llama_cpp.py LLAVA_BENCH MODEL.gguf [--turns N] [--json] [--out FILE]

`cargo xtask bench --llama-cpp` brings both and runs it. Linux only: elsewhere a process cannot be kept to some cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import urllib.request

PROMPT = 64
TOKENS = 48
REPEATS = 5
SHAPE = "S (SmolLM2-135M)"
WANTED = 0.8


def llama_cpp(model):
    """On the cores this process may use, a thread each."""
    import xllamacpp

    threads = len(os.sched_getaffinity(0))
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = model, 1024, 1
    params.n_gpu_layers, params.warmup, params.verbosity = 0, True, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    found = {"decode@64": [], "prefill 64": []}
    for _ in range(REPEATS):
        body = {"prompt": list(range(1000, 1000 + PROMPT)), "n_predict": TOKENS, "ignore_eos": True, "temperature": 0, "cache_prompt": False}
        request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
        timings = json.load(urllib.request.urlopen(request))["timings"]
        assert timings["prompt_n"] == PROMPT, timings
        found["prefill 64"].append(timings["prompt_ms"])
        found["decode@64"].append(timings["predicted_per_token_ms"])
    return {metric: statistics.median(times) for metric, times in found.items()}


def ours(bench):
    options = json.dumps({"only": ["c"], "filter": [SHAPE], "seven_b": False, "tiny": False, "cpu": True})
    output = subprocess.run([bench, "--json", "--options", options], check=True, capture_output=True, text=True).stdout
    results = json.loads(output.splitlines()[-1])["results"]
    of_shape = {result["metric"]: result["value"] for result in results if result["name"] == SHAPE}
    return {metric: of_shape[metric] for metric in ["decode@64", "prefill 64"]}


def on_cores(cores, arguments):
    """What a process of this script prints that is kept to these cores."""
    command = [sys.executable, __file__, *arguments]
    process = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return json.loads(process.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("model")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--only", choices=["ours", "llama.cpp"], help="measure this one, on the cores there are, and print JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(ours(options.bench) if options.only == "ours" else llama_cpp(options.model)))
        return
    all_cores = sorted(os.sched_getaffinity(0))
    rows = []
    for cores in [all_cores[:1], all_cores] if len(all_cores) > 1 else [all_cores]:
        best = {"ours": {}, "llama.cpp": {}}
        for _ in range(options.turns):
            for engine, found in best.items():
                for metric, ms in on_cores(cores, [options.bench, options.model, "--only", engine]).items():
                    found[metric] = min(ms, found.get(metric, ms))
        for metric, ms in best["ours"].items():
            theirs = best["llama.cpp"][metric]
            rows.append({"threads": len(cores), "metric": metric, "ours_ms": ms, "llama_cpp_ms": theirs, "ratio": theirs / ms})
    if options.json:
        print(json.dumps(rows))
    else:
        print(f"{'threads':8}{SHAPE:24}{'ours, ms':>10}{'llama.cpp':>11}{'ratio':>8}  wanted")
        for row in rows:
            missed = "" if row["ratio"] >= WANTED else "  MISSED"
            print(f"{row['threads']:<8}{row['metric']:24}{row['ours_ms']:10.2f}{row['llama_cpp_ms']:11.2f}{row['ratio']:8.2f}  at least {WANTED}{missed}")
    if options.out:
        with open(options.out, "w") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
