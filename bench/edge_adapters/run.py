"""Eight different adapters in one batch of sixteen sequences beside one adapter for all of them, and beside the base alone: tokens per second
of `retort-edge bench`, in turns, median of the rounds.

  run.py --model F.gguf --work FOLDER [--retort BIN_FOLDER] [--rank 8] [--targets q_proj,v_proj|all-linear] [--rounds 3]
The model is of the Qwen3-0.6B shape (bench/edge_vs_peers makes it); adapters are drawn at random in its folder's shapes."""
import argparse, json, os, pathlib, statistics, subprocess, sys

import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--work", required=True, type=pathlib.Path)
parser.add_argument("--retort", default=here.parents[1] / "build/bin", type=pathlib.Path)
parser.add_argument("--rank", default=8, type=int)
parser.add_argument("--targets", default="q_proj,v_proj")
parser.add_argument("--rounds", default=3, type=int)
parser.add_argument("--threads", default=os.cpu_count(), type=int)
options = parser.parse_args()
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, FFN = 1024, 28, 16, 8, 128, 3072
shapes = {"self_attn.q_proj": (HEADS * HEAD, HIDDEN), "self_attn.k_proj": (KV_HEADS * HEAD, HIDDEN), "self_attn.v_proj": (KV_HEADS * HEAD, HIDDEN),
          "self_attn.o_proj": (HIDDEN, HEADS * HEAD), "mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN), "mlp.down_proj": (HIDDEN, FFN)}
chosen = [n for n in shapes if options.targets == "all-linear" or n.split(".")[1] in options.targets.split(",")]


def make(number):
    folder = options.work / f"{options.targets.replace(',', '-')}-r{options.rank}-{number}"
    if not (folder / "adapter_config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(number)
        tensors = {}
        for layer in range(LAYERS):
            for name in chosen:
                out, width = shapes[name]
                prefix = f"base_model.model.model.layers.{layer}.{name}"
                tensors[f"{prefix}.lora_A.weight"] = torch.randn(options.rank, width) / width**0.5
                tensors[f"{prefix}.lora_B.weight"] = torch.randn(out, options.rank) * 0.01
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(dict(
            peft_type="LORA", r=options.rank, lora_alpha=2 * options.rank, target_modules=[n.split(".")[1] for n in chosen])))
    return folder


def bench(adapters):
    flags = [x for a in adapters for x in ("--adapter", a)]
    result = subprocess.run([options.retort / "retort-edge", "bench", "--model", options.model, "--prompt", "64", "--generate", "48", "--repeat", "1", "--answers", "0",
                             "--batch", "16", "--threads", str(options.threads), "--json", "-", *map(str, flags)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout)["decode_tokens_per_second"]


folders = [make(i) for i in range(8)]
cases = {"base alone": [], "one adapter": folders[:1], "eight adapters": folders}
seen = {name: [] for name in cases}
for _ in range(options.rounds):
    for name, adapters in cases.items():
        seen[name].append(bench(adapters))
middle = {name: statistics.median(values) for name, values in seen.items()}
for name, value in middle.items():
    print(f"{name:16}{value:8.1f} tokens/s")
print(f"rank {options.rank}, {options.targets}: eight / one {middle['eight adapters'] / middle['one adapter']:.2f}, one / base {middle['one adapter'] / middle['base alone']:.2f}")
