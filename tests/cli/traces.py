"""Recorded traces: a kill loses nothing that was written, several processes share a store, an edited example alone is recorded again,
and what does not fit (another teacher, other data, another temperature) is refused with its name."""
import json, os, pathlib, signal, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
data = root / "assets/data/classical_modern_train.tsv.zst"
if not retort.exists() or not data.exists():
    sys.exit(77)
folder = pathlib.Path(tempfile.mkdtemp(prefix="retort-traces-"))
config = """{model_type: qwen3, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 32,
 intermediate_size: 96, hidden_act: silu, rms_norm_eps: 1.0e-6, rope_theta: 10000, max_position_embeddings: 512,
 tie_word_embeddings: true}"""


def run(*arguments, code=0, says=""):
    result = subprocess.run([str(retort), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert result.returncode == code, f"retort {arguments}: {result.returncode}\n{result.stderr}"
    assert says in result.stderr, f"retort {arguments}:\n{result.stderr}\nexpected '{says}'"
    return result


def inspect(store):
    return json.loads(run("inspect", store, "--json", "-").stdout)


def trace(store, *more, teacher="teacher", source=data, limit=1500):
    return ["trace", "--teacher", folder / teacher / "model", "--data", source, "--limit", limit, "--threads", "1", "--out", store, *more]


for seed, name in enumerate(["teacher", "other", "student"]):
    run("train", "--config", config, "--tokenizer", root / "assets/teacher", "--data", data, "--limit", "200", "--validation-share", "0",
        "--steps", "2", "--batch-tokens", "512", "--seed", seed, "--threads", "1", "--precision", "fp32", "--out", folder / name)

# Whole, for comparison.
run(*trace(folder / "whole"))
whole = inspect(folder / "whole")
assert whole["complete"] and whole["target_tokens"] > 10000, whole
assert whole["bytes_per_target_token"] <= 100, whole

# Killed as soon as something is on disk: the store opens, is not complete, and the same command records the rest.
killed = folder / "killed"
process = subprocess.Popen([str(retort), *map(str, trace(killed, "--batch-tokens", "512"))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while process.poll() is None and not any(p.stat().st_size for p in killed.glob("*.trace")):
    time.sleep(0.02)
process.send_signal(signal.SIGKILL)
process.wait()
part = inspect(killed)
assert 0 < part["target_tokens"] < whole["target_tokens"] and not part["complete"], (part, whole)
told = run(*trace(killed)).stderr
assert f"{part['examples']} are recorded already" in told, told
after = inspect(killed)
assert after["complete"] and after["target_tokens"] == whole["target_tokens"], (after, whole)

# Two processes at once.
both = [subprocess.Popen([str(retort), *map(str, trace(folder / "shared"))], stderr=subprocess.DEVNULL) for _ in range(2)]
assert [p.wait() for p in both] == [0, 0]
assert inspect(folder / "shared")["target_tokens"] == whole["target_tokens"]

# One edited example is recorded, the others are found.
lines = subprocess.run(["zstd", "-dc", data], capture_output=True, check=True).stdout.decode().splitlines()[:300]
pairs = folder / "pairs.tsv"
pairs.write_text("\n".join(lines) + "\n")
run(*trace(folder / "edited", source=pairs, limit=0))
before = inspect(folder / "edited")["examples"]
lines[7] = lines[7] + "也"
pairs.write_text("\n".join(lines) + "\n")
run(*trace(folder / "edited", source=pairs, limit=0), "--json", folder / "figures.json")
assert json.loads((folder / "figures.json").read_text())["examples"] == before + 1

# A student learns from them without a teacher; what does not fit is refused before the first step.
def distill(out, *more, code=0, says=""):
    return run("distill", "--student", folder / "student/model", "--data", data, "--limit", "1500", "--validation-share", "0", "--steps", "3",
               "--batch-tokens", "512", "--threads", "1", "--out", folder / out, *more, code=code, says=says)


distill("learned", "--traces", killed)
assert json.loads((folder / "learned/train.json").read_text())["steps"] == 3
distill("no", code=2, says="teacher: found nothing")
distill("no", "--traces", killed, "--teacher", folder / "other/model", code=2, says="recorded of another teacher")
distill("no", "--traces", killed, "--temperature", "2", code=2, says="temperature")
distill("no", "--traces", folder / "edited", code=2, says="training examples")
distill("no", "--traces", folder / "teacher", code=2, says="trace.json")
run(*trace(killed, teacher="other"), code=2, says="teacher: found")
run(*trace(killed, "--top-k", "5"), code=2, says="top_k: found 16")
run(*trace(folder / "no", "--top-k", "0"), code=2, says="top_k from 1")
run("train", "--model", folder / "student/model", "--data", data, "--limit", "100", "--steps", "1", "--terms", '[{"name": "forward_kl"}]',
    "--out", folder / "no", code=2, says="compares with a teacher")
print("traces: kill, two processes, an edited example and refusals as they should be")
