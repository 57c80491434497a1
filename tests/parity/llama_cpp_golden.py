"""The shipped teacher in F16 continues 60 prompts greedily as llama.cpp does with the same file: its answers of 32 tokens are checked
in (tests/fixtures/llama_cpp/greedy.json). With `write` as argument and llama-cpp-python they are made anew."""
import json
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"
TEACHER, GOLDEN = ROOT / "assets/teacher", ROOT / "tests/fixtures/llama_cpp/greedy.json"
TOKENS, CLOSE, END = 32, 0.02, 2  # a mismatch counts unless the two logits are this near
CHARACTERS = "子曰学而时习之不亦说乎有朋自远方来人知愠君孝弟其为仁本与巧言令色鲜矣吾省身谋忠交信传道千乘国敬事节用爱使民以"


def edge(*arguments, **options):
    result = subprocess.run([EDGE, *map(str, arguments)], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def write():
    import llama_cpp
    draw = random.Random(7)
    texts = ["".join(draw.choices(CHARACTERS, k=draw.randint(6, 30))) + "。" for _ in range(60)]
    answers = {"texts": texts, "llama-cpp-python": llama_cpp.__version__}
    with tempfile.TemporaryDirectory() as folder:
        for encoding in ("f16",):
            edge("quantize", "--model", TEACHER, "--encoding", encoding, "--out", f"{folder}/{encoding}.gguf")
            llama = llama_cpp.Llama(f"{folder}/{encoding}.gguf", n_ctx=128, n_threads=1, verbose=False)
            answers[encoding] = []
            for text in texts:
                llama.reset()
                answer = []
                for token in llama.generate(llama.tokenize(f"<|user|>{text}<|assistant|>".encode(), add_bos=False, special=True),
                                            temp=0, top_k=1, repeat_penalty=1.0):
                    if token == END or len(answer) == TOKENS:
                        break
                    answer.append(token)
                answers[encoding].append(answer)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(answers, ensure_ascii=False) + "\n")


def gap(model, tokens, ours, theirs):
    """By how much our logit of `ours` is above that of `theirs` behind these tokens."""
    lines = "\n".join(json.dumps(dict(tokens=tokens + [token])) for token in (ours, theirs))
    best, other = (json.loads(line)["logprobs"][-1] for line in edge("score", "--model", model, "--file", "-", input=lines).splitlines())
    return best - other


def check():
    golden = json.loads(GOLDEN.read_text())
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for encoding in ("f16",):
            model = Path(folder) / f"{encoding}.gguf"
            edge("quantize", "--model", TEACHER, "--encoding", encoding, "--out", model)

            def answer(text):
                out = edge("generate", "--model", model, "--prompt", text, "--temperature", 0, "--max-tokens", TOKENS, "--threads", 1, "--json", "-")
                return json.loads(out)["tokens"]

            equal = 0
            for text, found, wanted in zip(golden["texts"], pool.map(answer, golden["texts"]), golden[encoding]):
                if found == wanted:
                    equal += 1
                    continue
                at = next(i for i in range(TOKENS) if found[i:i + 1] != wanted[i:i + 1])
                prompt = json.loads(edge("tokenize", "encode", "--tokenizer", TEACHER, "--parse-added-tokens", "--file", "-",
                                         input=f"<|user|>{text}<|assistant|>\n").splitlines()[0])
                by = gap(model, prompt + found[:at], (found + [END])[at], (wanted + [END])[at])
                assert by <= CLOSE, f"{encoding}: {text}: token {at} is {found[at:at + 1]} for {wanted[at:at + 1]}, {by:.3f} above"
            print(f"{encoding}: {equal} of {len(golden['texts'])} answers equal llama.cpp's, the others part at logits within {CLOSE}")


write() if sys.argv[1:] == ["write"] else check()
