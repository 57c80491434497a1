"""Ten optimizer steps on random small models of every family give transformers' and torch.optim.AdamW's loss curve (fp32).

Cross entropy alone, and distillation from a larger teacher (0.7 forward KL at temperature 2, times its square, + 0.3 cross
entropy), with accumulation, warm-up, cosine decay, clipping that bites and weight decay on matrices only.
"""
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import transformers as t
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from small_models import VOCABULARY, gpt2, opt, random_model, small  # noqa: E402

TOOL = Path(os.environ["RETORT_BIN"]) / "training_tool"
if not TOOL.exists():
    print("skipped: built without LibTorch")
    sys.exit(77)
torch.set_num_threads(1)  # the models are tiny
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()

STEPS, ACCUMULATION, WARMUP = 10, 2, 3
RATE, MINIMUM, CLIP, DECAY, BETAS = 5e-3, 5e-4, 0.5, 0.1, (0.9, 0.95)
LOSS = 1e-4  # absolute, of every step

configs = {
    "llama": t.LlamaConfig(**small),
    "mistral": t.MistralConfig(**small, sliding_window=9, tie_word_embeddings=True),
    "qwen2": t.Qwen2Config(**small),
    "qwen3": t.Qwen3Config(**small, head_dim=16, tie_word_embeddings=True),
    "gpt2": t.GPT2Config(**gpt2),
    "opt": t.OPTConfig(**opt),
}
teacher_config = t.Qwen3Config(**{**small, "hidden_size": 64, "num_hidden_layers": 3}, head_dim=16)


def random_batches():
    def sequence():
        length = int(torch.randint(4, 40, ()))
        return dict(tokens=torch.randint(6, VOCABULARY, (length,)).tolist(), prompt=int(torch.randint(1, length - 1, ())),
                    weight=float(torch.randint(1, 4, ())) / 2)
    return [[sequence() for _ in range(4)] for _ in range(STEPS * ACCUMULATION)]


def rate_at(step):
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    return MINIMUM + (RATE - MINIMUM) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def reference(model, teacher, batches):
    """Loss per step: Σ w · (0.7 · 4 · KL + 0.3 · CE) / Σ w, or plain cross entropy without a teacher."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([dict(params=matrices, weight_decay=DECAY), dict(params=others, weight_decay=0.0)], lr=1, betas=BETAS)
    curve = []
    for step in range(STEPS):
        total, weights = 0, 0
        for batch in batches[step * ACCUMULATION:(step + 1) * ACCUMULATION]:
            for sequence in batch:
                tokens = torch.tensor([sequence["tokens"]])
                rows = slice(sequence["prompt"] - 1, -1)
                labels = tokens[0, sequence["prompt"]:]
                logits = model(tokens).logits[0, rows]
                loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
                if teacher is not None:
                    with torch.no_grad():
                        soft = torch.log_softmax(teacher(tokens).logits[0, rows] / 2, -1)
                    kl = (soft.exp() * (soft - torch.log_softmax(logits / 2, -1))).sum()
                    loss = 0.7 * 4 * kl + 0.3 * loss
                total = total + sequence["weight"] * loss
                weights += sequence["weight"] * len(labels)
        (total / weights).backward()
        curve.append((total / weights).item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        optimizer.step()
        optimizer.zero_grad()
    return curve


def check(name, config, teacher):
    model = random_model(config, 1)
    batches = random_batches()
    terms = [dict(name="cross_entropy")] if teacher is None else [
        dict(name="forward_kl", weight=0.7, temperature=2), dict(name="cross_entropy", weight=0.3)]
    options = dict(steps=STEPS, accumulation=ACCUMULATION, learning_rate=RATE, min_learning_rate=MINIMUM, warmup=WARMUP, clip=CLIP,
                   weight_decay=DECAY, beta1=BETAS[0], beta2=BETAS[1])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder / "student")
        if teacher is not None:
            teacher.save_pretrained(folder / "teacher")
        (folder / "request.json").write_text(json.dumps(dict(batches=batches, terms=terms, options=options)))
        result = subprocess.run([TOOL, folder / "student", folder / "teacher" if teacher is not None else "-", folder / "request.json",
                                 folder / "out.json"], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert result.returncode == 0, f"{name}: {result.stderr}"
        found = [record["train/loss"] for record in json.loads((folder / "out.json").read_text())]
    expected = reference(model, teacher, batches)
    assert len(found) == STEPS, f"{name}: {len(found)} records"
    worst = max(abs(a - b) for a, b in zip(found, expected))
    assert worst <= LOSS, f"{name}: losses {found}, expected {expected}"
    assert abs(expected[0] - expected[-1]) > 0.1, f"{name}: nothing was learned in {expected}"
    print(f"{name}: {expected[0]:.4f} → {expected[-1]:.4f}, curves differ by {worst:.1e}")


teacher = random_model(teacher_config, 2)
for name, config in configs.items():
    check(name, config, None)
    check(f"{name}, distilled", config, teacher)
