"""llama.cpp as a peer: it opens every GGUF file written here, cuts texts alike, computes transformers' logits and continues alike;
adapters exported here work there as here; files that it quantizes open here; and no encoding loses more than its own (llama-cpp-python;
heavy to build, so rarely there)."""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import llama_cpp
    import numpy as np
    import peft
    import torch
    import transformers
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
except ImportError:
    sys.exit(77)
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import configs

bin_folder = Path(os.environ["RETORT_BIN"])
teacher = Path(__file__).parent.parent.parent / "assets/teacher"
scratch = Path(tempfile.mkdtemp())
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(2)


def run(tool, *arguments):
    result = subprocess.run([bin_folder / tool, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, f"{arguments}: {result.stderr}"
    return result.stdout


def open_llama(path, **options):
    return llama_cpp.Llama(str(path), n_ctx=256, n_threads=2, verbose=False, **options)


# 1. Logits of random models of every family that llama.cpp has (without what it lacks: windows, biases of qwen3).
torch.manual_seed(3)
for name in ("llama", "llama_biases_tied", "mistral_full", "qwen2", "qwen3", "gpt2"):
    model = transformers.AutoModelForCausalLM.from_config(configs[name]).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.2)
    model.save_pretrained(scratch / name)
    run("gguf_tool", "export", scratch / name, scratch / f"{name}.gguf", "f32", 0)
    ids = torch.randint(8, 61, (1, 40))
    llama = open_llama(scratch / f"{name}.gguf", logits_all=True, flash_attn=False, type_k=0, type_v=0)
    llama.eval(ids[0].tolist())
    found = np.array(llama.scores[:40])[:, :61]
    expected = model(ids).logits[0].detach().numpy()
    worst = np.abs(found - expected).max()
    assert worst < 2e-2 * np.abs(expected).max(), f"{name}: {worst} of {np.abs(expected).max()}"
    print(f"{name}: logits differ by {worst:.2g} of {np.abs(expected).max():.3g}")

# 2. The teacher: tokens and greedy continuations.
classical = "子曰学而时习之不亦说乎有朋自远方来人知愠君孝弟其为仁本与巧言令色鲜矣吾省身谋忠交信传道千乘国敬事节用爱使民以"
rng = np.random.default_rng(7)
texts = ["".join(rng.choice(list(classical), rng.integers(6, 30))) + "。" for _ in range(50)]
tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
prompts = [f"<|user|>{text}<|assistant|>" for text in texts]
reference = transformers.AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32).eval()
# A mismatch counts unless the two best logits are this near. Q8_0 and Q4_K products in llama.cpp round activations to 8 bits too.
for encoding, near in (("f16", 0.02), ("q8_0", 0.3), ("q4_k_m", 1.0), ("q4_k_t", 1.0), ("q4_0", 1.0), ("iq4_nl", 1.0), ("mxfp4", 1.5)):
    path = scratch / f"teacher-{encoding}.gguf"
    run("retort-edge", "quantize", "--model", teacher, "--encoding", encoding, "--out", path)
    llama = open_llama(path)
    stored = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(path).tensors}
    for key, parameter in reference.named_parameters():
        own = key.replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd").replace("model.norm", "output_norm")
        for a, b in (("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"), ("self_attn.q_proj", "attn_q"),
                     ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
                     ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
                     ("post_attention_layernorm", "ffn_norm"), ("input_layernorm", "attn_norm")):
            own = own.replace(a, b)
        parameter.data.copy_(torch.from_numpy(np.array(stored[own], dtype=np.float32)).reshape(parameter.shape))
    equal = close = 0
    for prompt in prompts if encoding in ("f16", "q8_0") else prompts[:4]:
        ids = tokenizer.encode(prompt).ids
        assert llama.tokenize(prompt.encode(), add_bos=False, special=True) == ids, prompt
        llama.reset()
        answer = []
        for token in llama.generate(ids, temp=0, top_k=1, repeat_penalty=1.0):
            answer.append(token)
            if len(answer) == 32 or token == 2:
                break
        with torch.no_grad():
            logits = reference(torch.tensor([ids + answer])).logits[0, len(ids) - 1:-1]
        for token, row in zip(answer, logits):
            if int(row.argmax()) != token:
                gap = float(row.max() - row[token])
                assert gap <= near, f"{encoding}: {prompt}: {token} for {int(row.argmax())}, {gap:.3f} below"
                close += 1
            else:
                equal += 1
    print(f"teacher {encoding}: {equal} of {equal + close} greedy tokens equal")

# 3. LoRA on the teacher, exported as a GGUF adapter: llama.cpp continues with it as we do.
def continuation(llama, ids, count=16):
    llama.reset()
    answer, gaps = [], []
    for token in llama.generate(ids, temp=0, top_k=1, repeat_penalty=1.0):
        second, best = np.sort(llama.scores[llama.n_tokens - 1])[-2:]
        gaps.append(best - second)
        if token == 2 or len(answer) == count:
            break
        answer.append(token)
    return answer, gaps


