"""retort-edge as a user meets it: no LibTorch inside, small, quick to start; a dialogue through a pipe, Ctrl-C, bad input."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
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
