"""Encoding speed beside the `tokenizers` library, one thread each, the same lines and the same ids.

  RETORT_BIN=build/bin .venv/bin/python bench/data/tokenizer_speed.py [FILE …]

Without files: the pairs that ship with the project (Chinese, English) and the project's own sources.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]


def unpack(source, target):
    target.mkdir()
    for path in source.iterdir():
        content = path.read_bytes()
        if path.suffix == ".zst":
            content = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
        (target / path.name.removesuffix(".zst")).write_bytes(content)
    return target


def texts(folder):
    chinese = subprocess.run(["zstd", "-dcq", str(ROOT / "assets/data/classical_modern_train.tsv.zst")], capture_output=True, check=True).stdout
    (folder / "chinese").write_bytes(chinese[:chinese.index(b"\n", 4_000_000) + 1])
    english = (ROOT / "tests/fixtures/gsm8k/pairs.tsv").read_bytes()
    (folder / "english").write_bytes(english * 8)  # words repeat in English texts of any length
    (folder / "code").write_bytes(b"".join(path.read_bytes() for path in sorted(ROOT.glob("src/**/*.[ch]*"))))
    return [folder / name for name in ("chinese", "english", "code")]


def main():
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        files = [pathlib.Path(name) for name in sys.argv[1:]] or texts(temporary)
        print(f"{'tokenizer':10} {'text':10} {'tokenizers MB/s':>16} {'Retort MB/s':>12} {'ratio':>6} {'opening s':>10}")
        for name in ["qwen3", "gpt2", "minimind"]:
            folder = unpack(ROOT / "tests/fixtures/tokenizers" / name, temporary / name)
            reference = (transformers.GPT2Tokenizer if name == "gpt2" else transformers.AutoTokenizer).from_pretrained(folder)._tokenizer
            for path in files:
                lines = path.read_text(encoding="utf-8").split("\n")
                lines = lines[:-1] if lines[-1] == "" else lines
                best = {}
                for _ in range(3):
                    begin = time.perf_counter()
                    ids = sum(len(encoding.ids) for encoding in reference.encode_batch_fast(lines, add_special_tokens=False))
                    best["theirs"] = min(best.get("theirs", 1e9), time.perf_counter() - begin)
                    ours = json.loads(subprocess.run([os.environ["RETORT_BIN"] + "/tokenizer_tool", "speed", str(folder), str(path), "1"],
                                                     capture_output=True, check=True).stdout)
                    assert ours["ids"] == ids, (ours, ids)
                    best["ours"] = min(best.get("ours", 1e9), ours["seconds"])
                size = path.stat().st_size / 1e6
                print(f"{name:10} {path.name:10} {size / best['theirs']:16.2f} {size / best['ours']:12.2f} {best['theirs'] / best['ours']:6.1f} {ours['opening']:10.2f}", flush=True)


main()
