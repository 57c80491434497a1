"""Kills a training run at random moments (SIGKILL) and starts the same command again until it ends: the final weights must be
those of a run that was never disturbed, bit for bit. Argument: the number of kills (default 3)."""
import hashlib, json, os, pathlib, random, shutil, signal, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
teacher = root / "assets/teacher"
if not retort.exists() or not (teacher / "config.json").exists():
    sys.exit(77)
kills_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 3

config = """{model_type: qwen3, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 32,
 intermediate_size: 128, hidden_act: silu, rms_norm_eps: 1.0e-6, rope_theta: 10000, max_position_embeddings: 512,
 tie_word_embeddings: true}"""


def command(out):
    return [str(retort), "train", "--config", config, "--tokenizer", str(teacher), "--data",
            str(root / "assets/data/classical_modern_train.tsv.zst"), "--limit", "600", "--steps", "240", "--batch-tokens", "512",
            "--dropout", "0.1", "--validate-every", "60", "--save-seconds", "0.05", "--out", str(out)]


def digest(out):
    return hashlib.sha256((out / "model/model.safetensors").read_bytes()).hexdigest()


# Every record once, with the calm run's figures (but for the speed).
def metrics(out):
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if "per_second" not in key} for record in records]


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    began = time.time()
    subprocess.run(command(folder / "calm"), check=True, stderr=subprocess.DEVNULL)
    whole = time.time() - began
    random.seed(7)
    kills = resumed = 0
    while kills < kills_wanted:
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        while True:  # until it ends by itself
            process = subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True)
            try:
                _, log = process.communicate(timeout=random.uniform(0.2, 0.8) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            assert process.returncode == 0, log
            resumed += "Going on from" in log
            break
        assert digest(out) == digest(folder / "calm"), f"other weights after {kills} kills"
        assert metrics(out) == metrics(folder / "calm"), f"other records after {kills} kills"
    print(f"{kills} kills, {resumed} runs went on from a checkpoint, same bits")
    assert resumed > 0
