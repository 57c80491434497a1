"""recipes/finetune.yaml with a random student and next to no training: every method, amount and seed is there, the table and its
pictures are whole, and a second run has nothing to do. A frozen base in 8 or 4 bits needs as much less memory as its bytes are fewer."""
import json, os, pathlib, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
if not retort.exists() or not (root / "assets/teacher/config.json").exists():
    sys.exit(77)
config = """{model_type: qwen3, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16,
 intermediate_size: 48, hidden_act: silu, rms_norm_eps: 1.0e-6, rope_theta: 10000, max_position_embeddings: 512,
 tie_word_embeddings: true}"""


def run(*arguments):
    result = subprocess.run([str(retort), *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"retort {' '.join(map(str, arguments))}\n{result.stderr}"
    return result


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    run("train", "--config", config, "--tokenizer", "assets/teacher", "--data", "assets/data/medical_valid.tsv.zst", "--limit", "50", "--steps", "2",
        "--batch-tokens", "1024", "--out", folder / "student")
    command = ["run", "recipes/finetune.yaml", f"--run={folder}/out", f"--student={folder}/student/model", "--device=cpu", "--steps=3", "--pairs=4",
               "--general_pairs=6", "--seeds=[1, 2]", "--batch_tokens=1024", "--max_tokens=6",
               '--sizes=[{name: "40", limit: 40}, {name: all, limit: 60}]', "--prefix-*.num_virtual_tokens=4"]
    said = run(*command)
    report = json.loads((folder / "out/report.json").read_text())
    rows = {row["name"]: row["values"] for row in report["table"]["rows"]}
    methods, sizes = ("full", "lora", "prefix", "hybrid"), ("40", "all")
    assert list(rows) == ["copying the question", "student before"] + [f"{m}, {s} records" for s in sizes for m in methods], list(rows)
    for size in sizes:
        trained = [rows[f"{m}, {size} records"]["trainable_parameters"] for m in methods]
        assert trained[0] > trained[3] > trained[1] and abs(trained[2] - 2 * 4 * 32 * 1e-6) < 1e-9, trained
        for method in methods:
            row = rows[f"{method}, {size} records"]
            for column in ("nats_per_char", "rouge_l", "forgotten", "training_seconds", "training_peak_memory_bytes", "result_bytes"):
                assert row[column] is not None, (method, size, column)
    # A row is its seeds together.
    judged = [json.loads((folder / f"out/judge/lora-all-{seed}.json").read_text())["nats_per_char"] for seed in (1, 2)]
    assert abs(rows["lora, all records"]["nats_per_char"] - sum(judged) / 2) < 1e-9
    assert [len(series["points"]) for plot in report["plots"] for series in plot["series"]] == [4] * 6, report["plots"]
    assert len(report["comparisons"]) == 12 and len(report["curves"]) > 0
    assert "trained parameters" in (folder / "out/report.html").read_text() and "hybrid, all records" in said.stdout
    again = run(*command)
    assert again.stderr.count("done before") == 3 + 3 * 16 + 1, again.stderr

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    weights = 7 * (4 * 512 * 512 + 3 * 512 * 1536)  # of assets/teacher's linear layers
    peak = {}
    for encoding, bits in {"none": 32, "q8_0": 8.5, "q4_0": 4.5}.items():
        run("train", "--model", "assets/teacher", "--adapter", "lora", "--base-encoding", encoding, "--data", "assets/data/medical_valid.tsv.zst",
            "--limit", "50", "--validation-share", "0", "--steps", "2", "--batch-tokens", "512", "--precision", "fp32", "--threads", "1", "--out",
            folder / encoding)
        peak[encoding] = json.loads((folder / encoding / "train.json").read_text())["peak_memory_bytes"]
        saved = weights * (32 - bits) / 8
        print(f"{encoding}: peak {peak[encoding] / 1e6:.1f} MB, {(peak['none'] - peak[encoding]) / 1e6:.1f} lower, {saved / 1e6:.1f} saved")
        assert peak["none"] - peak[encoding] >= saved, (encoding, peak, saved)
print("passed")
