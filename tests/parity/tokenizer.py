"""Retort's tokenizers against the `tokenizers` library: the same ids for every line, and decode(encode(x)) = x.

Three real tokenizers ship as fixtures; a Llama-2-like one (metaspace, byte fallback) is trained here. Where RETORT_TEST_DATA names
a folder with tokenizers/llama2/tokenizer.model.zst, the real Llama-2 is compared too. With the argument "all", every code point
stands in a line and more odd lines are tried (minutes).
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
    import transformers
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
except ModuleNotFoundError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import tokenizer_lines

failures = 0


def report(message):
    global failures
    failures += 1
    if failures <= 15:
        print(message[:600])


class Ours:
    """One process that answers for one tokenizer."""

    def __init__(self, folder):
        self.tool, self.folder = os.environ["RETORT_BIN"] + "/tokenizer_tool", str(folder)
        self.process = subprocess.Popen([self.tool, "serve", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def __call__(self, verb, values, **flags):
        out = []
        for i in range(0, len(values), 1000):
            self.process.stdin.write(json.dumps({verb: values[i:i + 1000], **flags}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            if not answer:
                sys.exit(f"{self.folder}: tokenizer_tool ended while it had to {verb}")
            out += json.loads(answer)
        return out

    def table(self):
        return json.loads(subprocess.run([self.tool, "bytes", self.folder], capture_output=True, check=True).stdout)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, folder, reference, lines, roundtrip=True):
    """roundtrip: what decoding gives back of a text (the normalizer's doing)."""
    ours = Ours(folder)
    some = lines[::5]  # what the other flags change is the same for every line
    for special, chosen in [(False, lines), (True, some)]:
        theirs = [encoding.ids for encoding in reference.encode_batch_fast(chosen, add_special_tokens=special)]
        for line, a, b in zip(chosen, ours("encode", chosen, special=special), theirs, strict=True):
            if a != b:
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                report(f"{name}: {line[:200]!r}: at {at}: {a[at:at + 8]} != {b[at:at + 8]} {reference.decode(b[max(0, at - 3):at + 8], skip_special_tokens=False)!r}")
        if not special:
            ids = theirs
        for skip in [False, True]:
            decoded = reference.decode_batch(theirs, skip_special_tokens=skip)
            for line, a, b in zip(chosen, ours("decode", theirs, special=skip), decoded, strict=True):
                if a != b:
                    report(f"{name}: decoding {line[:200]!r}: {a!r} != {b!r}")
    if roundtrip:
        for line, back in zip(lines, ours("decode", ours("encode", lines, plain=True)), strict=True):
            if back != roundtrip(line):
                report(f"{name}: round trip of {line[:200]!r}: {back!r}")
    # Single ids, and ids that make no sense together.
    size = reference.get_vocab_size()
    odd = [[i] for i in range(0, size, 7)] + [[(i * 7919 + j * j * 104729) % size for j in range(12)] for i in range(2000)]
    for given, a, b in zip(odd, ours("decode", odd), reference.decode_batch(odd, skip_special_tokens=False), strict=True):
        if a != b:
            report(f"{name}: decoding {given}: {a!r} != {b!r}")
    ours.close()
    table = ours.table()
    for i, (text, _) in enumerate(table):
        if text != reference.id_to_token(i):
            report(f"{name}: token {i}: {text!r} != {reference.id_to_token(i)!r}")
    print(f"{name}: {len(lines)} lines, {sum(map(len, ids))} ids, {len(odd)} odd id lists, {len(table)} tokens, {failures} differences so far", flush=True)


def unpack(source, target):
    target.mkdir()
    for path in source.iterdir():
        content = path.read_bytes()
        if path.suffix == ".zst":
            content = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
        (target / path.name.removesuffix(".zst")).write_bytes(content)
    return target


def save(tokenizer, folder):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def metaspace(lines, **kwargs):
    """Llama-2's kind: no letter is unknown, as bytes stand in."""
    tokenizer = Tokenizer(BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    # Trained on words, used on whole texts, as the sentencepiece converter does.
    trainer_side = Tokenizer(BPE())
    trainer_side.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer_side.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, limit_alphabet=900, show_progress=False))
    model = json.loads(trainer_side.to_str())["model"]
    config = json.loads(tokenizer.to_str())
    config["model"].update(vocab=model["vocab"], merges=model["merges"])
    tokenizer = Tokenizer.from_str(json.dumps(config))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def metaspace_back(text):
    """The prefix is not put before a text that begins with a space, and a real "▁" is a space ever after: the format loses both."""
    text = text.replace("▁", " ")
    return text[1:] if text.startswith(" ") else text


def main():
    thorough = sys.argv[1:] == ["all"]
    odd, repository = tokenizer_lines.odd_lines(15000 if thorough else 8000), tokenizer_lines.repository_lines()
    # Quickly: the code points up to U+20000, each once.
    everything = odd + (repository if thorough else random.Random(5).sample(repository, 14000)) + tokenizer_lines.code_point_lines(thorough)
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        fixtures = ROOT / "tests" / "fixtures" / "tokenizers"
        nfc = normalizers.NFC().normalize_str
        for name in ["qwen3", "gpt2", "minimind"]:
            folder = unpack(fixtures / name, temporary / name)
            reference = transformers.AutoTokenizer.from_pretrained(folder) if name != "gpt2" else transformers.GPT2Tokenizer.from_pretrained(folder)
            compare(name, folder, reference._tokenizer, everything, nfc if name == "qwen3" else str)
            if name != "minimind":
                # The same tokenizer as tokenizer.json: another way in.
                compare(name + " (tokenizer.json)", save(reference._tokenizer, temporary / (name + "-json")), reference._tokenizer, odd if thorough else odd[:2000], None)
        llama = metaspace(repository)
        compare("metaspace", save(llama, temporary / "metaspace"), llama, everything if thorough else everything[::3], metaspace_back)
        data = os.environ.get("RETORT_TEST_DATA")
        packed = data and pathlib.Path(data) / "tokenizers" / "llama2" / "tokenizer.model.zst"
        if packed and packed.exists():
            folder = temporary / "llama2"
            folder.mkdir()
            (folder / "tokenizer.model").write_bytes(subprocess.run(["zstd", "-dcq", str(packed)], capture_output=True, check=True).stdout)
            (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}))
            reference = transformers.AutoTokenizer.from_pretrained(folder)
            reference.save_pretrained(folder)
            compare("llama2", folder, reference._tokenizer, everything, metaspace_back)
    print(f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}: {failures} differ")
    sys.exit(1 if failures else 0)


main()
