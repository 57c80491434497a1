"""LoRA of a model of Qwen2.5-0.5B's shape (random weights made here): Retort beside transformers + peft, in one run.

    .venv/bin/python bench/training/lora_vs_peft.py [--device cpu|cuda] [--rounds 3] [--steps 6] [--sequences 8] [--frozen q8_0,q4_0]

Hidden 896, 24 layers, 14 query and 2 key/value heads of 64, FFN 4864, vocabulary 151,936, tied. LoRA of rank 16 on queries and values,
sequences of 512 tokens that all have a loss, AdamW, clipping. Both sides in the precision that Retort chooses on the machine (bf16 on
GPUs and on CPUs that multiply it in hardware). Each round runs every side once, in a process of its own; tokens/s are medians over
steps after the first two, ratios of medians over rounds. Memory: the process on a CPU (weights' file included, as both map it), the
allocator's peak on a GPU. The same is measured of Retort's full fine-tuning, and of LoRA over frozen bases in 8 and 4 bits.

Needs torch, transformers, peft, the program zstd, build/bin/retort and assets/data.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTH, RANK, ALPHA, RATE, WARM = 512, 16, 32, 1e-4, 2
SHAPE = dict(vocab_size=151936, hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
             intermediate_size=4864, max_position_embeddings=2048, tie_word_embeddings=True, rms_norm_eps=1e-6, rope_theta=1e6)


def make_model(folder):
    import torch
    import transformers
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(1)
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE)).to(torch.bfloat16).save_pretrained(folder)
    tokenizer = ROOT / "tests/fixtures/tokenizers/qwen3"
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes(subprocess.run(["zstd", "-dcq", tokenizer / f"{name}.zst"], check=True, capture_output=True).stdout)
    (folder / "tokenizer_config.json").write_bytes((tokenizer / "tokenizer_config.json").read_bytes())


def make_text(path):
    """One document, longer than any run: every example is 512 tokens of it."""
    pairs = subprocess.run(["zstd", "-dcq", ROOT / "assets/data/classical_modern_train.tsv.zst"], check=True, capture_output=True).stdout
    path.write_text(" ".join(pairs.decode()[:2_000_000].split()))


def retort_side(model, text, out, options, *more):
    command = [options.bin / "retort", "train", "--model", model, "--data", text, "--validation-share", "0", "--max-length", LENGTH,
               "--batch-tokens", options.sequences * LENGTH, "--steps", options.steps, "--log-every", 1, "--save-seconds", 0,
               "--learning-rate", RATE, "--device", options.device, "--out", out, "--overwrite", *more]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    result = json.loads((out / "train.json").read_text())
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    speeds = [record["train/tokens_per_second"] for record in records][WARM:]
    return dict(tokens_per_second=statistics.median(speeds), peak_bytes=result["peak_memory_bytes"],
                trained=result["trainable_parameters"], precision=result["compute"]["precision"])


def peft_side(folder, device, precision, sequences, steps):
    import peft
    import torch
    import transformers
    torch.manual_seed(1)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).train()
    model = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, fused=True)
    speeds = []
    for _ in range(steps):
        tokens = torch.randint(0, 151643, (sequences, LENGTH)).to(device)
        start = time.perf_counter()
        with torch.autocast(device, dtype, enabled=precision == "bf16"):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # waits for the device
        speeds.append(sequences * LENGTH / (time.perf_counter() - start))
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(dict(tokens_per_second=statistics.median(speeds[WARM:]), peak_bytes=peak, trained=sum(p.numel() for p in trained))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--sequences", type=int, help="of a step; default 8 on a GPU, 2 on a CPU")
    parser.add_argument("--frozen", default="q8_0,q4_0", help="encodings of a frozen base, measured once each")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--peft-side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.sequences = options.sequences or (8 if options.device == "cuda" else 2)
    if options.peft_side:
        return peft_side(options.peft_side[0], options.device, options.peft_side[1], options.sequences, options.steps)

    lora = ["--adapter", "lora", "--lora-rank", RANK, "--lora-alpha", ALPHA]
    figures = {"Retort LoRA": [], "transformers + peft": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_model(folder / "model")
        make_text(folder / "text.txt")

        def retort(*more):
            return retort_side(folder / "model", folder / "text.txt", folder / "run", options, *more)

        for _ in range(options.rounds):
            figures["Retort LoRA"].append(retort(*lora))
            command = [sys.executable, __file__, "--device", options.device, "--steps", options.steps, "--sequences", options.sequences,
                       "--peft-side", folder / "model", figures["Retort LoRA"][0]["precision"]]
            result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            if result.returncode != 0:
                sys.exit(result.stderr[-3000:])
            figures["transformers + peft"].append(json.loads(result.stdout.splitlines()[-1]))
        figures["Retort, full"] = [retort()]
        for encoding in filter(None, options.frozen.split(",")):
            figures[f"Retort LoRA over {encoding}"] = [retort(*lora, "--base-encoding", encoding)]

    median = {name: {key: statistics.median(run[key] for run in runs) for key in ("tokens_per_second", "peak_bytes", "trained")}
              for name, runs in figures.items()}
    ours, peers, full = median["Retort LoRA"], median["transformers + peft"], median["Retort, full"]
    print(f"{'':24}{'tokens/s':>10}{'peak, GB':>10}{'trained':>14}")
    for name, row in median.items():
        print(f"{name:24}{row['tokens_per_second']:10.0f}{row['peak_bytes'] / 1e9:10.2f}{row['trained']:14,.0f}")
    ratios = {"speed_vs_peft": ours["tokens_per_second"] / peers["tokens_per_second"],
              "memory_vs_peft": ours["peak_bytes"] / peers["peak_bytes"], "memory_vs_full": ours["peak_bytes"] / full["peak_bytes"]}
    print(f"LoRA: {ratios['speed_vs_peft']:.2f}× the speed of transformers + peft, {ratios['memory_vs_peft']:.2f}× its memory; "
          f"{ratios['memory_vs_full']:.2f}× the memory of full fine-tuning")
    report = {"device": options.device, "sequences": options.sequences, "length": LENGTH,
              "precision": figures["Retort LoRA"][0]["precision"], "median": median, **ratios}
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
