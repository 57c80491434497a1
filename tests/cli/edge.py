"""retort-edge as a user meets it: no LibTorch inside, small, quick to start; a dialogue through a pipe, Ctrl-C, bad input."""
import fcntl
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

BIN = Path(os.environ["RETORT_BIN"])
EDGE = BIN / "retort-edge"
ROOT = Path(__file__).resolve().parents[2]
TEACHER = ROOT / "assets/teacher"


def run(*arguments, **options):
    return subprocess.run([EDGE, *arguments], capture_output=True, timeout=60, **options)


# What it is made of.
libraries = subprocess.run(["ldd", EDGE], text=True, capture_output=True, check=True).stdout
assert not re.search(r"lib(torch|c10)", libraries), libraries
with tempfile.TemporaryDirectory() as folder:
    stripped = Path(folder) / "retort-edge"
    shutil.copy(EDGE, stripped)
    subprocess.run(["strip", stripped], check=True)
    size = stripped.stat().st_size
    assert size <= 8 << 20 or "san" in libraries, size
version = run("--version").stdout.decode()
assert re.search(r"kernels \w+", version), version

# One answer, greedy, twice the same; the pieces of the stream make up the text.
question = ["--model", TEACHER, "--prompt", "学而时习之，不亦说乎？", "--temperature", "0", "--max-tokens", "40"]
first = run("generate", *question)
assert first.returncode == 0, first.stderr.decode()
assert first.stdout == run("generate", *question).stdout
assert len(first.stdout.decode().strip()) > 3
drawn = ["generate", *question[:4], "--temperature", "1", "--max-tokens", "20"]
assert run(*drawn, "--seed", "1").stdout == run(*drawn, "--seed", "1").stdout
stopped = run("generate", *question, "--stop", first.stdout.decode().strip()[2])
assert stopped.stdout.decode().strip() == first.stdout.decode().strip()[:2], stopped.stdout.decode()

