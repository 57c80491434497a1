"""Speed of the demo's distillation on this CPU: Retort beside the same work in PyTorch + transformers, in one run.

    cmake -S . -B build -DRETORT_BENCH=ON && cmake --build build --target retort distill_step_bench
    .venv/bin/python bench/training/distill_vs_torch.py [--rounds 3] [--steps 6] [--compile]

Teacher 28 M (assets/teacher), student four of its layers (18 M); B = 8 sequences of T = 256 tokens, 55 % of positions with a
loss, 0.9 forward KL + 0.1 cross entropy, AdamW, clipping. The PyTorch script applies the head at the positions with a loss only
and uses the fused AdamW, as a careful user would. Each round runs every side once, in its own process; ratios are of medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEQUENCES, LENGTH, TARGET_SHARE = 8, 256, 0.55


def torch_side(mode, teacher_folder, student_folder, steps, threads):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    teacher = AutoModelForCausalLM.from_pretrained(teacher_folder, dtype=torch.float32).eval()
    student = AutoModelForCausalLM.from_pretrained(student_folder, dtype=torch.float32).train()
    backbones = teacher.model, student.model
    if mode == "compiled bf16":
        backbones = tuple(torch.compile(b) for b in backbones)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    prompt = int(LENGTH * (1 - TARGET_SHARE))

    def step():
        tokens = torch.randint(0, student.config.vocab_size, (SEQUENCES, LENGTH))
        rows = slice(prompt - 1, LENGTH - 1)
        labels = tokens[:, prompt:].reshape(-1)
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in mode):
            with torch.no_grad():
                hidden = backbones[0](input_ids=tokens).last_hidden_state[:, rows]
                target = torch.log_softmax(teacher.lm_head(hidden).flatten(0, 1).float(), -1)
            logits = student.lm_head(backbones[1](input_ids=tokens).last_hidden_state[:, rows]).flatten(0, 1).float()
            logprobs = torch.log_softmax(logits, -1)
            kl = torch.nn.functional.kl_div(logprobs, target, reduction="batchmean", log_target=True)
            loss = 0.9 * kl + 0.1 * torch.nn.functional.nll_loss(logprobs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    if "compiled" in mode:
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    print(json.dumps({"tokens_per_second": steps * SEQUENCES * LENGTH / (time.perf_counter() - start)}))


def measure(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--compile", action="store_true", help="torch.compile too (needs a compiler, takes minutes)")
    parser.add_argument("--torch-side", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch_side:
        mode, teacher, student, steps, threads = options.torch_side
        return torch_side(mode, teacher, student, int(steps), int(threads))

    teacher = os.path.join(ROOT, "assets", "teacher")
    threads = len(os.sched_getaffinity(0))
    modes = ["bf16 autocast", "fp32 eager"] + (["compiled bf16"] if options.compile else [])
    figures = {"Retort": []} | {mode: [] for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        student = os.path.join(folder, "student")
        subprocess.run([os.path.join(options.bin, "retort"), "shrink", "--model", teacher, "--layers", "0,1,3,6", "--out", student],
                       check=True, capture_output=True)
        for _ in range(options.rounds):
            figures["Retort"].append(measure([os.path.join(options.bin, "distill_step_bench"), teacher, student,
                                              str(options.steps), str(SEQUENCES), str(LENGTH)]))
            for mode in modes:
                figures[mode].append(measure([sys.executable, os.path.abspath(__file__), "--torch-side", mode, teacher, student,
                                              str(options.steps), str(threads)]))
    median = {name: statistics.median(values) for name, values in figures.items()}
    print(f"{'':16}{'tokens/s':>10}  {'least … most':>16}  Retort is")
    for name, values in figures.items():
        ratio = "" if name == "Retort" else f"{median['Retort'] / median[name]:.2f}×"
        print(f"{name:16}{median[name]:10.0f}  {min(values):7.0f} …{max(values):7.0f}  {ratio}")
    print(json.dumps({"tokens_per_second": median, "threads": threads}))


if __name__ == "__main__":
    main()
