#!/usr/bin/env python3
"""Makes assets/data/classical_modern_{valid,train}.tsv.zst from the NiuTrans Classical-Modern pairs.

Usage: scripts/make-demo-data.py PAIRS.tsv[.zst] [FOLDER]

The validation list holds 4,096 pairs drawn by hash from all pairs that are translations at all: nothing easy is picked. The
training slice is drawn by hash from the pairs that share no text with the list: neither side, compared as
normalized_for_overlap does (NFKC, case folded, letters and digits only). Standard library and the zstd program only; the
same input gives the same bytes (up to the version of zstd).
"""
import hashlib
import subprocess
import sys
import unicodedata
from pathlib import Path

VALIDATION_PAIRS = 4096
TRAINING_PAIRS = 86000  # about 5 MB compressed
SOURCE_CHARS = range(4, 121)
TARGET_CHARS = range(4, 241)
LENGTH_RATIO = (0.5, 5.0)  # target / source; outside, one side is cut off or belongs elsewhere


def normalized(text):
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LN")


def read_pairs(path):
    if path.suffix == ".zst":
        data = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
    else:
        data = path.read_bytes()
    for line in data.decode("utf-8").split("\n"):
        fields = [field.strip() for field in line.rstrip("\r").split("\t")]
        if len(fields) == 2 and all(fields):
            yield fields[0], fields[1]


def is_translation(source, target, normal_source, normal_target):
    ratio = len(normal_target) / max(len(normal_source), 1)
    return (len(source) in SOURCE_CHARS and len(target) in TARGET_CHARS and normal_source != normal_target
            and LENGTH_RATIO[0] <= ratio <= LENGTH_RATIO[1])


def place(salt, source, target):
    """A pair's place in an order that depends on its text alone."""
    return hashlib.sha256(f"{salt}\t{source}\t{target}".encode()).digest()


def write(path, pairs):
    text = "".join(f"{source}\t{target}\n" for source, target in pairs)
    packed = subprocess.run(["zstd", "-19", "--long=24", "-T1", "-qc"], input=text.encode(), check=True, stdout=subprocess.PIPE)
    path.write_bytes(packed.stdout)
    print(f"{path}: {len(pairs)} pairs, {len(packed.stdout)} bytes")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else Path(__file__).resolve().parent.parent / "assets" / "data")

    seen, pairs = set(), []
    for source, target in read_pairs(Path(sys.argv[1])):
        normal = normalized(source), normalized(target)
        if normal in seen or not all(normal):
            continue
        seen.add(normal)
        if is_translation(source, target, *normal):
            pairs.append((source, target, *normal))
    print(f"{len(pairs)} distinct translations")

    # Each text at most once in the list, on either side.
    validation, sources, targets = [], set(), set()
    for pair in sorted(pairs, key=lambda p: place("validation", p[0], p[1])):
        if pair[2] in sources or pair[3] in targets:
            continue
        validation.append(pair[:2])
        sources.add(pair[2])
        targets.add(pair[3])
        if len(validation) == VALIDATION_PAIRS:
            break

    texts = sources | targets
    training = [p[:2] for p in pairs if p[2] not in texts and p[3] not in texts]
    print(f"{len(training)} of them share no text with the validation list")
    training.sort(key=lambda p: place("training", *p))

    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "classical_modern_valid.tsv.zst", validation)
    write(folder / "classical_modern_train.tsv.zst", training[:TRAINING_PAIRS])


if __name__ == "__main__":
    main()
