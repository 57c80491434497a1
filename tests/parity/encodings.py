"""Every encoding against the `gguf` package: random blocks decode to the same bits; Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, F16 and BF16
encode to the same bytes; the others lose no more than a plain encoder does."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize
except ImportError:
    sys.exit(77)

tool = Path(os.environ["RETORT_BIN"]) / "encoding_tool"
folder = Path(tempfile.mkdtemp())


def run(*arguments):
    result = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, f"{arguments}: {result.stderr}"
    return result.stdout


def ours(verb, name, data, *arguments):
    source, target = folder / "in", folder / "out"
    source.write_bytes(data.tobytes())
    run(verb, name, *([arguments[0]] if verb == "encode" else []), source, target, *arguments[1:])
    return target.read_bytes()


rng = np.random.default_rng(5)
# Rows of different kinds: bell-shaped, heavy tails, one-sided, tiny, huge, constant, zeros, sparse.
columns = 512
kinds = [rng.normal(0, 0.02, (40, columns)), rng.standard_t(3, (40, columns)) * 0.05, rng.exponential(0.1, (10, columns)),
         -rng.exponential(0.1, (10, columns)), rng.normal(0, 1e-6, (5, columns)), rng.normal(0, 500, (5, columns)),
         np.full((2, columns), 0.3), np.full((2, columns), -0.3), np.zeros((2, columns)),
         rng.normal(0, 1, (5, columns)) * (rng.random((5, columns)) < 0.05)]
values = np.concatenate(kinds).astype(np.float32) + np.float32(0)  # no -0: which zero is the smallest, numpy leaves open
importance = rng.gamma(0.5, 1.0, columns).astype(np.float32)
# Squared error that a scale from the extremes alone gives; encoders that search must stay well below.
plain = {"q4_k": "q4_1", "q5_k": "q5_1", "q6_k": None, "iq4_nl": "q4_0", "mxfp4": None}

for line in run("list").split("\n")[:-1]:
    name, type_id, block, size, kind = line.split()
    if kind == "activations":
        continue
    ggml = GGMLQuantizationType(int(type_id))
    blocks = rng.integers(0, 256, (4000, int(size)), dtype=np.uint8)
    found = np.frombuffer(ours("decode", name, blocks), np.float32)
    with np.errstate(all="ignore"):
        expected = dequantize(blocks, ggml).astype(np.float32).ravel()
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan), f"{name}: NaN elsewhere"
    different = (found.view(np.uint32) != expected.view(np.uint32)) & ~nan
    assert not different.any(), f"{name}: {different.sum()} of {different.size} values differ"

    encoded = ours("encode", name, values, columns)
    decoded = np.frombuffer(ours("decode", name, np.frombuffer(encoded, np.uint8)), np.float32).reshape(values.shape)
    error = float(((decoded - values)[:80].astype(np.float64) ** 2).sum())
    note = f"squared error {error:.6g}"
    if name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"):
        reference = quantize(values, ggml).tobytes()
        assert len(reference) == len(encoded)
        if reference != encoded:
            a, b = (np.frombuffer(x, np.uint8).reshape(-1, int(size)) for x in (reference, encoded))
            rows = np.nonzero((a != b).any(1))[0]
            assert False, f"{name}: {len(rows)} of {len(a)} blocks differ, first {rows[0]}:\n{a[rows[0]]}\n{b[rows[0]]}"
        note += ", bytes equal"
    if name == "mxfp4":
        reference = float(((dequantize(quantize(values, ggml), ggml) - values)[:80].astype(np.float64) ** 2).sum())
        assert error <= reference, f"{name}: {error} > {reference}"
    if plain.get(name):
        other = GGMLQuantizationType[plain[name].upper()]
        reference = float(((dequantize(quantize(values, other), other) - values)[:80].astype(np.float64) ** 2).sum())
        assert error < reference, f"{name}: {error} > {plain[name]}'s {reference}"
    if name in ("q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k", "iq4_nl", "mxfp4"):
        (folder / "importance").write_bytes(importance.tobytes())
        weighted = np.frombuffer(ours("decode", name, np.frombuffer(
            ours("encode", name, values, columns, folder / "importance"), np.uint8)), np.float32).reshape(values.shape)
        with_importance = float(((weighted - values)[:80].astype(np.float64) ** 2 * importance).sum())
        without = float(((decoded - values)[:80].astype(np.float64) ** 2 * importance).sum())
        assert with_importance < without, f"{name}: {with_importance} ≥ {without}"
        note += f", weighted {without:.5g} → {with_importance:.5g}"
    print(f"{name}: {note}")