torch.manual_seed(11)
all_linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
for number, (spread, config) in enumerate(((0.15, dict(r=8, target_modules=["q_proj", "v_proj"])),
                                           (0.06, dict(r=5, use_rslora=True, target_modules=all_linear)))):
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32),
                                peft.LoraConfig(lora_alpha=8, task_type="CAUSAL_LM", init_lora_weights=False, **config))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, spread)
    folder, adapter = scratch / f"adapter{number}", scratch / f"adapter{number}.gguf"
    model.save_pretrained(folder)
    run("retort-edge", "export", "--model", scratch / "teacher-f16.gguf", "--adapter", folder, "--out", adapter)
    llama = open_llama(scratch / "teacher-f16.gguf", lora_path=str(adapter), logits_all=True)
    base = open_llama(scratch / "teacher-f16.gguf", logits_all=True)
    equal = changed = 0
    for text, prompt in zip(texts[:20], prompts):
        ids = tokenizer.encode(prompt).ids
        theirs, gaps = continuation(llama, ids)
        changed += theirs != continuation(base, ids)[0]
        ours = json.loads(run("retort-edge", "generate", "--model", scratch / "teacher-f16.gguf", "--adapter", adapter, "--prompt", text,
                              "--temperature", 0, "--max-tokens", 16, "--json", "-"))["tokens"]
        at = next((i for i in range(17) if ours[i:i + 1] != theirs[i:i + 1]), None)
        assert at is None or gaps[at] <= 0.02, f"adapter {number}: {text}: {ours} for {theirs}, {gaps[at]:.3f} apart"
        equal += at is None
    assert changed > 10, "the adapter changes too little to be seen"
    print(f"adapter of rank {config['r']}: {equal} of 20 answers equal llama.cpp's, {changed} changed by it")

# 4. What llama.cpp quantizes opens here.
parameters = llama_cpp.llama_model_quantize_default_params()
for name, file_type in (("Q4_K_M", 15), ("Q5_K_M", 17), ("Q6_K", 18), ("Q8_0", 7), ("Q4_0", 2), ("Q5_1", 9), ("IQ4_NL", 25)):
    parameters.ftype, parameters.nthread = file_type, 2
    target = scratch / f"theirs-{name}.gguf"
    assert llama_cpp.llama_model_quantize(str(scratch / "teacher-f16.gguf").encode(), str(target).encode(), ctypes.byref(parameters)) == 0
    types = {line.split()[1] for line in run("gguf_tool", "dump", target, scratch / "dump.safetensors").splitlines()}
    theirs = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(target).tensors}
    dumped = load_file(scratch / "dump.safetensors")
    assert np.array_equal(dumped["model.layers.3.mlp.down_proj.weight"], theirs["blk.3.ffn_down.weight"]), name
    assert np.array_equal(dumped["model.embed_tokens.weight"], theirs["token_embd.weight"]), name
    print(f"llama.cpp's {name} opens: {', '.join(sorted(types))}")

# 5. Squared errors beside llama.cpp's, on the teacher's weights and on synthetic ones, without and with importance.
library = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.so"))))
chunk = library.ggml_quantize_chunk
chunk.restype = ctypes.c_size_t
chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
plain = {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(scratch / "teacher-f16.gguf").tensors}
sets = {"bell": rng.normal(0, 0.02, (200, 512)), "tails": rng.standard_t(3, (200, 512)) * 0.02, "one-sided": rng.exponential(0.02, (200, 512)),
        "embedding": plain["token_embd.weight"][:1000], "ffn_down": plain["blk.2.ffn_down.weight"], "attn_v": plain["blk.4.attn_v.weight"]}
importance = rng.gamma(0.5, 1.0, 4096).astype(np.float32)
for line in run("encoding_tool", "list").splitlines():
    name, type_id, block, size, kind = line.split()
    if kind == "activations" or name in ("f32", "f16", "bf16"):
        continue
    worst = 0.0
    for key, values in sets.items():
        values = np.ascontiguousarray(values, dtype=np.float32)
        columns = values.shape[1]
        for weights in (None, importance[:columns].copy()):
            theirs = np.zeros(values.size // int(block) * int(size), np.uint8)
            chunk(int(type_id), values.ctypes.data, theirs.ctypes.data, 0, len(values), columns,
                  None if weights is None else weights.ctypes.data)
            (scratch / "values").write_bytes(values.tobytes())
            (scratch / "weights").write_bytes((weights if weights is not None else importance).tobytes())
            run("encoding_tool", "encode", name, columns, scratch / "values", scratch / "ours", *([scratch / "weights"] if weights is not None else []))
            ours = np.fromfile(scratch / "ours", np.uint8)
            if name in ("q8_0", "q4_0") and weights is None:
                assert np.array_equal(ours, theirs), f"{name} {key}: bytes differ"
            errors = []
            for blocks in (ours, theirs):
                (scratch / "blocks").write_bytes(blocks.tobytes())
                run("encoding_tool", "decode", name, scratch / "blocks", scratch / "decoded")
                off = np.fromfile(scratch / "decoded", np.float32).reshape(values.shape).astype(np.float64) - values
                errors.append(float((off**2 * (1 if weights is None else weights)).sum()))
            assert errors[0] <= errors[1] * (1 + 1e-9), f"{name} {key}: {errors[0]} > llama.cpp's {errors[1]}"
            worst = max(worst, errors[0] / errors[1])
    print(f"{name}: squared error at most {worst:.4f} of llama.cpp's")
