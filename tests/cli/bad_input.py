"""What users do wrong, and what machines do to them: every case ends with a clear message and exit code 2 (1 when the machine
failed), or with single bad lines skipped and counted; nothing that was there is lost. Argument: names of the cases to run."""
import json, os, pathlib, resource, shutil, signal, stat, struct, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
teacher = root / "assets/teacher"
if not retort.exists() or not (teacher / "config.json").exists():
    sys.exit(77)

config = """{model_type: qwen3, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16,
 intermediate_size: 48, hidden_act: silu, rms_norm_eps: 1.0e-6, rope_theta: 10000, max_position_embeddings: 64,
 tie_word_embeddings: true}"""
lines = ["学而时习之\t学了又按时温习", "不亦说乎\t不也高兴吗", "有朋自远方来\t有朋友从远方来", "人不知而不愠\t别人不了解我，我却不恼怒"]
folder = pathlib.Path(tempfile.mkdtemp(prefix="retort-bad-input-"))
failures, cases = [], []


def case(function):
    cases.append(function)
    return function


def run(*arguments, code, says=(), prints=None, limit=None, **options):
    """Runs retort; its exit code and the words of its messages must be these."""
    def before():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    result = subprocess.run([str(retort), *map(str, arguments)], capture_output=True, timeout=120, preexec_fn=before,
                            restore_signals=False, **options)
    text = result.stderr.decode(errors="replace")
    shown = f"retort {' '.join(map(str, arguments))}: exit code {result.returncode}\n{text}"
    assert result.returncode == code, f"{shown}\nexpected {code}"
    for word in [says] if isinstance(says, str) else says:
        assert word in text, f"{shown}\nexpected '{word}'"
    if code == 2 and text:
        assert len(text.strip().splitlines()[-1]) < 600, shown
    return result.stdout.decode(), text


def write(name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(name="pairs.tsv", extra=()):
    return write(name, b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in [*(lines * 4), *extra]))


def train(out, *more, data=None, config=config, **options):
    options = {"code": 0} | options
    return run("train", "--config", config, "--tokenizer", teacher, "--data", data or pairs(), "--validation-share", "0",
               "--steps", "2", "--batch-tokens", "128", "--threads", "1", "--precision", "fp32", "--out", out, *more, **options)


def distill(out, *more, **options):
    return run("distill", "--teacher", model, "--student", model, "--data", pairs(), "--validation-share", "0", "--steps", "2",
               "--batch-tokens", "128", "--threads", "1", "--precision", "fp32", "--out", out, *more, **options)


def copy_of(model, name):
    shutil.copytree(model, folder / name)
    return folder / name


def contents(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def tensors_file(header, data=b"", declared=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if declared is None else declared) + text + data


@case
def broken_safetensors():
    """Truncated, corrupt, overlapping, out of range, huge header, empty."""
    good = (model / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8:8 + size])
    names = [n for n in header if n != "__metadata__"]

    def moved(name, offsets):
        return tensors_file(header | {name: header[name] | {"data_offsets": offsets}}, good[8 + size:])

    first, second = names[0], names[1]
    end = header[first]["data_offsets"][1]
    files = {"truncated": good[:-100], "cut in the header": good[:200], "empty": b"", "seven bytes": good[:7],
             "header too long": tensors_file(b"{}", declared=1 << 62), "header past the end": tensors_file(b"{}", declared=1 << 20),
             "no JSON": tensors_file(b"{not json"), "overlap": moved(second, [0, end]), "out of range": moved(first, [0, 1 << 40]),
             "negative": moved(first, [-8, end]), "backwards": moved(first, [end, 0]),
             "unknown type": tensors_file(header | {first: header[first] | {"dtype": "F3"}}, good[8 + size:]),
             "huge shape": tensors_file(header | {first: header[first] | {"shape": [1 << 40, 1 << 40]}}, good[8 + size:])}
    broken = copy_of(model, "broken")
    for name, content in files.items():
        (broken / "model.safetensors").write_bytes(content)
        try:
            run("inspect", broken, code=2, says="model.safetensors")
            if name in ("truncated", "overlap"):
                run("generate", "--model", broken, "--prompt", "学", code=2, says="model.safetensors")
                run("shrink", "--model", broken, "--layers", "0", "--out", folder / "cut_of_broken", code=2, says="model.safetensors")
                run("train", "--model", broken, "--data", pairs(), "--steps", "1", "--out", folder / "t", code=2, says="model.safetensors")
                assert not (folder / "cut_of_broken").exists()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}")
    (broken / "model.safetensors").unlink()
    run("generate", "--model", broken, "--prompt", "学", code=2, says="model.safetensors")


