"""Log-probabilities of random small models of every family through `retort-edge score` (F32), against transformers; the
greedy answers of `retort-edge generate --raw` for one of them; forced kernel sets; and sequences alone as in a batch."""
import json
import os
import re
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

EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"
t.logging.set_verbosity_error()
t.logging.disable_progress_bar()
LOGPROBS = 1e-4  # absolute

small = dict(vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
             max_position_embeddings=640, eos_token_id=[3, 5], bos_token_id=1, pad_token_id=0, attn_implementation="eager")
grouped = dict(small, num_key_value_heads=2)
llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
gpt2 = dict(vocab_size=97, n_positions=640, n_embd=48, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=3, pad_token_id=0,
            attn_implementation="eager")
opt = dict(vocab_size=97, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=640,
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


def score(folder, lines, isa="", *options):
    result = subprocess.run([EDGE, "score", "--model", folder, "--file", "-", *options], text=True, capture_output=True,
                            input="\n".join(json.dumps(dict(tokens=line)) for line in lines), env=dict(os.environ, RETORT_ISA=isa) if isa else None)
    assert result.returncode == 0, result.stderr
    return [json.loads(line)["logprobs"] for line in result.stdout.splitlines()]


def worst(found, expected):
    assert [len(a) for a in found] == [len(b) for b in expected]
    return max((abs(a - b) for x, y in zip(found, expected) for a, b in zip(x, y)), default=0)


def kernel_sets():
    """Every set of this machine, by the names that an unknown one is answered with."""
    result = subprocess.run([EDGE, "--version"], text=True, capture_output=True, env=dict(os.environ, RETORT_ISA="none"))
    assert result.returncode == 2, result
    known = [name for name in ("generic", "avx2", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon_dotprod", "neon_i8mm")
             if re.search(rf"\b{name}\b", result.stderr)]
    assert "generic" in known, result.stderr
    return known


sets = kernel_sets()
with tempfile.TemporaryDirectory() as folder:
    for name, config in configs.items():
        torch.manual_seed(1)
        model = t.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():  # biases and norms too
                parameter.normal_(1 if "norm" in key or "ln_" in key else 0, 0.2)
        model.save_pretrained(folder)
        torch.manual_seed(len(name))
        sequences = [torch.randint(6, 97, (n,)).tolist() for n in (23, 1, 40, 2, 65, 600)]
        with torch.no_grad():
            expected = [model(torch.tensor([s])).logits[0].log_softmax(1)[:-1].gather(1, torch.tensor(s[1:]).unsqueeze(1))
                        .squeeze(1).tolist() for s in sequences]
        errors = {isa: worst(score(folder, sequences, isa), expected) for isa in sets}
        for isa, error in errors.items():
            assert error <= LOGPROBS, f"{name} with {isa}: log-probabilities differ by {error}"
        together = score(folder, sequences)
        alone = [score(folder, [s], "", "--max-batch-tokens", "13")[0] for s in (sequences[2], sequences[5])]
        assert worst(alone, [together[2], together[5]]) <= 1e-5, f"{name}: a batch changes scores"
        print(f"{name}: " + ", ".join(f"{isa} {error:.1e}" for isa, error in errors.items()))
