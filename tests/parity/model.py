"""Logits, gradients, saved copies and greedy answers of random small models of every family, against transformers (fp32).

Sequences of several lengths are packed in Retort and run one by one in transformers.
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

TOOL = Path(os.environ["RETORT_BIN"]) / "model_tool"
if not TOOL.exists():
    print("skipped: built without LibTorch")
    sys.exit(77)
torch.set_num_threads(1)  # the models are tiny
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()

small = dict(vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
             max_position_embeddings=128, eos_token_id=[3, 5], bos_token_id=1, pad_token_id=0, attn_implementation="eager")
grouped = dict(small, num_key_value_heads=2)
llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
gpt2 = dict(vocab_size=97, n_positions=128, n_embd=48, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=3, pad_token_id=0,
            attn_implementation="eager")
opt = dict(vocab_size=97, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128,
           word_embed_proj_dim=48, bos_token_id=1, eos_token_id=3, pad_token_id=0, attn_implementation="eager")
configs = {
    "llama": t.LlamaConfig(**small),
    "llama_grouped_llama3": t.LlamaConfig(**grouped, rope_parameters=llama3),
    "llama_biases_tied_linear": t.LlamaConfig(
        **grouped, attention_bias=True, mlp_bias=True, head_dim=20, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    "llama_gelu": t.LlamaConfig(**small, hidden_act="gelu"),
    "mistral_window": t.MistralConfig(**grouped, sliding_window=7),
    "mistral_full": t.MistralConfig(**grouped, sliding_window=None, tie_word_embeddings=True),
    "qwen2": t.Qwen2Config(**grouped, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen2_mixed_windows": t.Qwen2Config(**grouped, tie_word_embeddings=True, use_sliding_window=True, sliding_window=9, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]),
    "qwen3": t.Qwen3Config(**grouped, head_dim=24),
    "qwen3_biases_tied": t.Qwen3Config(**grouped, head_dim=16, attention_bias=True, tie_word_embeddings=True),
    "gpt2": t.GPT2Config(**gpt2),
    "gpt2_gelu_untied": t.GPT2Config(**gpt2, n_inner=50, activation_function="gelu", tie_word_embeddings=False),
    "opt": t.OPTConfig(**opt),
    "opt_no_bias_gelu": t.OPTConfig(**opt, enable_bias=False, activation_function="gelu", tie_word_embeddings=False),
}
LOGITS = 1e-4     # absolute
GRADIENTS = 1e-4  # ‖difference‖ / ‖gradient‖ per tensor
FLOOR = 1e-7      # per element: for gradients that are zero but for rounding (a bias on keys)


def reference(model, sequences):
    """Logits per sequence, the mean loss over all targets and its gradients."""
    model.zero_grad()
    logits = [model(torch.tensor([s])).logits[0] for s in sequences]
    rows = torch.cat([x[:-1] for x in logits])
    labels = torch.cat([torch.tensor(s[1:], dtype=torch.long) for s in sequences])
    loss = torch.nn.functional.cross_entropy(rows, labels)
    loss.backward()
    return torch.cat(logits).detach(), loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def check(name, model, folder):
    torch.manual_seed(len(name))
    vocabulary = model.config.vocab_size
    sequences = [torch.randint(6, vocabulary, (n,)).tolist() for n in (23, 1, 40, 7, 65)]
    prompts = [torch.randint(6, vocabulary, (n,)).tolist() for n in (3, 17, 1, 9, 30)]
    model.save_pretrained(folder / "model")
    (folder / "request.json").write_text(json.dumps(dict(sequences=sequences, prompts=prompts, max_tokens=20)))
    (folder / "out").mkdir()
    result = subprocess.run([TOOL, folder / "model", folder / "request.json", folder / "out"], capture_output=True, text=True)
    assert result.returncode == 0, f"{name}: {result.stderr}"

    logits, loss, gradients = reference(model, sequences)
    found = load_file(folder / "out/logits.safetensors")
    logit_error = (found["logits"] - logits).abs().max().item()
    assert logit_error <= LOGITS, f"{name}: logits differ by {logit_error}"
    assert abs(found["loss"] - loss) <= 1e-5 * abs(loss), f"{name}: loss {found['loss']}, expected {loss}"

    ours = load_file(folder / "out/gradients/model.safetensors")
    worst = 0
    for key, value in gradients.items():
        stored = ours.get(key)
        if stored is None:  # saved without the prefix of the head's class
            stored = ours[key.removeprefix("transformer.")]
        difference = (stored - value).norm().item()
        assert difference <= GRADIENTS * value.norm().item() + FLOOR * value.numel() ** 0.5, \
            f"{name}: gradient of {key} off by {difference} of {value.norm().item()}"
        worst = max(worst, difference / (value.norm().item() + 1e-3))

    copy = type(model).from_pretrained(folder / "out/copy", attn_implementation="eager", dtype=torch.float32).eval()
    for (key, value), (_, other) in zip(model.state_dict().items(), copy.state_dict().items(), strict=True):
        unused = 2 if key.endswith("decoder.embed_positions.weight") else 0  # OPT's rows that no position reads are written as 0
        assert torch.equal(value[unused:], other[unused:]), f"{name}: {key} changed in the saved copy"
    with torch.no_grad():
        copied = torch.cat([copy(torch.tensor([s])).logits[0] for s in sequences])
    copy_error = (copied - logits).abs().max().item()
    # The weights are the same to the bit; the products' rounding depends on where in memory they lie.
    assert copy_error <= 1e-5, f"{name}: the saved copy's logits differ by {copy_error}"

    answers = json.loads((folder / "out/answers.json").read_text())
    for prompt, answer in zip(prompts, answers):
        tokens = torch.tensor([prompt])
        expected = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=20)
        expected = expected[0, len(prompt):].tolist()
        ends = model.generation_config.eos_token_id
        if expected and expected[-1] in (ends if isinstance(ends, list) else [ends]):
            expected.pop()
        assert answer == expected, f"{name}: {prompt} -> {answer}, expected {expected}"
    print(f"{name}: logits {logit_error:.1e}, gradients {worst:.1e}, answers of {[len(a) for a in answers]} tokens")


for name, config in configs.items():
    torch.manual_seed(1)
    model = t.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():  # biases and norms too
            parameter.normal_(1 if "norm" in key or "ln_" in key else 0, 0.2)
    with tempfile.TemporaryDirectory() as folder:
        check(name, model, Path(folder))
