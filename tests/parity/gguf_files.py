"""GGUF both ways against the `gguf` package: what Retort writes has llama.cpp's names, layout and keys and comes back as the same
Hugging Face folder, to the bit; what the package writes opens here."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import gguf
    import numpy as np
    import torch
    import transformers
    from safetensors.torch import load_file
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
except ImportError:
    sys.exit(77)
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import configs, meaning
from tokenizer_lines import odd_lines

tool = Path(os.environ["RETORT_BIN"]) / "gguf_tool"
lines = odd_lines(400)
root = Path(__file__).parent.parent.parent
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def run(*arguments):
    result = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, f"{arguments}: {result.stderr}"
    return result.stdout


def value(reader, key):
    field = reader.get_field(key)
    return None if field is None else field.contents()


# llama.cpp's converter: rows of each head's two halves in turns.
def interleave(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


names = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
gpt2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down"}
opt = {"self_attn_layer_norm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
       "self_attn.out_proj": "attn_output", "final_layer_norm": "ffn_norm", "fc1": "ffn_up", "fc2": "ffn_down"}
outside = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "transformer.wte": "token_embd",
           "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "model.decoder.embed_tokens": "token_embd",
           "model.decoder.embed_positions": "position_embd", "model.decoder.final_layer_norm": "output_norm"}


def expected_tensors(config, state):
    result = {}
    table = {"gpt2": gpt2, "opt": opt}.get(config.model_type, names)
    for key, tensor in state.items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        module, kind = key.rsplit(".", 1)
        array = tensor.numpy()
        if module in outside:
            if key == "model.decoder.embed_positions.weight":
                array = array[2:]
            result[f"{outside[module]}.{kind}"] = array
            continue
        for prefix in ("model.layers.", "transformer.h.", "model.decoder.layers."):
            if module.startswith(prefix):
                layer, inner = module[len(prefix):].split(".", 1)
        if config.model_type == "gpt2" and array.ndim == 2:
            array = array.T
        if config.model_type in ("llama", "mistral") and inner in ("self_attn.q_proj", "self_attn.k_proj"):
            array = interleave(array, config.num_attention_heads if "q_proj" in inner else config.num_key_value_heads)
        result[f"blk.{layer}.{table[inner]}.{kind}"] = array
    return result


def check_keys(config, reader):
    arch = {"mistral": "llama"}.get(config.model_type, config.model_type)
    assert value(reader, "general.architecture") == arch
    read = {k: value(reader, f"{arch}.{k}") for k in ("block_count", "embedding_length", "context_length", "attention.head_count",
                                                     "attention.head_count_kv", "feed_forward_length", "vocab_size")}
    ffn = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or getattr(config, "n_inner", None)
    kv = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    assert read == {"block_count": config.num_hidden_layers, "embedding_length": config.hidden_size, "vocab_size": 61,
                    "context_length": config.max_position_embeddings, "attention.head_count": config.num_attention_heads,
                    "attention.head_count_kv": kv, "feed_forward_length": ffn or 4 * config.hidden_size}, read
    if arch in ("gpt2", "opt"):
        assert value(reader, f"{arch}.attention.layer_norm_epsilon") == np.float32(getattr(config, "layer_norm_epsilon", 1e-5))
    else:
        assert value(reader, f"{arch}.attention.layer_norm_rms_epsilon") == np.float32(config.rms_norm_eps)
        assert value(reader, f"{arch}.rope.freq_base") == np.float32(config.rope_parameters["rope_theta"])
    bos = config.bos_token_id
    assert value(reader, "tokenizer.ggml.bos_token_id") == (bos if bos is not None and bos < 61 else None)


def same_model(name, folder, state, dtype, config):
    loaded, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), f"{name}: {info}"
    assert loaded.dtype == dtype, (name, loaded.dtype)
    for key, tensor in loaded.state_dict().items():
        expected = state[key].to(dtype)
        if key == "model.decoder.embed_positions.weight":
            tensor, expected = tensor[2:], expected[2:]
        assert torch.equal(tensor, expected), f"{name}: {key}"
    assert meaning(loaded.config) == meaning(config), f"{name}:\n{meaning(loaded.config)}\n{meaning(config)}"


torch.manual_seed(1)
for name, config in configs.items():
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model.save_pretrained(scratch / "f32")
        run("export", scratch / "f32", scratch / "f32.gguf", "f32", 0)
        reader = gguf.GGUFReader(scratch / "f32.gguf")
        check_keys(config, reader)
        expected = expected_tensors(config, state)
        found = {tensor.name: tensor.data for tensor in reader.tensors}
        if name == "llama":
            rotary = model.model.rotary_emb
            plain = 500000.0 ** (-np.arange(0, 8, 2) / 8)
            np.testing.assert_allclose(found.pop("rope_freqs.weight"), plain / rotary.inv_freq.numpy(), rtol=1e-5)
        assert found.keys() == expected.keys(), f"{name}: {found.keys() ^ expected.keys()}"
        for key, array in expected.items():
            assert np.array_equal(found[key], array), f"{name}: {key}"
        run("folder", scratch / "f32.gguf", scratch / "back", "F32")
        same_model(name, scratch / "back", state, torch.float32, config)

        model.to(torch.bfloat16).save_pretrained(scratch / "bf16")
        run("export", scratch / "bf16", scratch / "bf16.gguf", "bf16", 0)
        run("folder", scratch / "bf16.gguf", scratch / "back16", "BF16")
        same_model(name, scratch / "back16", {k: v.to(torch.bfloat16) for k, v in state.items()}, torch.bfloat16, config)

        # Quantized and in shards: the same values as the package decodes.
        run("export", scratch / "f32", scratch / "q8.gguf", "q8_0", 20_000)
        shards = sorted(scratch.glob("q8-*.gguf"))
        assert len(shards) > 1
        run("dump", shards[-1], scratch / "dump.safetensors")
        dumped = load_file(scratch / "dump.safetensors")
        readers = [gguf.GGUFReader(shard) for shard in shards]
        assert value(readers[0], "split.count") == len(shards) and value(readers[1], "split.no") == 1
        tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for r in readers for t in r.tensors}
        assert value(readers[0], "split.tensors.count") == len(tensors)
        embedding = dumped["model.embed_tokens.weight"].numpy()
        assert np.array_equal(embedding, tensors["token_embd.weight"].reshape(embedding.shape)), name
        key = next(k for k in dumped if "layers.1" in k and "q_proj.weight" in k)
        query = tensors.get("blk.1.attn_q.weight", tensors.get("blk.1.attn_qkv.weight"))[:dumped[key].shape[0]]
        if config.model_type in ("llama", "mistral"):
            query = query.reshape(config.num_attention_heads, -1, 2, query.shape[1]).swapaxes(1, 2).reshape(query.shape)
        assert np.array_equal(dumped[key].numpy(), query), name
    print(f"{name}: {len(state)} tensors")


# A file as llama.cpp's converter writes it, without Retort's keys.
def foreign(path, config, state, tokenizer, arch, scaled=None):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    if arch == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length([config.intermediate_size] * config.num_hidden_layers)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_key_length(config.head_dim if getattr(config, "head_dim", None) else config.hidden_size // config.num_attention_heads)
    writer.add_head_count(config.num_attention_heads)
    tokenizer(writer)
    for key, array in expected_tensors(config, state).items():
        if array.ndim == 2 and array.shape[1] % 32 == 0 and "embd" not in key:
            writer.add_tensor(key, gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0),
                              raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(key, array.astype(np.float16) if array.ndim == 2 else array)
    if scaled is not None:
        writer.add_tensor("rope_freqs.weight", scaled.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_level(label, source, add_bos=None):
    content = json.loads(source.to_str())
    vocabulary = source.get_vocab(with_added_tokens=True)
    added = {t["content"]: t["special"] for t in content["added_tokens"]}

    def write(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(label)
        tokens = sorted(vocabulary, key=vocabulary.get)
        writer.add_token_list(tokens)
        writer.add_token_types([1 if t not in added else 3 if added[t] else 4 for t in tokens])
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]])
        if add_bos is not None:
            writer.add_bos_token_id(add_bos)
            writer.add_add_bos_token(True)
    return write


def metaspace(source):
    content = json.loads(source.to_str())
    vocabulary = source.get_vocab(with_added_tokens=True)
    merged = {"".join(m): i for i, m in enumerate(content["model"]["merges"])}

    def write(writer):
        tokens = sorted(vocabulary, key=vocabulary.get)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([float(-1 - merged[t]) if t in merged else 0.0 for t in tokens])
        writer.add_token_types([2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if t.startswith("<0x") else 1 for t in tokens])
        writer.add_bos_token_id(vocabulary["<s>"])
        writer.add_unk_token_id(vocabulary["<unk>"])
        writer.add_chat_template("{{ bos_token }}[{{ messages[0]['content'] }}]")
    return write


def check_ids(path, reference, prefix=()):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(lines, file)
        file.flush()
        found = [json.loads(line) for line in run("tokenize", path, file.name).splitlines()]
    for line, ids in zip(lines, found, strict=True):
        expected = [*prefix, *reference.encode(line, add_special_tokens=False).ids]
        assert ids == expected, f"{path.name}: {line!r}: {ids} {expected}"


teacher = Tokenizer.from_file(str(root / "assets/teacher/tokenizer.json"))
spm = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
spm.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
spm.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
spm.train_from_iterator(lines * 3, trainers.BpeTrainer(
    vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))
content = json.loads(spm.to_str())
content["added_tokens"] = [t for t in content["added_tokens"] if not t["content"].startswith("<0x")]
spm = Tokenizer.from_str(json.dumps(content))

gpt2_tokenizer = Tokenizer(models.BPE())
gpt2_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
gpt2_tokenizer.decoder = decoders.ByteLevel()
gpt2_tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False,
                                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))

big = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
           max_position_embeddings=128)
cases = [
    ("llama", transformers.LlamaConfig(vocab_size=spm.get_vocab_size(), **big), metaspace(spm), spm, [spm.token_to_id("<s>")], None),
    ("qwen3", transformers.Qwen3Config(vocab_size=teacher.get_vocab_size(), head_dim=32, tie_word_embeddings=True, **big),
     byte_level("qwen2", teacher), teacher, [], None),
    ("qwen2", transformers.Qwen2Config(vocab_size=teacher.get_vocab_size(), **big), byte_level("deepseek-r1-qwen", teacher, 5), teacher,
     [5], None),
    ("gpt2", transformers.GPT2Config(vocab_size=gpt2_tokenizer.get_vocab_size(), n_positions=128, n_embd=64, n_layer=2, n_head=4),
     byte_level("gpt-2", gpt2_tokenizer), gpt2_tokenizer, [], None),
]
scaling = dict(rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=8192)
cases.append(("llama", transformers.LlamaConfig(vocab_size=spm.get_vocab_size(), rope_parameters=scaling, **big), metaspace(spm), spm,
              [spm.token_to_id("<s>")], scaling))
for arch, config, tokenizer, reference, prefix, scaled in cases:
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.1)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{arch}.gguf"
        divisors = None
        if scaled:
            divisors = 500000.0 ** (-np.arange(0, 16, 2) / 16) / model.model.rotary_emb.inv_freq.numpy()
        foreign(path, config, model.state_dict(), tokenizer, arch, divisors)
        run("folder", path, Path(scratch) / "hf", "F32")
        loaded, info = transformers.AutoModelForCausalLM.from_pretrained(Path(scratch) / "hf", output_loading_info=True)
        assert not any(info.values()), f"{arch}: {info}"
        ids = torch.randint(0, 400, (1, 30))
        found, expected = loaded(ids).logits, model(ids).logits
        assert (found - expected).abs().max() < 0.02 * expected.abs().max(), f"{arch}: {(found - expected).abs().max()}"
        if scaled:
            assert {k: loaded.config.rope_parameters[k] for k in scaled} == scaled, loaded.config.rope_parameters
        check_ids(path, reference, prefix)
        # Once more through Retort's own file, and as the folder's tokenizer.
        run("export", Path(scratch) / "hf", Path(scratch) / "own.gguf", "q8_0", 0)
        check_ids(Path(scratch) / "own.gguf", reference, prefix)
        again = Tokenizer.from_file(str(Path(scratch) / "hf" / "tokenizer.json"))
        for line in lines:
            assert again.encode(line).ids == [*prefix, *reference.encode(line, add_special_tokens=False).ids], line
        if arch == "llama":
            assert run("prompt", path) == "<s>[你好]"
            assert run("prompt", Path(scratch) / "own.gguf") == "<s>[你好]", run("prompt", Path(scratch) / "own.gguf")
    print(f"from gguf's writer: {arch}")

# The shipped teacher: its tokenizer and template come back as they were.
with tempfile.TemporaryDirectory() as scratch:
    scratch = Path(scratch)
    run("export", root / "assets/teacher", scratch / "teacher.gguf", "q4_k", 0)
    reader = gguf.GGUFReader(scratch / "teacher.gguf")
    assert value(reader, "tokenizer.ggml.pre") == "qwen2" and value(reader, "tokenizer.huggingface.json") is None
    assert value(reader, "tokenizer.chat_template") == (root / "assets/teacher/chat_template.jinja").read_text()
    check_ids(scratch / "teacher.gguf", teacher)
    run("folder", scratch / "teacher.gguf", scratch / "hf", "BF16")
    again, before = (json.loads((folder / "tokenizer.json").read_text()) for folder in (scratch / "hf", root / "assets/teacher"))
    assert again == before, [k for k in before if again.get(k) != before[k]]
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        assert (scratch / "hf" / name).read_bytes() == (root / "assets/teacher" / name).read_bytes()
print("teacher")
