"""transformers writes a random model of each family, Retort reads and writes it, transformers reads it: nothing has changed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import transformers
except ImportError:
    sys.exit(77)

tool = Path(os.environ["RETORT_BIN"]) / "model_folder_tool"
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

small = dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, eos_token_id=[3, 5], bos_token_id=1)
llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
t = transformers
configs = {
    "llama": t.LlamaConfig(**small, rope_parameters=llama3),
    "llama_biases_tied": t.LlamaConfig(**small, attention_bias=True, mlp_bias=True, head_dim=16, tie_word_embeddings=True,
                                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    "mistral": t.MistralConfig(**small, sliding_window=7),
    "mistral_full": t.MistralConfig(**small, sliding_window=None),
    "qwen2": t.Qwen2Config(**small, tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen2_window": t.Qwen2Config(**small, use_sliding_window=True, sliding_window=9, max_window_layers=1),
    "qwen2_mixed": t.Qwen2Config(**small, use_sliding_window=True, sliding_window=9, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]),
    "qwen3": t.Qwen3Config(**small, head_dim=24, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen3_biases": t.Qwen3Config(**small, head_dim=8, attention_bias=True),
    "gpt2": t.GPT2Config(vocab_size=61, n_positions=48, n_embd=32, n_layer=3, n_head=4, bos_token_id=7, eos_token_id=7),
    "gpt2_untied": t.GPT2Config(vocab_size=61, n_positions=48, n_embd=32, n_layer=2, n_head=2, n_inner=50,
                                activation_function="relu", layer_norm_epsilon=1e-4, tie_word_embeddings=False),
    "opt": t.OPTConfig(vocab_size=61, hidden_size=32, ffn_dim=40, num_hidden_layers=3, num_attention_heads=4,
                       max_position_embeddings=48, word_embed_proj_dim=32),
    "opt_no_bias": t.OPTConfig(vocab_size=61, hidden_size=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4,
                               max_position_embeddings=48, enable_bias=False, tie_word_embeddings=False),
}


def run(*arguments):
    result = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, f"{arguments}: {result.stderr}"
    return result.stdout


def same_tensors(name, found, expected):
    assert found.keys() == expected.keys(), f"{name}: {found.keys() ^ expected.keys()}"
    for key, value in expected.items():
        if key == "model.decoder.embed_positions.weight":
            assert not found[key][:2].any()
            value, found[key] = value[2:], found[key][2:]
        assert torch.equal(found[key], value), f"{name}: {key}"


# What transformers computes with: its own defaults and derived values included.
def meaning(config):
    skip = {"transformers_version", "dtype", "torch_dtype", "architectures", "_name_or_path", "eos_token_id", "pad_token_id",
            "bos_token_id", "max_window_layers"}
    result = {k: v for k, v in config.to_dict().items() if k not in skip}
    if result.get("n_inner", 0) is None:
        result["n_inner"] = 4 * result["n_embd"]
    return result


def old_spelling(path):
    config = json.loads((path / "config.json").read_text())
    rope = config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype", None)
    if rope:
        config["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        config["rope_scaling"] = None if kind == "default" else dict(rope, type=kind)
    (path / "config.json").write_text(json.dumps(config))


torch.manual_seed(1)
ids = torch.randint(8, 61, (2, 20))
for name, config in configs.items():
    model = t.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # biases and norms too
        parameter.data.normal_(0, 0.3)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    logits = model(ids).logits
    for dtype, shard, spelling in [("F32", 0, "old"), ("F32", 20_000, "new"), ("BF16", 0, "new")]:
        with tempfile.TemporaryDirectory() as folder:
            source, copy = Path(folder) / "in", Path(folder) / "out"
            model.save_pretrained(source)
            if spelling == "old":
                old_spelling(source)
            run("copy", source, copy, dtype, shard)
            assert (copy / "model.safetensors.index.json").exists() == (shard > 0)
            loaded, info = t.AutoModelForCausalLM.from_pretrained(copy, output_loading_info=True)
            assert not any(info.values()), f"{name}: {info}"
            torch_dtype = {"F32": torch.float32, "BF16": torch.bfloat16}[dtype]
            assert loaded.dtype == torch_dtype
            same_tensors(name, loaded.state_dict(), {k: v.to(torch_dtype) for k, v in state.items()})
            assert meaning(loaded.config) == meaning(model.config), f"{name}:\n{meaning(loaded.config)}\n{meaning(model.config)}"
            assert loaded.generation_config.eos_token_id == model.generation_config.eos_token_id, name
            if dtype == "F32":
                assert torch.equal(loaded(ids).logits, logits), name
            rotary = getattr(model.base_model, "rotary_emb", None)
            if rotary is not None:
                found = torch.tensor([float(x) for x in run("rope", copy).split()])
                torch.testing.assert_close(found, rotary.inv_freq, rtol=2e-6, atol=0)

    # Saved without the head: no name has the prefix.
    with tempfile.TemporaryDirectory() as folder:
        if config.tie_word_embeddings:
            model.base_model.save_pretrained(Path(folder) / "in")
            run("copy", Path(folder) / "in", Path(folder) / "out", "F32", 0)
            loaded = t.AutoModelForCausalLM.from_pretrained(Path(folder) / "out")
            same_tensors(name, loaded.state_dict(), state)
    print(f"{name}: {len(state)} tensors")