text = first.stdout.decode().strip()
assert "，" in text[1:] and "," not in text, text
comma = run("generate", *question, "--stop", "a," + text[1])  # one text, which the answer has not
assert comma.stdout.decode().strip() == text, comma.stdout.decode()
# A verb that looks for no Ctrl-C is ended by one; evaluate stops between its batches, and says so.
pairs = ROOT / "assets/data/classical_modern_valid.tsv.zst"
for verb, code, says in ((["tokenize", "encode", "--tokenizer", TEACHER, "--file", "-"], -signal.SIGINT, b""),
                         (["evaluate", "--model", TEACHER, "--data", pairs, "--batch-size", "8"], 130, b"Stopped")):
    begun = subprocess.Popen([EDGE, *verb], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(2)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    assert begun.returncode == code and says in said, (verb, begun.returncode, said)
if Path("/dev/full").is_char_device():
    with open("/dev/full", "wb") as full:
        lost = subprocess.run([EDGE, "inspect", TEACHER], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert lost.returncode == 1 and b"standard output" in lost.stderr, lost

# A dialogue through a pipe: one answer a line; what is no UTF-8 is refused and the dialogue goes on.
chat = run("chat", "--model", TEACHER, "--max-tokens", "20", input="己所不欲，勿施于人。\n".encode() + b"\xff\xfe\n\n" + "温故而知新。\n".encode())
assert chat.returncode == 0, chat.stderr
assert b"UTF-8" in chat.stderr, chat.stderr
assert len(chat.stdout.decode().strip().split("\n")) == 2, chat.stdout.decode()

# Too long a message is an error of that message only.
chat = run("chat", "--model", TEACHER, "--max-tokens", "20", input=("古" * 5000 + "\n温故而知新。\n").encode())
assert chat.returncode == 0 and b"context" in chat.stderr and len(chat.stdout.decode().strip()) > 2, chat

# Ctrl-C stops the answer only, on a terminal. The answer would go on to the context's end.
special = [token["id"] for token in json.loads((TEACHER / "tokenizer.json").read_text())["added_tokens"]]
endless = json.dumps({str(token): -1000 for token in special})
parent, child = pty.openpty()
process = subprocess.Popen([EDGE, "chat", "--model", TEACHER, "--max-tokens", "100000", "--logit-bias", endless],
                           stdin=child, stdout=child, stderr=child)
os.close(child)


def read_until(pattern, seconds=20):
    global seen
    end = time.monotonic() + seconds
    while not re.search(pattern, seen):
        ready, _, _ = select.select([parent], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {pattern} in {seen!r}"
        seen += os.read(parent, 65536).decode(errors="replace")
    at = re.search(pattern, seen).end()
    seen = seen[at:]


seen = ""
read_until(r"> $")
os.write(parent, "温故而知新。\n".encode())
read_until(r"温故而知新。\s+\S\S\S")
process.send_signal(signal.SIGINT)
read_until(r"…\s+> ")
assert process.poll() is None
os.write(parent, "/bye\n".encode())
assert process.wait(20) == 0
os.close(parent)

# Ctrl-C where the user types drops the line and nothing else: the second answer is that of the same dialogue through a pipe.
messages = ["温故而知新。", "己所不欲，勿施于人。"]
options = ["--model", TEACHER, "--max-tokens", "24", "--temperature", "0"]
expected = run("chat", *options, input="\n".join(messages).encode()).stdout.decode().strip().split("\n")
parent, child = pty.openpty()
process = subprocess.Popen([EDGE, "chat", *options], stdin=child, stdout=child, stderr=child, start_new_session=True,
                           preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY))
os.close(child)
seen = ""
read_until(r"> $")
for message, answer in zip(messages, expected):
    os.write(parent, f"{message}\n".encode())
    read_until(re.escape(answer) + r"\s+> $")
    for _ in range(3):
        os.write(parent, "一行".encode() + b"\x03")
        read_until(r"> $")
assert process.poll() is None
process.send_signal(signal.SIGTERM)
assert process.wait(20) == -signal.SIGTERM
os.close(parent)


# Adapters: a folder in PEFT's form, written by hand, beside the model and as a GGUF adapter.
def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[len(data), len(data) + 4 * len(values)])
        data += struct.pack(f"<{len(values)}f", *values)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_adapter(folder, rank=2, hidden=None, size=0.3):
    config = json.loads((TEACHER / "config.json").read_text())
    hidden = hidden or config["hidden_size"]
    rows = config["num_attention_heads"] * config.get("head_dim", hidden // config["num_attention_heads"])
    draw, tensors = random.Random(1), {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = [rank, hidden], [draw.gauss(0, 1) for _ in range(rank * hidden)]
        tensors[f"{name}.lora_B.weight"] = [rows, rank], [draw.gauss(0, size) for _ in range(rows * rank)]
    folder.mkdir()
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps(dict(peft_type="LORA", r=rank, lora_alpha=2 * rank, target_modules=["q_proj"])))
    return folder


scratch = Path(tempfile.mkdtemp())
adapter = write_adapter(scratch / "adapter")
plain, adapted = run("generate", *question), run("generate", *question, "--adapter", adapter)
assert adapted.returncode == 0 and adapted.stdout != plain.stdout, adapted
result = run("export", "--model", TEACHER, "--adapter", adapter, "--out", scratch / "adapter.gguf")
assert result.returncode == 0, result.stderr
assert run("generate", *question, "--adapter", scratch / "adapter.gguf").stdout == adapted.stdout
assert run("generate", *question, "--adapter", f"{adapter}:0.25", "--adapter", f"{adapter}:0.75").stdout == adapted.stdout
assert run("chat", "--model", TEACHER, "--max-tokens", "8", "--adapter", adapter, input="温故而知新。\n".encode()).returncode == 0
figures = json.loads(run("bench", "--model", TEACHER, "--prompt", "8", "--generate", "4", "--batch", "4", "--repeat", "1", "--adapter",
                         f"{adapter},{scratch / 'adapter.gguf'}", "--json", "-").stdout)
assert figures["decode_tokens_per_second"] > 0
half_written = write_adapter(scratch / "half")
(half_written / "adapter_model.safetensors").unlink()
for flags, words in [
    ([write_adapter(scratch / "other", hidden=64)], "model.layers.0.self_attn.q_proj.lora_A"),
    ([write_adapter(scratch / "wide", rank=2000)], "a rank of 2000"),
    ([f"{adapter}:1", f"{adapter}:-1"], "zero"),
    ([f"{adapter}:much"], "WEIGHT"),
    ([half_written], "adapter_model.safetensors"),
    ([scratch / "nothing"], "adapter_config.json"),
]:
    result = run("generate", *question, *(x for flag in flags for x in ("--adapter", flag)))
    assert result.returncode == 2 and words in result.stderr.decode(), (flags, result)

# A tensor that no parameter of the model is would change its answers for those who know it: refused.
surplus = scratch / "surplus"
surplus.mkdir()
for file in TEACHER.iterdir():
    if file.name != "model.safetensors.index.json":
        (surplus / file.name).symlink_to(file)
index = json.loads((TEACHER / "model.safetensors.index.json").read_text())
index["weight_map"]["model.layers.0.mlp.extra.weight"] = "extra.safetensors"
(surplus / "model.safetensors.index.json").write_text(json.dumps(index))
write_safetensors(surplus / "extra.safetensors", {"model.layers.0.mlp.extra.weight": ([2], [1.0, 2.0])})
result = run("generate", "--model", surplus, "--prompt", "x")
assert result.returncode == 2 and "mlp.extra" in result.stderr.decode(), result

# A file that is cut short while it is read: an error that names it, not a crash. Writing into a pipe waits for the reader.
run("export", "--model", TEACHER, "--out", scratch / "cut.gguf")
os.mkfifo(scratch / "pipe")
process = subprocess.Popen([EDGE, "export", "--model", scratch / "cut.gguf", "--dtype", "f32", "--out", scratch / "pipe"], stderr=subprocess.PIPE)
with open(scratch / "pipe", "rb") as pipe:
    pipe.read(1 << 20)
    os.truncate(scratch / "cut.gguf", 1 << 20)
    while pipe.read(1 << 20):
        pass
message = process.communicate(timeout=20)[1].decode()
assert process.returncode == 1 and "cut.gguf" in message and "shorter" in message, (process.returncode, message)

# 8 bits: memory is the weights, the cache and little else; i8_channel with limits of its inputs.
run("quantize", "--model", TEACHER, "--encoding", "q8_0", "--out", scratch / "q8_0.gguf")
figures = json.loads(run("bench", "--model", scratch / "q8_0.gguf", "--prompt", "64", "--generate", "8", "--repeat", "1", "--batch", "1", "--cache-tokens", "256",
                         "--json", "-").stdout)
allowed = (scratch / "q8_0.gguf").stat().st_size + (64 << 20) + 256 * (figures["bytes_per_token"] / 68)
assert figures["resident_bytes"] <= allowed or "san" in libraries, (figures["resident_bytes"], allowed)
(scratch / "texts.txt").write_text("学而时习之，不亦说乎？\n\n温故而知新。\n")
for flags, limits in ((["--activation-limit", "6"], {6.0}), (["--calibrate-limits"], None)):
    out = scratch / f"i8{len(flags)}"
    result = run("quantize", "--model", TEACHER, "--encoding", "i8_channel", "--calibration", scratch / "texts.txt", *flags, "--out", out, "--json", "-")
    assert result.returncode == 0, result
    rows = json.loads(result.stdout)["inputs"].values()
    assert len(rows) == 4 * index["metadata"].get("layers", json.loads((TEACHER / "config.json").read_text())["num_hidden_layers"])
    assert all(row["relative_error"] < 0.9 and row["clamped"] < 0.2 for row in rows), rows
    assert limits is None or {row["limit"] for row in rows} == limits
    assert limits is not None or all(row["limit"] == row["largest"] and row["clamped"] == 0 and row["relative_error"] < 0.02 for row in rows)
    assert run("generate", "--model", out, *question[2:]).returncode == 0
shutil.rmtree(scratch)

# Bad input: exit code 2 and a sentence.
for arguments, words in [
    (["generate", "--model", "no such thing", "--prompt", "x"], "no such"),
    (["generate", "--model", TEACHER, "--prompt", ""], "prompt"),
    (["generate", "--model", TEACHER, "--prompt", "古" * 5000], "context"),
    (["generate", "--model", TEACHER, "--prompt", "x", "--temperature", "-1"], "temperature"),
    (["generate", "--model", TEACHER, "--prompt", "x" * 50, "--cache-tokens", "32"], "cache"),
    (["generate", "--model", TEACHER, "--prompt", "x", "--logit-bias", "{nonsense: 1}"], "nonsense"),
    (["bench", "--model", TEACHER, "--prompt", "100000"], "context"),
    (["distill"], "distill"),
]:
    result = run(*arguments)
    assert result.returncode == 2 and words in result.stderr.decode(), (arguments, result)
assert run("--version", env=dict(os.environ, RETORT_ISA="nonsense")).returncode == 2

# The first token of a start with files in the cache of the system.
run("generate", *question[:4], "--max-tokens", "1")
begin = time.monotonic()
run("generate", *question[:4], "--max-tokens", "1")
print(f"{size} bytes stripped; {version.strip()}; first token after {1000 * (time.monotonic() - begin):.0f} ms")
