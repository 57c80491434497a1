"""Answers written by a model: the same after a kill, filtered, and learned by `train`."""
import json, os, pathlib, signal, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
teacher = root / "assets/teacher"
if not retort.exists() or not (teacher / "config.json").exists():
    sys.exit(77)
folder = pathlib.Path(tempfile.mkdtemp(prefix="retort-generate-"))


def call(*arguments, code=0, says=""):
    result = subprocess.run([str(retort), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert result.returncode == code, f"retort {arguments}: {result.returncode}\n{result.stderr}"
    assert says in result.stderr, f"retort {arguments}:\n{result.stderr}\nexpected '{says}'"
    return result


questions = folder / "questions.jsonl"
sources = [line.split("\t") for line in
           subprocess.run(["zstd", "-dc", root / "assets/data/classical_modern_train.tsv.zst"], capture_output=True, text=True).stdout.splitlines()[:24]]
questions.write_text("".join(json.dumps({"question": q, "answer": a}, ensure_ascii=False) + "\n" for q, a in sources))


def generate(out, *more, seed=5):
    return ["data", "generate", "--model", teacher, "--data", questions, "--best-of", "2", "--temperature", "0.8", "--max-tokens", "48", "--block", "4",
            "--seed", seed, "--threads", "1", "--pattern", r"\p{Han}", "--out", out, *more]


call(*generate(folder / "whole.jsonl"))
lines = [json.loads(line) for line in (folder / "whole.jsonl").read_text().splitlines()]
assert 12 <= len(lines) <= 24, len(lines)
asked = [line["messages"][0]["content"] for line in lines]
assert asked == [q for q, _ in sources if q in asked], "order of the questions"
assert all(line["messages"][1]["role"] == "assistant" and line["likelihood"] < 0 for line in lines)

out = folder / "killed.jsonl"
journal = folder / "killed.jsonl.partial"
process = subprocess.Popen([str(retort), *map(str, generate(out))], stderr=subprocess.DEVNULL)
while process.poll() is None and not (journal.exists() and "#block" in journal.read_text()):
    time.sleep(0.01)
process.send_signal(signal.SIGKILL)
process.wait()
assert not out.exists() and journal.exists()
journal.write_bytes(journal.read_bytes() + b'{"messages": [half a li')  # what a kill may leave
call(*generate(out), says="Going on behind block")
assert out.read_bytes() == (folder / "whole.jsonl").read_bytes() and not journal.exists()
call(*generate(folder / "other.jsonl", seed=6))
assert (folder / "other.jsonl").read_bytes() != out.read_bytes()

# A judge's choice, a check that nothing passes, and what is said wrong.
call(*generate(folder / "judged.jsonl", "--judge", teacher, "--rank", "judge", "--limit", "4"))
assert all("judged" in json.loads(line) for line in (folder / "judged.jsonl").read_text().splitlines())
call(*generate(folder / "none.jsonl", "--check", "number", "--limit", "4"), says='"wrong"')
assert (folder / "none.jsonl").read_text() == ""
call(*generate(folder / "x.jsonl", "--check", "regex"), code=2, says="check_pattern")
call(*generate(folder / "x.jsonl", "--rank", "judge"), code=2, says="judge")
call(*generate(folder / "x.jsonl", "--keep", "3"), code=2, says="keep")

# The road of R1: text alone.
call("train", "--model", teacher, "--data", out, "--validation-share", "0", "--steps", "2", "--batch-tokens", "512", "--threads", "1", "--out", folder / "learned")
print(f"{len(lines)} answers to {len(sources)} questions, the same after a kill")
