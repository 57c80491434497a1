"""The edge engine beside llama.cpp and OpenVINO GenAI: one model of the Qwen3-0.6B shape with random weights, quantized by each, all in one
run, one after another, several rounds. Prints tokens per second (median of the rounds), the ratio to each peer, and one line of JSON.

  run.py --tokenizer QWEN3_TOKENIZER --work FOLDER

makes in FOLDER what is not there yet: an environment for each peer (llama.cpp compiled for this machine, some minutes), the model, and its
files. QWEN3_TOKENIZER is a folder with the tokenizer files of any Qwen3 model."""
import argparse, json, os, pathlib, statistics, subprocess, sys

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tokenizer", required=True)
parser.add_argument("--work", required=True, type=pathlib.Path)
parser.add_argument("--retort", default=here.parents[1] / "build/bin", type=pathlib.Path)
parser.add_argument("--llama", help="python of an environment with llama-cpp-python compiled for this machine; default: made in FOLDER", type=pathlib.Path)
parser.add_argument("--openvino", help="python of an environment with requirements-openvino.txt, without torchvision; default: made in FOLDER",
                    type=pathlib.Path)
parser.add_argument("--json", help="file for the figures, too", type=pathlib.Path)
parser.add_argument("--threads", default=os.cpu_count(), type=int)
parser.add_argument("--encodings", nargs="+", default=["q8_0", "q4_0", "q4_k_m"], choices=["q8_0", "q4_0", "q4_k_m"])
parser.add_argument("--rounds", default=2, type=int, help="0: only make the files")
options = parser.parse_args()
work, threads = options.work, str(options.threads)
work.mkdir(parents=True, exist_ok=True)
encodings = options.encodings


def call(*command, **more):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def environment(name, *install, remove=()):
    """The python of work/name, made if need be."""
    folder, python = work / name, work / name / "bin/python"
    if not (folder / "ready").exists():
        print(f"making {folder}", file=sys.stderr, flush=True)
        call(sys.executable, "-m", "venv", folder)
        call(python, "-m", "pip", "install", *install, env=os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
        if remove:
            call(python, "-m", "pip", "uninstall", "-y", *remove)
        (folder / "ready").touch()
    return python


llama = options.llama or environment("llama", "--no-binary", "llama-cpp-python", "llama-cpp-python")
openvino = options.openvino or environment("openvino", "-r", here / "requirements-openvino.txt", remove=["torchvision"])
if not (work / "model/config.json").exists():
    call(openvino, here / "make_model.py", options.tokenizer, work / "model")
for encoding in encodings:
    if not (work / f"{encoding}.gguf").exists():
        call(options.retort / "retort-edge", "quantize", "--model", work / "model", "--encoding", encoding, "--out", work / f"{encoding}.gguf")
for weights in ["int8", "int4"]:
    if not (work / weights / "openvino_model.bin").exists():
        call(openvino.parent / "optimum-cli", "export", "openvino", "--model", work / "model", "--task", "text-generation-with-past",
             "--weight-format", weights, work / weights)


def retort(file):
    def bench(*more):
        return json.loads(call(options.retort / "retort-edge", "bench", "--model", file, "--threads", threads, "--answers", 0, "--repeat", 2, "--json", "-", *more))
    one, many = bench("--prompt", 512, "--generate", 64, "--batch", 1), bench("--prompt", 64, "--generate", 64, "--batch", 16)
    return {"prefill": one["prefill_tokens_per_second"], "decode": one["decode_tokens_per_second"],
            "decode_16": many["decode_tokens_per_second"], "share_of_read": one["decode_bandwidth_gb_s"] / one["read_bandwidth_gb_s"]}


# Neighbours in a round are compared: the machine's speed may change from minute to minute.
runs = {}
for encoding in encodings:
    weights = "int8" if encoding == "q8_0" else "int4"
    runs[f"llama.cpp {encoding}"] = lambda e=encoding: last_json(call(llama, here / "peer_llama_cpp.py", work / f"{e}.gguf", threads))
    runs[f"retort {encoding}"] = lambda e=encoding: retort(work / f"{e}.gguf")
    runs.setdefault(f"openvino {weights}", lambda w=weights: last_json(call(openvino, here / "peer_openvino.py", work / w, threads)))
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
ratios = {}
for encoding in encodings:
    for key in ["prefill", "decode", "decode_16"]:
        ratios[f"{encoding} {key}"] = {peer: middle[f"retort {encoding}"][key] / middle[peer][key]
                                       for peer in [f"llama.cpp {encoding}", f"openvino {'int8' if encoding == 'q8_0' else 'int4'}"]}
        print(f"{encoding:8}{key:10}" + ", ".join(f"{ratio:.2f} × {peer}" for peer, ratio in ratios[f"{encoding} {key}"].items()))
figures = json.dumps({"threads": options.threads, "tokens_per_second": middle, "ratios": ratios})
if options.json:
    options.json.write_text(figures + "\n")
print(figures)
