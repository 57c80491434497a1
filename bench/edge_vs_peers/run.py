"""The edge engine beside llama.cpp and OpenVINO GenAI: one model of the Qwen3-0.6B shape with random weights, quantized by each, all in one
run, one after another, several rounds. Prints tokens per second (median of the rounds) and the ratios to the better peer.

  python3 -m venv llama && llama/bin/pip install llama-cpp-python            # compiled for this machine
  python3 -m venv openvino && openvino/bin/pip install -r requirements-openvino.txt
  run.py --tokenizer QWEN3_TOKENIZER --work FOLDER --retort BIN_FOLDER --llama llama/bin/python --openvino openvino/bin/python"""
import argparse, json, os, pathlib, statistics, subprocess, sys

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tokenizer", required=True)
parser.add_argument("--work", required=True, type=pathlib.Path)
parser.add_argument("--retort", default=here.parents[1] / "build/bin", type=pathlib.Path)
parser.add_argument("--llama", help="python of an environment with llama-cpp-python")
parser.add_argument("--openvino", help="python of an environment with openvino-genai and optimum")
parser.add_argument("--threads", default=os.cpu_count(), type=int)
parser.add_argument("--rounds", default=2, type=int, help="0: only make the files")
options = parser.parse_args()
work, threads = options.work, str(options.threads)
work.mkdir(parents=True, exist_ok=True)
encodings = ["q8_0", "q4_0", "q4_k_m"]


def call(*command, **more):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


if not (work / "model/config.json").exists():
    call(options.openvino or sys.executable, here / "make_model.py", options.tokenizer, work / "model")
for encoding in encodings:
    if not (work / f"{encoding}.gguf").exists():
        call(options.retort / "retort-edge", "quantize", "--model", work / "model", "--encoding", encoding, "--out", work / f"{encoding}.gguf")
if options.openvino:
    for weights in ["int8", "int4"]:
        if not (work / weights / "openvino_model.bin").exists():
            call(pathlib.Path(options.openvino).parent / "optimum-cli", "export", "openvino", "--model", work / "model", "--task",
                 "text-generation-with-past", "--weight-format", weights, work / weights)


def retort(file):
    def bench(*more):
        return json.loads(call(options.retort / "retort-edge", "bench", "--model", file, "--threads", threads, "--json", "-", *more))
    one, many = bench("--prompt", 512, "--generate", 64, "--batch", 1), bench("--prompt", 64, "--generate", 64, "--batch", 16)
    return {"prefill": one["prefill_tokens_per_second"], "decode": one["decode_tokens_per_second"],
            "decode_16": many["decode_tokens_per_second"], "share_of_read": one["decode_bandwidth_gb_s"] / one["read_bandwidth_gb_s"]}


runs = {f"retort {e}": (lambda e=e: retort(work / f"{e}.gguf")) for e in encodings}
if options.llama:
    runs |= {f"llama.cpp {e}": (lambda e=e: last_json(call(options.llama, here / "peer_llama_cpp.py", work / f"{e}.gguf", threads))) for e in encodings}
if options.openvino:
    runs |= {f"openvino {w}": (lambda w=w: last_json(call(options.openvino, here / "peer_openvino.py", work / w, threads))) for w in ["int8", "int4"]}
if options.rounds == 0:
    sys.exit()
seen = {name: [] for name in runs}
for number in range(options.rounds):
    for name, measure in runs.items():
        seen[name].append(measure())
        print(f"round {number + 1}, {name}: " + ", ".join(f"{k} {v:.3g}" for k, v in seen[name][-1].items()), file=sys.stderr, flush=True)

middle = {name: {k: statistics.median(r[k] for r in rounds) for k in rounds[0]} for name, rounds in seen.items()}
print(f"{'tokens per second':20}{'prefill 512':>14}{'decode':>10}{'16 together':>14}{'share of read bandwidth':>26}")
for name, row in middle.items():
    share = f"{row['share_of_read']:.2f}" if "share_of_read" in row else ""
    print(f"{name:20}{row['prefill']:14.0f}{row['decode']:10.1f}{row['decode_16']:14.0f}{share:>26}")
for encoding in encodings:
    peers = [n for n in middle if n == f"llama.cpp {encoding}" or n == f"openvino {'int8' if encoding == 'q8_0' else 'int4'}"]
    for key in ["prefill", "decode", "decode_16"]:
        if peers:
            best = max(peers, key=lambda n: middle[n][key])
            print(f"{encoding} {key}: {middle[f'retort {encoding}'][key] / middle[best][key]:.2f} × {best}")
print(json.dumps(middle))
