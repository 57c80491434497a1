"""A run of stages with several teachers, an average of the student and on-policy batches, killed and started again: the same bits, and every
record once. Then what is said wrong, by name."""
import hashlib, json, os, pathlib, random, signal, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
data = root / "assets/data/classical_modern_train.tsv.zst"
if not retort.exists() or not data.exists():
    sys.exit(77)
folder = pathlib.Path(tempfile.mkdtemp(prefix="retort-stages-"))
config = """{model_type: qwen3, hidden_size: %d, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 32,
 intermediate_size: 96, hidden_act: silu, rms_norm_eps: 1.0e-6, rope_theta: 10000, max_position_embeddings: 512,
 tie_word_embeddings: true}"""


def call(*arguments, code=0, says=""):
    result = subprocess.run([str(retort), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert result.returncode == code, f"retort {arguments}: {result.returncode}\n{result.stderr}"
    assert says in result.stderr, f"retort {arguments}:\n{result.stderr}\nexpected '{says}'"
    return result


for seed, (name, width) in enumerate([("small", 48), ("large", 64), ("student", 32)]):
    call("train", "--config", config % width, "--tokenizer", root / "assets/teacher", "--data", data, "--limit", "300", "--validation-share",
         "0", "--steps", "4", "--batch-tokens", "512", "--seed", seed, "--threads", "1", "--precision", "fp32", "--out", folder / name)

stages = [
    {"name": "features", "steps": 12, "terms": [{"name": "hidden_mse", "layers": [[0, 0]], "relative": True}], "train": ["mlp", "embed_tokens"]},
    {"name": "soft", "steps": 14, "terms": [{"name": "forward_kl", "temperature": {"schedule": "linear", "from": 3, "to": 1}},
                                             {"name": "exit_kl", "weight": 0.1}]},
    {"name": "task", "steps": 14, "terms": [{"name": "generalized_jsd", "weight": 0.5}, {"name": "cross_entropy", "weight": 0.5},
                                             {"name": "hidden_mse", "layers": [[0, 0]], "relative": True, "weight": 0.1}],
     "on_policy": {"share": 0.5, "temperature": 1, "max_tokens": 12}},
]
teachers = [{"model": str(folder / "large/model"), "weight": 0.6}, {"model": str(folder / "small/model"), "weight": 0.3}, {"average": 0.9, "weight": 0.1}]


def distill(out, *more, stages=stages, teachers=teachers):
    return ["distill", "--teachers", json.dumps(teachers), "--student", folder / "student/model", "--data", data, "--limit", "300", "--stages",
            json.dumps(stages), "--batch-tokens", "512", "--log-every", "1", "--threads", "1", "--precision", "fp32", "--save-seconds", "0.05", "--out",
            out, *more]


def weights(out):
    return hashlib.sha256((out / "model/model.safetensors").read_bytes()).hexdigest()


def records(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "per_second" not in key} for line in lines]


began = time.time()
call(*distill(folder / "calm"))
whole = time.time() - began
steps = [record for record in records(folder / "calm") if "train/loss" in record]
assert len(steps) == 40, len(steps)
for record in steps:
    stage = 0 if record["step"] <= 12 else 1 if record["step"] <= 26 else 2
    assert record["train/stage"] == stage, record
    assert ("train/hidden_mse" in record) == (stage != 1), record
    assert ("train/forward_kl" in record) == (stage == 1), record
    assert ("train/generalized_jsd" in record) == (stage == 2), record
own = sum("train/cross_entropy" not in record for record in steps[26:])
assert 2 <= own <= 12, own  # batches that the student wrote have no labels
assert steps[12]["train/forward_kl_temperature"] == 3 and steps[25]["train/forward_kl_temperature"] == 1, steps[12]

random.seed(3)
out, kills, resumed = folder / "killed", 0, 0
while True:
    process = subprocess.Popen([str(retort), *map(str, distill(out))], stderr=subprocess.PIPE, text=True)
    try:
        _, log = process.communicate(timeout=random.uniform(0.3, 0.7) * whole if kills < 3 else 300)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        continue
    assert process.returncode == 0, log
    resumed += "Going on from" in log
    break
assert weights(out) == weights(folder / "calm"), f"other weights after {kills} kills"
assert records(out) == records(folder / "calm"), f"other records after {kills} kills"

# The same again is done already; another teacher weight is another run.
call(*distill(out), says="done already")
call(*distill(out, teachers=[dict(teachers[0], weight=0.5), *teachers[1:]]), code=2, says="other options")


def refused(says, *more, **changed):
    call(*distill(folder / "refused", *more, **changed), code=2, says=says)


refused("an empty list", stages=[])
refused("sum to 0.6", "--steps", "10", stages=[{"share": 0.3}, {"share": 0.3}])
refused("40 steps in all stages, and 10 in the run", "--steps", "10")
refused("Did you mean 'terms'", stages=[{"steps": 3, "term": []}])
refused("Did you mean 'hidden_mse'", stages=[{"steps": 3, "terms": [{"name": "hiden_mse"}]}])
refused("'mlpp', which matches no parameter", stages=[{"steps": 3, "train": ["mlpp"]}])
refused("no term that compares", stages=[{"steps": 3, "terms": [{"name": "cross_entropy"}], "on_policy": {"share": 0.5}}])
refused("share: found 2", stages=[{"steps": 3, "on_policy": {"share": 2}}])
refused("weights that sum to 0", teachers=[dict(teachers[0], weight=0)])
refused("no model", teachers=[{"weight": 1}])
refused("up_to: found nothing", "--teachers-by", "prompt_length")
refused("terms on layers, and a teacher chosen", "--teachers-by", "prompt_length", teachers=[dict(teachers[0], up_to=20), teachers[1]])
refused("another shape", stages=[{"steps": 2, "terms": [{"name": "hidden_mse", "layers": [[0, 0]]}]},
                                 {"steps": 2, "terms": [{"name": "attention_kl", "label": "hidden_mse", "head_map": "project"}]},
                                 {"steps": 2, "terms": [{"name": "attention_kl", "label": "hidden_mse", "head_map": "project", "heads": 0.5}]}])

# A stage's own mixture: of two files the second, which says one thing alone, is learned soon when nothing else is drawn.
refused("expected a list of 2 ratios", stages=[{"steps": 3, "data": [str(data), str(data)], "mixture": [1, 2, 3]}])
hard, easy = folder / "hard.tsv", folder / "easy.tsv"
hard.write_text("".join(f"问{i}\t{i * i}之{i + 7}也\n" for i in range(200)))
easy.write_text("一\t二\n" * 200)
call("train", "--model", folder / "student/model", "--data", hard, "--validation-share", "0", "--stages",
     json.dumps([{"name": "mixed", "steps": 80, "data": [str(hard), str(easy)], "mixture": [0, 1]}]),
     "--batch-tokens", "512", "--learning-rate", "0.01", "--log-every", "1", "--threads", "1", "--out", folder / "mixed")
losses = [record["train/loss"] for record in records(folder / "mixed") if "train/loss" in record]
assert losses[-1] < 0.1 * losses[0], losses

# Two stages that alternate, and one that chooses its teacher by difficulty.
call("distill", "--teachers", json.dumps([{"model": str(folder / "small/model"), "up_to": 2.5}, {"model": str(folder / "large/model")}]),
     "--teachers-by", "student_loss", "--student", folder / "student/model", "--data", data, "--limit", "300", "--stages",
     json.dumps([{"name": "a", "steps": 2}, {"name": "b", "steps": 1, "terms": [{"name": "reverse_kl"}]}]), "--rounds", "3", "--batch-tokens", "512",
     "--log-every", "1", "--threads", "1", "--out", folder / "alternate")
found = [record["train/stage"] for record in records(folder / "alternate") if "train/loss" in record]
assert found == [0, 0, 1] * 3, found
print(f"{kills} kills, {resumed} went on from a checkpoint, same bits")
