"""A Hugging Face folder of the Qwen3-0.6B shape with random weights: arguments TOKENIZER_FOLDER OUT."""
import pathlib, shutil, subprocess, sys

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

tokenizer, out = map(pathlib.Path, sys.argv[1:])
torch.manual_seed(0)
config = Qwen3Config(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128, intermediate_size=3072,
                     vocab_size=151936, max_position_embeddings=4096, rope_theta=1e6, tie_word_embeddings=True, bos_token_id=151643,
                     eos_token_id=151645)
model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
model.save_pretrained(out)
for file in tokenizer.iterdir():
    if file.name.startswith(("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template")):
        if file.suffix == ".zst":
            subprocess.run(["zstd", "-dqf", file, "-o", out / file.stem], check=True)
        else:
            shutil.copy(file, out)
