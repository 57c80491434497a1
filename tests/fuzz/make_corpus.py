"""Writes the first inputs of tests/fuzz/corpus/{gguf,adapter,traces}: small whole files, from which the fuzzers go on.

Usage: RETORT_BIN=build/bin tests/fuzz/make_corpus.py (transformers, peft)"""
import json
import os
import struct
import subprocess
import tempfile
from pathlib import Path

import peft
import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CORPUS = Path(__file__).resolve().parent / "corpus"
EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"


def edge(*arguments):
    subprocess.run([EDGE, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


def put(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def tokenizer(folder):
    vocabulary = {c: i for i, c in enumerate(["<s>", "</s>", "a", "b", "Ġ", "ab", "Ġa", "Ċ"])}
    made = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("Ġ", "a")]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}</s>{% endfor %}")


t.logging.set_verbosity_error()
small = dict(vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
             max_position_embeddings=32, bos_token_id=0, eos_token_id=1, pad_token_id=None)
gpt2 = dict(vocab_size=8, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=1)
for name, config, encoding in (
        ("llama", t.LlamaConfig(**small), "q4_0"), ("qwen3", t.Qwen3Config(**small, head_dim=16), "q8_0"),
        ("qwen2", t.Qwen2Config(**small), "iq4_nl"), ("mxfp4", t.Qwen2Config(**small, tie_word_embeddings=True), "mxfp4"),
        ("gpt2", t.GPT2Config(**gpt2), "f16")):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.manual_seed(1)
        t.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer(folder)
        if encoding == "f16":
            edge("export", "--model", folder, "--dtype", encoding, "--out", folder / "m.gguf")
        else:
            edge("quantize", "--model", folder, "--encoding", encoding, "--out", folder / "m.gguf")
        put("gguf", name, (folder / "m.gguf").read_bytes())

with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    base = t.LlamaConfig(vocab_size=16, hidden_size=8, head_dim=4, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=1, max_position_embeddings=32)
    model = t.AutoModelForCausalLM.from_config(base)
    model.save_pretrained(folder / "base")
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"), "lora")
    wrapped.save_pretrained(folder)
    edge("export", "--model", folder / "base", "--adapter", folder / "lora", "--out", folder / "a.gguf")
    put("adapter", "gguf", (folder / "a.gguf").read_bytes())
    prefix = peft.get_peft_model(t.AutoModelForCausalLM.from_config(base), peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))
    prefix.save_pretrained(folder / "prefix")
    for kind in ("lora", "prefix"):
        config, weights = (folder / kind / file for file in ("adapter_config.json", "adapter_model.safetensors"))
        put("adapter", kind, json.dumps(json.loads(config.read_text())).encode() + b"\0" + weights.read_bytes())

manifest = json.dumps(dict(version=1, teacher="t", tokenizer="k", vocab_size=16, top_k=3, samples=2, temperature=1.0, seed=0)).encode()
records = b""
for key, payload in ((1, bytes(range(40))), (2, b"\xff" * 9), (3, b"")):
    records += struct.pack("<IIQII", 0x31435254, len(payload), key, len(payload) // 8, 0) + payload
put("traces", "three", manifest + b"\0" + records)