@case
def config_that_disagrees():
    broken = copy_of(model, "disagrees")
    good = json.loads((broken / "config.json").read_text())

    def expect(changes, *words):
        (broken / "config.json").write_text(json.dumps(good | changes))
        run("generate", "--model", broken, "--prompt", "学", code=2, says=words)

    expect({"hidden_size": 64}, "embed_tokens", "32", "64")
    expect({"num_hidden_layers": 3}, "model.layers.2.")
    expect({"num_hidden_layers": 1}, "model.layers.1.")
    expect({"intermediate_size": 47}, "mlp")
    expect({"num_attention_heads": 3}, "config.json")
    expect({"vocab_size": 100}, "embed_tokens")
    expect({"model_type": "qwen33"}, "qwen33", "qwen3")
    expect({"hidden_size": "many"}, "config.json", "hidden_size")
    expect({"hidden_size": -1}, "config.json", "hidden_size")
    expect({"hidden_size": 1 << 40}, "hidden_size")
    expect({"hidden_size": 1 << 30}, "config.json", "elements")
    expect({"num_hidden_layers": 1 << 40}, "num_hidden_layers")
    (broken / "config.json").write_text("{")
    run("generate", "--model", broken, "--prompt", "学", code=2, says="config.json")
    (broken / "config.json").unlink()
    run("generate", "--model", broken, "--prompt", "学", code=2, says="config.json")
    run("generate", "--model", folder / "nowhere", "--prompt", "学", code=2, says="nowhere")


@case
def broken_tokenizer():
    broken = copy_of(model, "tokenizer")
    good = json.loads((broken / "tokenizer.json").read_text())
    text = write("lines.txt", "学而时习之\n")

    def expect(file, *words):
        (broken / "tokenizer.json").write_text(json.dumps(file))
        run("tokenize", "encode", "--tokenizer", broken, "--file", text, code=2, says=("tokenizer.json", *words))
        run("generate", "--model", broken, "--prompt", "学", code=2, says=("tokenizer.json", *words))

    without = {k: v for k, v in good["model"].items() if k != "merges"}
    expect(good | {"model": without}, "merges")
    expect(good | {"model": good["model"] | {"merges": [["no such", "token"]]}}, "merge", "no such")
    expect(good | {"model": {k: v for k, v in good["model"].items() if k != "vocab"}}, "vocab")
    expect(good | {"model": good["model"] | {"type": "Unigramm"}}, "Unigramm")
    expect([], "found")
    (broken / "tokenizer.json").unlink()
    run("generate", "--model", broken, "--prompt", "学", code=2, says="tokenizer")
    (broken / "vocab.json").write_text(json.dumps(good["model"]["vocab"]))
    run("tokenize", "encode", "--tokenizer", broken, "--file", text, code=2, says="merges.txt")


