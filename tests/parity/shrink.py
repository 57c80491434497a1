"""Cut models load in transformers and answer there as here: every family, each kind of cut, logits side by side (fp32).

At last the shipped teacher is cut by calibration texts, and transformers computes the likelihood that the table tells.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import transformers as t
    from safetensors.torch import load_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

BIN = Path(os.environ["RETORT_BIN"])
if not (BIN / "model_tool").exists() or not (BIN / "retort").exists():
    print("skipped: built without LibTorch")
    sys.exit(77)
torch.set_num_threads(1)
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()

common = dict(vocab_size=97, max_position_embeddings=128, eos_token_id=3, bos_token_id=1, pad_token_id=0)
grouped = dict(common, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2)
gpt2 = dict(vocab_size=97, n_positions=128, n_embd=48, n_layer=3, n_head=6, bos_token_id=1, eos_token_id=3, pad_token_id=0)
opt = dict(common, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=6, word_embed_proj_dim=48)
configs = {
    "llama": t.LlamaConfig(**grouped, attention_bias=True, mlp_bias=True),
    "llama_tied": t.LlamaConfig(**grouped, tie_word_embeddings=True),
    "mistral": t.MistralConfig(**grouped, sliding_window=7),
    "qwen2": t.Qwen2Config(**grouped, use_sliding_window=True, sliding_window=9, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]),
    "qwen3": t.Qwen3Config(**grouped, head_dim=24, attention_bias=True, tie_word_embeddings=True),
    "gpt2": t.GPT2Config(**gpt2, n_inner=80),
    "opt": t.OPTConfig(**opt),
}
NO_HEAD_DIM = ("gpt2", "opt")
LOGITS = 1e-4  # absolute


def run(*words, code=0):
    result = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    assert result.returncode == code, f"{' '.join(map(str, words))}: {result.returncode}\n{result.stderr}"
    return result


def retort_logits(folder, sequences, work):
    work.mkdir()
    (work / "request.json").write_text(json.dumps(dict(sequences=sequences, prompts=[], max_tokens=1)))
    run(BIN / "model_tool", folder, work / "request.json", work)
    return load_file(work / "logits.safetensors")["logits"]


def check(name, words, expected, source, folder, loads=True):
    """Cuts, reads the sizes in config.json's own words, and compares logits with transformers'."""
    out = folder / "-".join(map(str, words)).replace("/", "_")
    log = run(BIN / "retort", "shrink", "--model", source, *words, "--out", out, "--json", out.with_suffix(".json")).stderr
    figures = json.loads(out.with_suffix(".json").read_text())["after"]
    found = {key: figures[key] for key in expected}
    assert found == expected, f"{name} {words}: {found}, expected {expected}"
    assert ("transformers cannot load" in log) == (not loads), f"{name} {words}: {log}"
    if not loads:
        try:
            t.AutoModelForCausalLM.from_pretrained(out)
        except Exception:
            return
        raise AssertionError(f"{name} {words}: transformers loads what Retort said it cannot")
    sequences = [torch.randint(6, 97, (n,)).tolist() for n in (23, 1, 40)]
    model = t.AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager", dtype=torch.float32).eval()
    unread = 2 * model.config.hidden_size if name.startswith("opt") else 0  # OPT's first two rows of positions
    assert sum(p.numel() for p in model.parameters()) == figures["parameters"] + unread, f"{name} {words}"
    with torch.no_grad():
        logits = torch.cat([model(torch.tensor([s])).logits[0] for s in sequences])
    error = (retort_logits(out, sequences, folder / (out.name + "-logits")) - logits).abs().max().item()
    assert error <= LOGITS, f"{name} {words}: logits differ by {error}"
    print(f"{name} {' '.join(map(str, words))}: logits {error:.1e}")


for name, config in configs.items():
    torch.manual_seed(1)
    model = t.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(1 if "norm" in key or "ln_" in key else 0, 0.2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder / "model")
        uneven = name in NO_HEAD_DIM  # there head_dim is hidden / heads and nothing else
        groups = dict(kv_heads=3) if uneven else dict(kv_heads=1)
        check(name, ["--num-layers", 2], dict(layers=2, heads=6), folder / "model", folder)
        check(name, ["--ffn", 33], dict(ffn=33, hidden=48), folder / "model", folder)
        check(name, ["--heads", 3], dict(heads=3, **groups), folder / "model", folder, loads=not uneven)
        check(name, ["--hidden", 24], dict(hidden=24, heads=6), folder / "model", folder, loads=not uneven)
        check(name, ["--layers", "0,2", "--heads", 3, "--hidden", 24, "--ffn", 40], dict(layers=2, heads=3, hidden=24, ffn=40, **groups),
              folder / "model", folder)
        if not uneven:
            check(name, ["--heads", 2, "--kv-heads", 2], dict(heads=2, kv_heads=2), folder / "model", folder)

teacher, valid = Path("assets/teacher"), Path("tests/fixtures/classical_modern/pairs.tsv")
with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    lines = valid.read_text().splitlines()[:6]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n")
    run(BIN / "retort", "shrink", "--model", teacher, "--num-layers", 5, "--heads", 6, "--ffn", 1024, "--hidden", 480, "--calibration",
        folder / "pairs.tsv", "--precision", "fp32", "--json", folder / "figures.json", "--out", folder / "cut")
    figures = json.loads((folder / "figures.json").read_text())
    tokenizer = t.AutoTokenizer.from_pretrained(folder / "cut")

    def nats_per_token(path):
        model = t.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        total = count = 0
        for line in lines:
            source, target = line.split("\t")[:2]
            dialogue = [dict(role="user", content=source), dict(role="assistant", content=target)]
            whole = tokenizer.apply_chat_template(dialogue, tokenize=False)
            prompt = tokenizer.apply_chat_template(dialogue[:1], tokenize=False, add_generation_prompt=True)
            ids = tokenizer(whole, add_special_tokens=False, return_tensors="pt").input_ids
            begin = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids.shape[1]
            end = ids.shape[1]
            while ids[0, end - 1].item() != tokenizer.eos_token_id:  # a newline behind the end token is no target
                end -= 1
            with torch.no_grad():
                logprobs = model(ids).logits[0].log_softmax(-1)
            total -= logprobs[begin - 1:end - 1].gather(1, ids[0, begin:end, None]).sum().item()
            count += end - begin
        return total / count

    for which, path in (("before", teacher), ("after", folder / "cut")):
        expected, found = nats_per_token(path), figures[which]["nats_per_token"]
        assert abs(found - expected) <= 1e-4 * expected, f"{which}: {found} nats per token, transformers says {expected}"
        print(f"teacher {which}: {found:.4f} nats per token")
