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
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import configs, meaning

t = transformers
tool = Path(os.environ["RETORT_BIN"]) / "model_folder_tool"
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


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
