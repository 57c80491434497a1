"""Adapters against peft on random small models of three families (fp32): scores of folders that peft wrote, ten-step loss curves
from the same start, folders that retort wrote and peft loads, merged against unmerged, and that nothing else changes."""
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import peft
    import torch
    import transformers as t
    from safetensors.torch import load_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from small_models import VOCABULARY, gpt2, opt, random_model, small  # noqa: E402

BIN = Path(os.environ["RETORT_BIN"])
if not (BIN / "training_tool").exists():
    print("skipped: built without LibTorch")
    sys.exit(77)
torch.set_num_threads(1)  # the models are tiny
warnings.filterwarnings("ignore")
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()

STEPS, CLIP, DECAY, BETAS = 10, 0.5, 0.1, (0.9, 0.95)
LOGPROBS = LOSS = 1e-4  # absolute
MERGED = 1e-5
models = {"qwen3": t.Qwen3Config(**small, head_dim=8), "gpt2": t.GPT2Config(**gpt2), "opt": t.OPTConfig(**opt)}
attention = {"qwen3": ["q_proj", "v_proj"], "gpt2": ["attn.c_attn"], "opt": ["q_proj", "v_proj"]}
whole_attention = {"qwen3": ["q_proj", "k_proj", "v_proj", "o_proj"], "gpt2": ["attn.c_attn", "attn.c_proj"],
                   "opt": ["q_proj", "k_proj", "v_proj", "out_proj"]}
mlp = {"qwen3": ["gate_proj", "up_proj", "down_proj"], "gpt2": ["mlp.c_fc", "mlp.c_proj"], "opt": ["fc1", "fc2"]}


def lora(family, **more):
    return peft.LoraConfig(**{**dict(r=4, lora_alpha=8, target_modules=attention[family], task_type="CAUSAL_LM",
                                     fan_in_fan_out=family == "gpt2"), **more})


adapters = {
    "lora": lambda family: lora(family),
    "rslora on every layer": lambda family: lora(family, use_rslora=True, target_modules=mlp[family] + whole_attention[family]),
    "dora": lambda family: lora(family, use_dora=True, target_modules=mlp[family] + attention[family]),
    "hybrid": lambda family: lora(family, target_modules=mlp[family], modules_to_save=whole_attention[family]),
    "prefix": lambda family: peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
}


def retort(*arguments, **options):
    result = subprocess.run([BIN / "retort", *map(str, arguments)], capture_output=True, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"}, **options)
    assert result.returncode == 0, f"retort {' '.join(map(str, arguments))}\n{result.stderr}"
    return result.stdout


def score(model, lines, *references):
    flags = [x for reference in references for x in ("--adapter", reference)]
    out = retort("score", "--model", model, "--file", "-", "--precision", "fp32", "--threads", "1", *flags,
                 input="\n".join(json.dumps(dict(tokens=line)) for line in lines))
    return [json.loads(line)["logprobs"] for line in out.splitlines()]


def expected_scores(model, lines):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([s])).logits[0].log_softmax(1)[:-1].gather(1, torch.tensor(s[1:]).unsqueeze(1))
                .squeeze(1).tolist() for s in lines]


def worst(found, expected):
    assert [len(x) for x in found] == [len(x) for x in expected]
    return max(abs(a - b) for x, y in zip(found, expected) for a, b in zip(x, y))


def random_sequence():
    length = int(torch.randint(4, 30, ()))
    return dict(tokens=torch.randint(6, VOCABULARY, (length,)).tolist(), prompt=int(torch.randint(1, length - 1, ())))


def reference(model, batches, rate):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([dict(params=[p for p in trained if p.dim() >= 2], weight_decay=DECAY),
                                   dict(params=[p for p in trained if p.dim() < 2], weight_decay=0.0)], lr=rate, betas=BETAS)
    curve = []
    for batch in batches:
        total, count = 0, 0
        for sequence in batch:
            tokens, prompt = torch.tensor([sequence["tokens"]]), sequence["prompt"]
            logits = model(input_ids=tokens).logits[0, prompt - 1:-1]
            total = total + torch.nn.functional.cross_entropy(logits, tokens[0, prompt:], reduction="sum")
            count += len(tokens[0, prompt:])
        (total / count).backward()
        curve.append((total / count).item())
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        optimizer.zero_grad()
    return curve


