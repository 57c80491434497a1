"""The shipped teacher in F16 and in Q8_0 continues the first 60 validation texts greedily as llama.cpp does with the same files: its
answers of 32 tokens are checked in (tests/fixtures/llama_cpp/greedy.json), each token with the gap between its two best logits. With
`write` as argument and llama-cpp-python they are made anew.

Where products round their inputs to 8 bits, as both programs' do with Q8_0, a difference in the last place becomes one of a whole
step: llama.cpp with and without its flash attention differs from itself as much as from us (docs/llama-cpp.md)."""
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"
TEACHER, GOLDEN = ROOT / "assets/teacher", ROOT / "tests/fixtures/llama_cpp/greedy.json"
VALIDATION = ROOT / "assets/data/classical_modern_valid.tsv.zst"
ENCODINGS, TEXTS = ("f16", "q8_0"), 60
TOKENS, CLOSE, END = 32, 0.02, 2  # a mismatch counts unless one of the two programs has its two best logits this near


def edge(*arguments, **options):
    result = subprocess.run([EDGE, *map(str, arguments)], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def write():
    import llama_cpp
    import numpy
    lines = subprocess.run(["zstd", "-dc", VALIDATION], capture_output=True, text=True, check=True).stdout.splitlines()
    texts = [line.split("\t")[0] for line in lines[:TEXTS]]
    golden = {"llama-cpp-python": llama_cpp.__version__, "texts": texts}
    with tempfile.TemporaryDirectory() as folder:
        for encoding in ENCODINGS:
            edge("quantize", "--model", TEACHER, "--encoding", encoding, "--out", f"{folder}/{encoding}.gguf")
            llama = llama_cpp.Llama(f"{folder}/{encoding}.gguf", n_ctx=256, n_threads=1, verbose=False, logits_all=True)
            golden[encoding] = {"answers": [], "gaps": []}
            for text in texts:
                llama.reset()
                answer, gaps = [], []
                for token in llama.generate(llama.tokenize(f"<|user|>{text}<|assistant|>".encode(), add_bos=False, special=True),
                                            temp=0, top_k=1, repeat_penalty=1.0):
                    second, best = numpy.sort(llama.scores[llama.n_tokens - 1])[-2:]
                    gaps.append(round(float(best - second), 4))
                    if token == END or len(answer) == TOKENS:
                        break
                    answer.append(token)
                golden[encoding]["answers"].append(answer)
                golden[encoding]["gaps"].append(gaps)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False) + "\n")


def gap(model, tokens, ours, theirs):
    """By how much our logit of `ours` is above that of `theirs` behind these tokens."""
    lines = "\n".join(json.dumps(dict(tokens=tokens + [token])) for token in (ours, theirs))
    best, other = (json.loads(line)["logprobs"][-1] for line in edge("score", "--model", model, "--file", "-", input=lines).splitlines())
    return best - other


def check():
    golden = json.loads(GOLDEN.read_text())
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for encoding in ENCODINGS:
            model = Path(folder) / f"{encoding}.gguf"
            edge("quantize", "--model", TEACHER, "--encoding", encoding, "--out", model)

            def answer(text):
                out = edge("generate", "--model", model, "--prompt", text, "--temperature", 0, "--max-tokens", TOKENS, "--threads", 1, "--json", "-")
                return json.loads(out)["tokens"]

            equal = 0
            theirs = golden[encoding]
            for text, found, wanted, gaps in zip(golden["texts"], pool.map(answer, golden["texts"]), theirs["answers"], theirs["gaps"]):
                if found == wanted:
                    equal += 1
                    continue
                at = next(i for i in range(TOKENS) if found[i:i + 1] != wanted[i:i + 1])
                prompt = json.loads(edge("tokenize", "encode", "--tokenizer", TEACHER, "--parse-added-tokens", "--file", "-",
                                         input=f"<|user|>{text}<|assistant|>\n").splitlines()[0])
                by = gap(model, prompt + found[:at], (found + [END])[at], (wanted + [END])[at])
                assert min(by, gaps[at]) <= CLOSE, (f"{encoding}: {text}: token {at} is {found[at:at + 1]} for {wanted[at:at + 1]}, "
                                                    f"{by:.3f} above, theirs {gaps[at]:.3f} above")
            print(f"{encoding}: {equal} of {len(golden['texts'])} answers equal llama.cpp's, the others part at logits within {CLOSE}")


write() if sys.argv[1:] == ["write"] else check()
