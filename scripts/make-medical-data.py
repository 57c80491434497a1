#!/usr/bin/env python3
"""Makes assets/data/medical_{valid,train}.tsv.zst from two sets of medical questions and doctors' answers.

Usage: scripts/make-medical-data.py TOYHOM.jsonl[.zst] HUATUO.jsonl[.zst] [FOLDER]

TOYHOM: objects with `ask` and `answer` (Chinese-medical-dialogue-data, internal medicine); HUATUO: objects with `question` and
`answer` (consultations of Huatuo-26M). White space inside a text becomes one space. The validation list holds 512 pairs drawn by
hash; the training pairs share no text with it, neither side, compared as normalized_for_overlap does, and lie in an order drawn by
another hash, so that the first 500 or 2,000 of them are a fair sample of both sets.
"""
import json
import runpy
import subprocess
import sys
from pathlib import Path

demo = runpy.run_path(str(Path(__file__).with_name("make-demo-data.py")))
normalized, place, write = demo["normalized"], demo["place"], demo["write"]

VALIDATION_PAIRS = 512
QUESTION_CHARS = range(4, 121)
ANSWER_CHARS = range(20, 241)


def read_pairs(path):
    data = subprocess.run(["zstd", "-dcqf", str(path)], check=True, stdout=subprocess.PIPE).stdout
    for line in data.decode("utf-8").splitlines():
        record = json.loads(line)
        yield tuple(" ".join(text.split()) for text in (record.get("ask") or record["question"], record["answer"]))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder = Path(sys.argv[3] if len(sys.argv) == 4 else Path(__file__).resolve().parent.parent / "assets" / "data")
    seen, pairs = set(), []
    for path in sys.argv[1:3]:
        before = len(pairs)
        for question, answer in read_pairs(Path(path)):
            normal = normalized(question), normalized(answer)
            # A question or an answer that comes again, even between other words, comes once.
            if len(question) in QUESTION_CHARS and len(answer) in ANSWER_CHARS and all(normal) and not seen & set(normal):
                seen.update(normal)
                pairs.append((question, answer))
        print(f"{path}: {len(pairs) - before} pairs")
    pairs.sort(key=lambda p: place("validation", *p))
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "medical_valid.tsv.zst", pairs[:VALIDATION_PAIRS])
    write(folder / "medical_train.tsv.zst", sorted(pairs[VALIDATION_PAIRS:], key=lambda p: place("training", *p)))


if __name__ == "__main__":
    main()