def wrapped(base, config, seed):
    """peft's model with every adapter weight drawn: B is zero at peft's own start."""
    model = peft.get_peft_model(base, config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.normal_(0, 0.2)
            elif "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
            elif parameter.requires_grad and "prompt" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def check_training(folder, batches, rate, extra):
    request = dict(batches=batches, adapter=str(folder / "peft"), terms=[dict(name="cross_entropy")],
                   options=dict(steps=STEPS, learning_rate=rate, schedule="constant", warmup=0, clip=CLIP, weight_decay=DECAY,
                                beta1=BETAS[0], beta2=BETAS[1]) | extra)
    (folder / "request.json").write_text(json.dumps(request))
    result = subprocess.run([BIN / "training_tool", folder / "base", "-", folder / "request.json", folder / "out.json"],
                            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr
    return [record["train/loss"] for record in json.loads((folder / "out.json").read_text())]


def check(family, kind):
    torch.manual_seed(len(family) + len(kind))
    lines = [torch.randint(6, VOCABULARY, (n,)).tolist() for n in (23, 2, 40, 11)]
    rate = 1e-2 if kind == "prefix" else 5e-3
    batches = [[random_sequence() for _ in range(4)] for _ in range(2)] * (STEPS // 2)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        base = random_model(models[family], 1)
        base.save_pretrained(folder / "base")
        model = wrapped(base, adapters[kind](family), 2)
        model.save_pretrained(folder / "peft")
        expected = expected_scores(model, lines)
        found = score(folder / "base", lines, folder / "peft")
        read = worst(found, expected)
        assert read <= LOGPROBS, f"{family}, {kind}: log-probabilities differ by {read}"
        assert worst(score(folder / "base", lines), expected) > 0.05, f"{family}, {kind}: the adapter does nothing"
        merged = 0
        if kind != "prefix":
            retort("merge", "--model", folder / "base", "--adapter", folder / "peft", "--out", folder / "merged", "--save-dtype", "fp32")
            merged = worst(score(folder / "merged", lines), found)
            assert merged <= MERGED, f"{family}, {kind}: merged differs by {merged}"

        curve = check_training(folder, batches, rate, {})
        wanted = reference(model.double(), batches, rate)  # in fp32 peft itself strays by 2e-3 from this on OPT's ReLUs
        curves = max(abs(a - b) for a, b in zip(curve, wanted))
        assert len(curve) == STEPS and curves <= LOSS, f"{family}, {kind}: losses {curve}, expected {wanted}"
        assert wanted[-2] < wanted[0] - 0.05, f"{family}, {kind}: nothing was learned in {wanted}"
        assert check_training(folder, batches, rate, {"checkpoint_activations": True}) == curve, f"{family}, {kind}: checkpointing"

        before, after = load_file(folder / "base/model.safetensors"), load_file(folder / "after/model.safetensors")
        whole = tuple(whole_attention[family]) if kind == "hybrid" else ()
        for name in before:
            named = any(part in name for part in whole)
            unused = 2 if "decoder.embed_positions" in name else 0  # rows that no position reads and no family keeps
            assert torch.equal(before[name][unused:], after[name][unused:]) != named, f"{family}, {kind}: {name}"

        again = random_model(models[family], 1)
        back = expected_scores(peft.PeftModel.from_pretrained(again, folder / "adapter").eval(), lines)
        written = worst(score(folder / "base", lines, folder / "adapter"), back)
        assert written <= LOGPROBS, f"{family}, {kind}: peft reads another adapter, {written}"
        stored = {name: value.shape for name, value in load_file(folder / "peft/adapter_model.safetensors").items()}
        ours = {name: value.shape for name, value in load_file(folder / "adapter/adapter_model.safetensors").items()}
        assert stored == ours, f"{family}, {kind}: {set(stored.items()) ^ set(ours.items())}"
    print(f"{family}, {kind}: scores {read:.1e}, merged {merged:.1e}, {wanted[0]:.4f} → {wanted[-2]:.4f}, curves {curves:.1e}, "
          f"read back {written:.1e}", flush=True)


def check_stack():
    """Two adapters with weights as one; TIES as peft computes it on the changes of every tensor."""
    from peft.utils.merge_utils import ties
    torch.manual_seed(5)
    lines = [torch.randint(6, VOCABULARY, (30,)).tolist()]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for seed in (1, 2):
            base = random_model(models["qwen3"], 1)
            base.save_pretrained(folder / "base")
            wrapped(base, lora("qwen3", target_modules=mlp["qwen3"]), seed).save_pretrained(folder / f"a{seed}")
        flags = ["--adapter", f"{folder}/a1:0.7", "--adapter", f"{folder}/a2:0.5"]
        retort("merge", "--model", folder / "base", *flags, "--out", folder / "linear")
        found = score(folder / "base", lines, *flags[1::2])
        assert worst(score(folder / "linear", lines), found) <= MERGED
        assert worst(score(folder / "base", lines, folder / "a1"), found) > 0.01
        retort("merge", "--model", folder / "base", *flags, "--method", "ties", "--density", "0.3", "--out", folder / "ties")
        before, after = load_file(folder / "base/model.safetensors"), load_file(folder / "ties/model.safetensors")
        parts = [load_file(folder / f"a{seed}/adapter_model.safetensors") for seed in (1, 2)]
        for name in before:
            key = "base_model.model." + name.removesuffix(".weight")
            wanted = before[name]
            if f"{key}.lora_A.weight" in parts[0]:
                deltas = [2 * part[f"{key}.lora_B.weight"] @ part[f"{key}.lora_A.weight"] for part in parts]
                wanted = wanted + ties(deltas, torch.tensor([0.7, 0.5]), 0.3)
            assert (after[name] - wanted).abs().max() <= 1e-6, name
    print("stack and merge: passed")


chosen = sys.argv[1:]
for family in models:
    for kind in adapters:
        if not chosen or family in chosen or kind in chosen:
            check(family, kind)
check_stack()