@case
def bad_lines():
    """Single bad lines are skipped, counted and shown; a file without one good line is an error."""
    data = pairs("some_bad.tsv", ["no tab here", b"\xff\xfe\tbad bytes", "\tno source", "no target\t"])
    _, log = train(folder / "bad_lines", data=data)
    assert "4 skipped" in log and "line 17" in log and "no tab" in log, log
    out, log = run("evaluate", "--model", model, "--data", data, "--no-generate", "--json", "-", code=0)
    figures = json.loads(out)
    assert figures["pairs"] == 16 and figures["skipped"]["count"] == 4, figures
    assert "no tab" in json.dumps(figures["skipped"]) and "BLEU" not in log and "4 skipped" in log, log
    data = write("some_bad.jsonl", '{"prompt": "学", "response": "习"}\n{"prompt": "学"\n[]\n{"prompt": "x"}\n')
    _, log = train(folder / "bad_json", data=data)
    assert "3 skipped" in log, log
    for name, content in {"none.tsv": "no tab\nagain none\n", "empty.tsv": "", "blank.tsv": "\n\n \n", "empty.jsonl": "",
                          "bytes.txt": b"\xff\xfe\xfd\n", "torn.tsv.zst": b"\x28\xb5\x2f\xfd\x04\x00\x51", "empty.tsv.zst": b"",
                          "unknown.docx": "x"}.items():
        bad = write(name, content)
        train(folder / "no_lines", data=bad, code=2, says=name)
        if not name.endswith(".txt"):
            run("evaluate", "--model", model, "--data", bad, "--json", folder / "x.json", code=2)
    train(folder / "no_lines", data=folder / "missing.tsv", code=2, says="missing.tsv")
    whole = (root / "assets/data/classical_modern_valid.tsv.zst").read_bytes()
    torn = write("cut.tsv.zst", whole[:len(whole) // 2])
    train(folder / "no_lines", data=torn, code=2, says="cut.tsv.zst")


@case
def longer_than_the_context():
    long = "学" * 200 + "\t" + "习" * 200
    data = pairs("long.tsv", [long])
    out, _ = run("evaluate", "--model", model, "--data", data, "--no-generate", "--json", "-", code=0)
    figures = json.loads(out)
    assert figures["pairs"] == 16 and figures["skipped"]["count"] == 1 and "context" in figures["skipped"]["first"][0], figures
    _, log = train(folder / "long", "--max-length", "64", data=data)
    assert "1 too long" in log, log
    only = write("only_long.tsv", long + "\n")
    train(folder / "only_long", "--max-length", "64", data=only, code=2, says="too long")
    run("evaluate", "--model", model, "--data", only, code=2, says="context")
    run("generate", "--model", model, "--prompt", "学" * 200, code=2, says="64")
    train(folder / "narrow", "--batch-tokens", "4", code=2, says="batch_tokens")
    # Copying judges the long pair too; the two are compared on what both judged.
    judged = {"model": ["--model", model, "--max-tokens", "4"], "copy": ["--copy"]}
    for name, options in judged.items():
        run("evaluate", *options, "--data", data, "--latency-samples", "0", "--json", folder / f"judge/{name}.json", "--outputs",
            folder / f"judge/{name}.jsonl", code=0)
    recipe = write("compare.yaml", json.dumps({"run": str(folder / "compared"), "stages": [{"report": {
        "run": str(folder / "compared"), "compare": [["model", "copy"]],
        "rows": [{"name": n, "evaluation": str(folder / "judge" / n)} for n in judged]}}]}))
    out, _ = run("run", recipe, code=0)
    assert "16 of 17 pairs" in out, out


@case
def different_tokenizers():
    run("tokenize", "train", "--data", pairs(), "--vocab-size", "300", "--out", folder / "other_tokenizer", code=0)
    before = contents(folder / "other_tokenizer")
    run("tokenize", "train", "--data", pairs(), "--vocab-size", "300", "--out", folder / "other_tokenizer", code=2, says="exist")
    assert contents(folder / "other_tokenizer") == before
    run("distill", "--teacher", model, "--config", config, "--tokenizer", folder / "other_tokenizer", "--data", pairs(), "--steps", "1",
        "--out", folder / "distilled", code=2, says=("forward_kl", "another tokenizer", "span_kl"))
    assert not (folder / "distilled/model").exists()
    # Terms that compare texts do; those that compare answers nobody can pair do not.
    across = ["distill", "--teacher", model, "--config", config, "--tokenizer", folder / "other_tokenizer", "--validation-share", "0",
              "--batch-tokens", "128", "--threads", "1", "--precision", "fp32"]
    terms = "[{name: span_kl}, {name: uld, weight: 0.1}, {name: cross_entropy, weight: 0.1}]"
    run(*across, "--data", pairs(), "--terms", terms, "--steps", "3", "--log-every", "1", "--out", folder / "across", code=0)
    last = json.loads((folder / "across/metrics.jsonl").read_text().splitlines()[-1])
    assert last["train/span_kl"] > 0 and last["train/uld"] > 0, last
    run(*across, "--data", pairs(), "--terms", "[{name: span_kl, temperature: 2}]", "--steps", "1", "--out", folder / "bad_across", code=2,
        says="temperature")
    short = copy_of(model, "short_context")
    settings = json.loads((short / "config.json").read_text()) | {"max_position_embeddings": 4}
    (short / "config.json").write_text(json.dumps(settings))
    run(*["distill", "--teacher", short, *across[3:]], "--data", pairs(), "--terms", terms, "--steps", "1", "--out", folder / "bad_across",
        code=2, says="too long")
    run("trace", "--teacher", model, "--data", pairs(), "--top-k", "4", "--out", folder / "across_traces", code=0)
    run("distill", "--traces", folder / "across_traces", *across[3:], "--data", pairs(), "--steps", "1", "--out", folder / "bad_across", code=2,
        says=("traces", "tokenizer"))
    assert not (folder / "bad_across/model").exists()


@case
def full_disk():
    """Writing fails: code 1, the file named, nothing half written, and the same command goes on when there is room."""
    weights = (model / "model.safetensors").stat().st_size
    disk = folder / "disk"
    disk.mkdir()
    run("shrink", "--model", model, "--layers", "0", "--out", disk / "cut", code=1, says=("disk", "cut"), limit=weights // 2)
    assert not list(disk.iterdir()), list(disk.iterdir())
    train(disk / "run", code=1, says="disk", limit=weights // 2)
    assert not (disk / "run/model").exists()
    train(disk / "run")  # there is room again
    assert contents(disk / "run/model") == contents(model)
    more = ("--steps", "40", "--save-seconds", "0.001")
    train(disk / "checkpoints", *more, code=1, says="disk", limit=2 * weights)
    assert not list((disk / "checkpoints/checkpoints").glob("step-*")), "half a checkpoint"
    train(disk / "checkpoints", *more)
    train(disk / "calm", "--steps", "40")
    assert contents(disk / "checkpoints/model") == contents(disk / "calm/model")
    full = disk / "full"
    try:  # a device of its own: one that is replaced by a file is missed by other programs
        os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        full.open("wb").close()
    except OSError:
        return
    run("evaluate", "--copy", "--data", pairs(), "--json", full, code=1, says="No space left")
    assert full.is_char_device()


@case
def existing_output():
    taken = folder / "taken"
    (taken / "model").mkdir(parents=True)
    (taken / "model/notes.txt").write_text("mine")
    before = contents(taken)
    run("shrink", "--model", model, "--layers", "0", "--out", taken, code=2, says=("taken", "exist"))
    train(taken, code=2, says=("taken", "--overwrite"))
    train(taken / "model/notes.txt", code=2, says="notes.txt")
    assert contents(taken) == before
    out = folder / "finished"
    train(out)
    before = contents(out)
    _, log = train(out)
    assert "done already" in log
    train(out, "--seed", "1", code=2, says=("finished", "--overwrite"))
    assert contents(out) == before
    (out / "notes.txt").write_text("mine")
    train(out, "--seed", "1", "--overwrite")
    assert contents(out)[pathlib.Path("model/model.safetensors")] != before[pathlib.Path("model/model.safetensors")]
    assert (out / "notes.txt").read_text() == "mine"
    inner = ("train", "--model", out / "model", "--data", pairs(), "--steps", "1", "--out", out)
    run(*inner, "--overwrite", code=2, says="finished")
    assert (out / "model/model.safetensors").exists()
    run("evaluate", "--copy", "--data", pairs(), "--json", folder, code=2, says="folder")
    run("evaluate", "--copy", "--data", pairs(), "--outputs", folder, code=2, says="folder")
    # A run that was stopped: other options must not throw its checkpoint away.
    stopped = folder / "stopped"
    long = ("--steps", "100000", "--save-seconds", "0.001")
    process = subprocess.Popen([str(retort), "train", "--config", config, "--tokenizer", str(teacher), "--data", str(pairs()),
                                "--threads", "1", "--batch-tokens", "128", "--out", str(stopped), *long], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(stopped.glob("checkpoints/step-*")):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.returncode
    kept = list(stopped.glob("checkpoints/step-*"))
    assert len(kept) == 1, kept
    train(stopped, code=2, says=("stopped", "step", "--overwrite"))
    assert list(stopped.glob("checkpoints/step-*")) == kept
    train(stopped, "--overwrite")
    assert (stopped / "model").exists() and not list(stopped.glob("checkpoints/step-*"))


@case
def bad_adapters():
    """Of another base, too wide, half written, patterns and weights that mean nothing, two that hold one tensor."""
    def tune(out, *more, **options):
        options = {"code": 0} | options
        return run("train", "--model", model, "--data", pairs(), "--validation-share", "0", "--steps", "1", "--batch-tokens", "128",
                   "--threads", "1", "--precision", "fp32", "--out", out, *more, **options)

    refused = folder / "refused"
    tune(refused, "--adapter", "lroa", code=2, says=("adapter", "lora"))
    tune(refused, "--adapter", "lora", "--lora-rank", "100", code=2, says=("lora_rank", "100", "32"))
    tune(refused, "--adapter", "lora", "--lora-rank", "0", code=2, says="lora_rank")
    tune(refused, "--adapter", "lora", "--lora-dropout", "1", code=2, says="lora_dropout")
    tune(refused, "--adapter", "lora", "--target-modules", "c_attn", code=2, says=("target_modules", "c_attn"))
    tune(refused, "--adapter", "hybrid", "--target-modules", "q_proj", code=2, says=("q_proj", "modules_to_save"))
    tune(refused, "--adapter", "prefix", "--num-virtual-tokens", "64", code=2, says=("num_virtual_tokens", "64"))
    tune(refused, "--freeze", "no_such_layer", code=2, says=("freeze", "no_such_layer"))
    tune(refused, "--freeze", "model", code=2, says="trainable")
    train(refused, "--adapter", "lora", code=2, says=("adapter", "model folder"))
    assert not (refused / "adapter").exists() and not (refused / "model").exists()

    tune(folder / "lora", "--adapter", "lora", "--lora-rank", "4")
    tune(folder / "hybrid", "--adapter", "hybrid", "--lora-rank", "4")
    tune(folder / "dora", "--adapter", "lora", "--lora-rank", "4", "--use-dora")
    tune(folder / "prefix", "--adapter", "prefix")
    assert contents(folder / "lora/adapter").keys() == {pathlib.Path(n) for n in ("adapter_config.json", "adapter_model.safetensors")}
    lora, hybrid, prefix = folder / "lora/adapter", folder / "hybrid/adapter", folder / "prefix/adapter"
    tokens = write("tokens.jsonl", '{"tokens": [1, 2, 3]}\n')

    def use(*adapters, says):
        flags = [x for adapter in adapters for x in ("--adapter", adapter)]
        run("score", "--model", model, "--file", tokens, *flags, code=2, says=says)
        if prefix not in adapters:
            run("merge", "--model", model, *flags, "--out", folder / "merged", code=2, says=says)
        assert not (folder / "merged").exists()

    run("score", "--model", model, "--file", tokens, "--adapter", f"{lora}:0.5", "--adapter", hybrid, "--adapter", prefix, code=0)
    use(f"{lora}:1", f"{lora}:-1", says="sum to zero")
    use(f"{lora}:x", says=("DIR:WEIGHT", ":x"))
    use(folder / "nothing", says="adapter_config.json")
    run("score", "--model", model, "--file", tokens, "--adapter", hybrid, "--adapter", hybrid, code=2, says=("self_attn.q_proj", "hybrid"))
    run("score", "--model", model, "--file", tokens, "--adapter", lora, "--adapter", folder / "dora/adapter", code=2, says="DoRA")
    run("score", "--model", model, "--file", tokens, "--adapter", prefix, "--adapter", prefix, code=2, says="two prefixes")
    run("score", "--model", model, "--file", tokens, "--adapter", f"{prefix}:0.5", code=2, says="0.5")
    run("merge", "--model", model, "--adapter", prefix, "--out", folder / "merged", code=2, says="prefix")
    run("merge", "--model", model, "--adapter", lora, "--method", "ties", "--density", "0", "--out", folder / "merged", code=2, says="density")

    train(folder / "wide", config=config.replace("hidden_size: 32", "hidden_size: 48"))
    train(folder / "deep", config=config.replace("num_hidden_layers: 2", "num_hidden_layers: 1"))
    for other in ("wide", "deep"):
        run("score", "--model", folder / other / "model", "--file", tokens, "--adapter", lora, code=2, says="lora" if other == "wide" else "layers.1")
    half = copy_of(lora, "half")
    good = (half / "adapter_model.safetensors").read_bytes()
    (half / "adapter_model.safetensors").write_bytes(good[:len(good) // 2])
    use(half, says="adapter_model.safetensors")
    (half / "adapter_model.safetensors").unlink()
    use(half, says="adapter_model.safetensors")
    (half / "adapter_model.safetensors").write_bytes(good)
    settings = json.loads((half / "adapter_config.json").read_text())
    for changes, word in [({"peft_type": "LOHA"}, "LOHA"), ({"r": 0}, "r"), ({"bias": "all"}, "bias"), ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
                          ({"target_modules": ["c_attn"]}, "c_attn"), ({"use_dora": True}, "lora_magnitude_vector"),
                          ({"target_modules": settings["target_modules"][:1]}, "lora_"), ({"lora_alpha": "x"}, "lora_alpha")]:
        (half / "adapter_config.json").write_text(json.dumps(settings | changes))
        use(half, says=word)


@case
def bad_training_plans():
    """Mixtures, ramps, rates, patience, encodings and comparisons that cannot be meant; then one of each that can, killed and resumed."""
    other = write("other.tsv", "\n".join(lines[:2]) + "\n")
    two = f"{pairs()},{other}"

    def tune(out, *more, data=two, **options):
        options = {"code": 0} | options
        return run("train", "--model", model, "--data", data, "--validation-share", "0", "--steps", "4", "--batch-tokens", "128",
                   "--threads", "1", "--precision", "fp32", "--out", out, *more, **options)

    refused = folder / "refused_plan"
    for option, value, words in [
            ("mixture", "[1]", ("mixture", "2 ratios")), ("mixture", "[1, -1]", "mixture[1]"), ("mixture", "[0, 0]", "mixture"),
            ("mixture", "[1, {schedule: linaer}]", "linear"), ("mixture-temperature", "0", "mixture_temperature"),
            ("mixture-temperature", "hot", "mixture_temperature"), ("mixture-adapt", "-1", "mixture_adapt"), ("mixture-adapt", "1", "mixture_adapt"),
            ("dropout", "{schedule: linear, from: 0.1, to: 1.5}", "dropout"), ("dropout", "{schedule: ramp}", "dropout"),
            ("dropout", "{schedule: linear, from: 0, to: 0.1, last: -1}", "last"), ("rates", "[{parameters: lora_B, factor: 16}]", "lora_B"),
            ("rates", "[{parameter: mlp}]", "parameters"), ("rates", "[{factor: 2}]", "rates[0]"), ("rates", "3", "rates"),
            ("patience", "2", ("patience", "validate_every")), ("label-smoothing", "1", "label_smoothing"),
            ("base-encoding", "q8_0", ("base_encoding", "adapter")), ("compare", "full,lroa", ("adapter", "lora")),
            ("compare", "lora,lora", "two methods"), ("compare", "[{adapter: lora, lora_rnk: 3}]", "lora_rank"), ("compare", "[3]", "compare")]:
        tune(refused, f"--{option}", value, code=2, says=words)
    lora = ("--adapter", "lora", "--lora-rank", "4")
    tune(refused, *lora, "--base-encoding", "q9_0", code=2, says=("base_encoding", "q8_0"))
    tune(refused, *lora, "--base-encoding", "q8_k", code=2, says="base_encoding")
    tune(refused, *lora, "--base-encoding", "q4_k", code=2, says=("model.layers.0", "32", "256"))
    assert not (refused / "model").exists() and not (refused / "adapter").exists()

    plan = (*lora, "--mixture", "[{schedule: linear, from: 1, to: 0}, {schedule: linear, from: 0, to: 1}]", "--mixture-temperature", "2",
            "--validation", two, "--overlap", "none", "--validate-every", "7", "--mixture-adapt", "1", "--dropout",
            "{schedule: linear, from: 0.1, to: 0.3, last: 3}", "--rates", "[{parameters: lora_B, factor: 16}]", "--patience", "50",
            "--base-encoding", "i8_channel", "--steps", "60", "--log-every", "1")
    tune(folder / "plan_calm", *plan)
    stopped = folder / "plan_stopped"
    process = subprocess.Popen([str(retort), "train", "--model", str(model), "--data", two, "--validation-share", "0", "--batch-tokens", "128",
                                "--threads", "1", "--precision", "fp32", "--out", str(stopped), *plan, "--save-seconds", "0.001"],
                               stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(stopped.glob("checkpoints/step-*")):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.returncode
    tune(stopped, *plan, "--save-seconds", "0.001")
    assert contents(stopped / "adapter") == contents(folder / "plan_calm/adapter")
    records = [json.loads(line) for line in (folder / "plan_calm/metrics.jsonl").read_text().splitlines()]
    assert any("train/dropout" in r for r in records) and any("train/mixture_factor_1" in r for r in records), records[-2:]


@case
def comparisons():
    """A failing method names itself and loses nothing; the table has every method; a run folder is a model."""
    out = folder / "compared_methods"
    common = ("train", "--model", model, "--data", pairs(), "--validation", pairs(), "--overlap", "none", "--steps", "3", "--batch-tokens", "128",
              "--threads", "1", "--precision", "fp32", "--out", out, "--seeds", "1,2")
    run(*common, "--compare", "[lora, {name: wide, adapter: lora, lora_rank: 33}]", code=2, says=("compare: wide", "lora_rank"))
    assert (out / "lora-2/adapter").exists() and not (out / "compare.json").exists()
    table, _ = run(*common, "--compare", "full,lora,prefix,hybrid", "--judge", pairs(), "--judge-limit", "4", code=0)
    figures = json.loads((out / "compare.json").read_text())
    assert [(f["method"], f["seed"]) for f in figures] == [(m, s) for m in ("full", "lora", "prefix", "hybrid") for s in (1, 2)], figures
    for f in figures:
        training = f["training"]
        assert training["peak_memory_bytes"] > 1e7 and training["result_bytes"] > 0 and f["judged"]["pairs"] == 4, f
        assert abs(training["validation_nats_per_token"] - f["judged"]["nats_per_token"]) < 1, f
    trained = [f["training"]["trainable_parameters"] for f in figures[::2]]
    assert trained[0] > trained[3] > trained[1] and trained[2] == 20 * 2 * 2 * 16, trained
    for name in ("full", "lora", "prefix", "hybrid"):
        assert name in table, table
    assert (out / "report.html").exists()
    tokens = write("tokens_of_run.jsonl", '{"tokens": [1, 2, 3]}\n')
    alone, _ = run("score", "--model", out / "lora-1", "--file", tokens, code=0)
    together, _ = run("score", "--model", model, "--adapter", out / "lora-1/adapter", "--file", tokens, code=0)
    assert alone == together != run("score", "--model", model, "--file", tokens, code=0)[0]
    moved = copy_of(out / "lora-1/adapter", "moved")
    settings = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "gone"}))
    run("score", "--model", moved, "--file", tokens, code=2, says=("base_model_name_or_path", "gone"))


@case
def misspelt():
    run("distil", code=2, says="distill")
    run("tokenize", "encoed", code=2, says="encode")
    run(code=2)
    run("train", "--batch-token", "3", code=2, says="--batch-tokens")
    run("train", "stray", code=2, says="stray")
    run("train", code=2, says="out")
    train(folder / "m", "--steps", "many", code=2, says=("steps", "many"))
    train(folder / "m", "--schedule", "cosin", code=2, says=("schedule", "cosine"))
    train(folder / "m", "--terms", "[{name: forward_lk}]", code=2, says="forward_kl")
    train(folder / "m", "--terms", "[{name: cross_entropy, wieght: 2}]", code=2, says="weight")
    train(folder / "m", "--terms", "[{name: forward_kl}]", code=2, says="teacher")
    train(folder / "m", "--terms", "[{name: hidden_mse}]", code=2, says="teacher")
    train(folder / "m", "--terms", "[{name: cross_entropy, label: a}, {name: l2, label: a}]", code=2, says="label")
    train(folder / "m", "--terms", "[{name: cross_entropy, weight: 0}]", code=2, says=("weight", "sum to 0"))
    train(folder / "terms", "--terms", "[{name: cross_entropy, weight: 0.5}, {name: cross_entropy, weight: 0.5}]")
    for term in ["{name: hidden_mse, layers: [[0, 2]]}", "{name: hidden_mse, layers: 1-3}", "{name: attention_kl, layers: {last: 3}}",
                 "{name: cka, layers: {lst: 1}}"]:
        distill(folder / "m", "--terms", f"[{term}]", code=2, says="terms[0]: layers")
    distill(folder / "m", "--terms", "[{name: reverse_kl, temperature: -1}]", code=2, says="terms[0]: temperature")
    distill(folder / "m", "--terms", "[{name: attention_kl, heads: 2}]", code=2, says="terms[0]: heads")
    train(folder / "m", "--device", "cude", code=2, says="cuda")
    for option, value in [("log-every", 0), ("accumulation", 0), ("batch-tokens", -1), ("steps", -3), ("dropout", 1.5), ("threads", -1),
                          ("learning-rate", -1), ("beta2", 1), ("max-length", 1), ("limit", -1), ("save-seconds", -1), ("clip", -1)]:
        train(folder / "m", f"--{option}", value, code=2, says=option.replace("-", "_"))
    for layers in ["7", "1,0", "0,0", "-1", "x"]:
        run("shrink", "--model", model, f"--layers={layers}", "--out", folder / "m", code=2, says="layers")
    run("shrink", "--model", model, "--num-layers", "3", "--out", folder / "m", code=2, says="num_layers")
    run("shrink", "--model", model, "--out", folder / "m", code=2, says="layers")
    run("evaluate", "--model", model, code=2, says="data")
    run("evaluate", "--hypotheses", pairs(), "--references", write("one.txt", "x\n"), code=2, says="lines")
    run("score", "--model", model, "--file", write("bad.jsonl", '{"tokens": [1, 2]}\n{"tokens": [1, 99999]}\n'), code=2, says=("line 2", "99999"))
    run("score", "--model", model, "--file", write("bad2.jsonl", "{}\n"), code=2, says="line 1")
    run("score", "--model", model, "--file", write("bad3.jsonl", '{"tokens": "x"}\n'), code=2, says="line 1")
    run("tokenize", "decode", "--tokenizer", teacher, "--file", write("ids.jsonl", "[99999999]\n"), code=2, says="99999999")
    assert not (folder / "m/model").exists() and not (folder / "m/config.json").exists()


@case
def every_term_trains():
    """All terms at once, between models of other widths; stopped and gone on with, the same bits; projections stay at home."""
    wide = config.replace("hidden_size: 32", "hidden_size: 48")
    student, same = folder / "wide/model", ("--data", pairs(), "--validation-share", "0", "--batch-tokens", "128", "--threads", "1",
                                            "--precision", "fp32")
    run("train", "--config", wide, "--tokenizer", teacher, "--steps", "2", "--out", folder / "wide", *same, code=0)
    terms = """[{name: forward_kl, weight: 0.2, temperature: 2}, {name: reverse_kl, weight: 0.2}, {name: generalized_jsd, weight: 0.2},
        {name: skewed_kl, weight: 0.2}, {name: logit_mse, weight: 0.01}, {name: cross_entropy, weight: 0.2, label_smoothing: 0.1},
        {name: hidden_mse, weight: 0.1, layers: uniform, embeddings: true, domain_terms: [学, 朋]}, {name: hidden_cosine, weight: 0.1,
        positions: all}, {name: cka, weight: 0.1}, {name: attention_kl, heads: 0.6, head_map: project, weight: 0.1},
        {name: attention_mse, layers: [[0, 1]], weight: 0.1}, {name: value_relation, weight: 0.1}, {name: l2, weight: 0.001},
        {name: l2_start, weight: 0.001}, {name: span_kl, weight: 0.1}, {name: uld, weight: 0.1}]"""
    command = ["distill", "--teacher", model, "--student", student, "--terms", terms, "--steps", "60", "--log-every", "1", *same]
    calm, stopped = folder / "terms_calm", folder / "terms_stopped"
    run(*command, "--out", calm, code=0)
    process = subprocess.Popen([str(retort), *map(str, command), "--save-seconds", "0.001", "--out", str(stopped)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(stopped.glob("checkpoints/step-*")):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.returncode
    run(*command, "--save-seconds", "0.001", "--out", stopped, code=0)
    weights = pathlib.Path("model.safetensors")
    ours = contents(calm / "model")[weights]
    assert contents(stopped / "model")[weights] == ours
    last = json.loads((calm / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ["forward_kl", "hidden_mse", "hidden_cosine", "cka", "attention_kl", "attention_mse", "value_relation", "l2_start", "span_kl", "uld"]:
        assert last[f"train/{name}"] > 0, last
    names = lambda b: sorted(json.loads(b[8:8 + struct.unpack("<Q", b[:8])[0]]))
    assert names(ours) == names(contents(student)[weights])


@case
def bad_cuts():
    """Sizes that the model does not have, that contradict one another, or that nobody can choose."""
    out = folder / "cut"

    def cut(*more, says):
        run("shrink", "--model", model, "--out", out, *more, code=2, says=says)
        assert not out.exists()

    cut(says="nothing to cut")
    cut("--layers", "0", "--num-layers", "1", says=("layers", "num_layers"))
    cut("--layers", "0,2", says=("layers", "between 0 and 1"))
    cut("--num-layers", "3", says=("num_layers", "between 1 and 2"))
    cut("--heads", "3", says=("heads", "between 1 and 2"))
    cut("--heads", "1", "--kv-heads", "2", says=("kv_heads", "between 1 and 1"))
    cut("--ffn", "49", says=("ffn", "between 1 and 48"))
    cut("--hidden", "-4", says=("hidden", "between 1 and 32"))
    cut("--parameters", "12X", says=("parameters", "12X", "12M"))
    cut("--parameters", "1k", says=("parameters", "at least", "hidden"))
    cut("--parameters", "200k", "--ffn", "16", says=("parameters", "sizes"))
    cut("--num-layers", "1", "--choose-layers", "loss", says=("choose_layers", "calibration"))
    cut("--num-layers", "1", "--choose-layers", "best", says=("choose_layers", "spread"))
    cut("--num-layers", "1", "--branch-scale", "0", says="branch_scale")
    cut("--ffn", "16", "--calibration", write("nothing.tsv", ""), says=("nothing.tsv", "empty"))
    cut("--ffn", "16", "--calibration", folder / "no.tsv", says="no.tsv")
    cut("--ffn", "16", "--calibration", pairs(), "--calibration-records", "0", says="calibration_records")
    run("shrink", "--model", model, "--out", out, "--num-layers", "1", "--ffn", "16", "--calibration", pairs(), code=0)
    before = contents(out)
    run("shrink", "--model", model, "--out", out, "--num-layers", "1", code=2, says="existing")
    assert contents(out) == before


@case
def bad_recipes():
    stage = {"shrink": {"model": str(model), "layers": [0], "out": str(folder / "recipe/cut")}}

    def expect(recipe, *words, options=()):
        path = write("recipe.yaml", recipe if isinstance(recipe, str) else json.dumps(recipe))
        run("run", path, *options, code=2, says=words)
        assert not (folder / "recipe").exists()

    base = {"run": str(folder / "recipe/run")}
    expect(base | {"stages": [{"shrimk": {}}]}, "shrimk", "shrink")
    expect(base | {"stages": [stage, {"train": {"stepps": 3, "out": "x", "data": "y"}}]}, "stepps", "steps")
    expect(base | {"stages": [stage]}, "laiers", "layers", options=["--shrink.laiers=1"])
    expect(base | {"stages": [stage]}, "shrnik", "shrink", options=["--shrnik.layers=1"])
    expect(base | {"stages": [stage]}, "rum", "run", options=["--rum=x"])
    expect(base | {"stages": [stage, stage]}, "two stages")
    expect(base | {"stages": [{"shrink": {"model": "${modle}", "layers": [0], "out": "x"}}], "model": "x"}, "modle", "model")
    expect(base | {"stages": []}, "stages")
    expect(base | {"stages": [3]}, "stage 1")
    loop = {"for_each": {"layer": [0, 1]}, "do": {"shrink": {"name": "cut-${layer}", "model": str(model), "layers": "${layr}", "out": "x"}}}
    expect(base | {"stages": [loop]}, "layr", "layer")
    expect(base | {"stages": [{"for_each": {"layer": []}, "do": stage}]}, "for_each: layer")
    expect(base | {"stages": [{"for_each": {"layer": [0, 1]}}]}, "do")
    expect(base | {"stages": [{"for_each": {"layer": [0, 1]}, "do": stage}]}, "two stages")
    expect(base | {"stages": [stage]}, "no stage 'cut-*'", options=["--cut-*.layers=[1]"])
    expect("", "recipe.yaml")
    expect("stages: [", "recipe.yaml")
    expect("\t- x", "recipe.yaml")
    run("run", folder / "no.yaml", code=2, says="no.yaml")
    run("run", code=2, says="recipe")


try:
    train(folder / "base")
    model = folder / "base/model"
    wanted = sys.argv[1:]
    for function in cases:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
            print("passed", function.__name__, flush=True)
        except AssertionError as error:
            failures.append(function.__name__)
            print(f"FAILED {function.__name__}: {error}", flush=True)
finally:
    shutil.rmtree(folder, ignore_errors=True)
sys.exit(1 if failures else 0)
