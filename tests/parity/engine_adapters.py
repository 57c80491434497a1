"""Adapters beside the CPU engine against peft on random small models (F32): LoRA and prefix folders that peft wrote, stacked with
weights, over a model folder and over a GGUF file, and LoRA as a GGUF adapter."""
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
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from small_models import VOCABULARY, gpt2, opt, random_model, small  # noqa: E402

EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"
warnings.filterwarnings("ignore")
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()
torch.set_num_threads(1)
LOGPROBS = 1e-4  # absolute

models = {"llama": t.LlamaConfig(**small), "qwen3": t.Qwen3Config(**small, head_dim=8), "gpt2": t.GPT2Config(**gpt2),
          "opt": t.OPTConfig(**opt)}
targets = {"llama": ["q_proj", "k_proj", "v_proj", "down_proj"], "gpt2": ["attn.c_attn", "mlp.c_proj"], "opt": ["q_proj", "out_proj", "fc1"],
           "qwen3": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}


def edge(*arguments, **options):
    result = subprocess.run([EDGE, *map(str, arguments)], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"retort-edge {' '.join(map(str, arguments))}\n{result.stderr}"
    return result.stdout


def score(model, lines, *references):
    flags = [x for reference in references for x in ("--adapter", reference)]
    out = edge("score", "--model", model, "--file", "-", *flags, input="\n".join(json.dumps(dict(tokens=line)) for line in lines))
    return [json.loads(line)["logprobs"] for line in out.splitlines()]


def expected(model, lines):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([s])).logits[0].log_softmax(1)[:-1].gather(1, torch.tensor(s[1:]).unsqueeze(1))
                .squeeze(1).tolist() for s in lines]


def check(name, found, model, lines):
    wanted = expected(model, lines)
    assert [len(x) for x in found] == [len(x) for x in wanted]
    error = max(abs(a - b) for x, y in zip(found, wanted) for a, b in zip(x, y))
    assert error <= LOGPROBS, f"{name}: log-probabilities differ by {error}"
    print(f"{name}: {error:.1e}")


def fresh(family):
    return random_model(models[family], 1)


torch.manual_seed(5)
lines = [torch.randint(3, VOCABULARY, (n,)).tolist() for n in (40, 2, 17)]
for family in models:
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        fresh(family).save_pretrained(scratch / "base")
        edge("export", "--model", scratch / "base", "--out", scratch / "base.gguf")
        config = dict(lora_alpha=8, task_type="CAUSAL_LM", fan_in_fan_out=family == "gpt2", init_lora_weights=False)
        model = peft.get_peft_model(fresh(family), peft.LoraConfig(r=4, target_modules=targets[family], **config), "one")
        model.add_adapter("two", peft.LoraConfig(r=7, use_rslora=True, target_modules=targets[family][:2], **config))
        model.eval().save_pretrained(scratch)
        check(f"{family}, LoRA", score(scratch / "base", lines, scratch / "one"), model, lines)
        for name in ("one", "two"):
            edge("export", "--model", scratch / "base.gguf", "--adapter", scratch / name, "--out", scratch / f"{name}.gguf")
        model.base_model.set_adapter(["one", "two"])
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                for name, weight in (("one", 0.5), ("two", -1.5)):
                    if name in module.scaling:
                        module.scaling[name] *= weight
        check(f"{family}, two stacked, GGUF", score(scratch / "base.gguf", lines, scratch / "one.gguf:0.5", scratch / "two.gguf:-1.5"), model, lines)
        check(f"{family}, two stacked, folders", score(scratch / "base", lines, f"{scratch / 'one'}:0.5", f"{scratch / 'two'}:-1.5"), model, lines)
        prefix = peft.get_peft_model(fresh(family), peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")).eval()
        with torch.no_grad():
            prefix.prompt_encoder["default"].embedding.weight.normal_(0, 0.5)
        prefix.save_pretrained(scratch / "prefix")
        check(f"{family}, prefix", score(scratch / "base", lines, scratch / "prefix"), prefix, lines)
