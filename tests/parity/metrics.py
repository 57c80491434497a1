"""BLEU against sacrebleu and ROUGE against rouge-score: counts of every sentence exactly, scores to 1e-9.

RETORT_METRICS names another command that speaks metrics_tool's protocol (default: $RETORT_BIN/metrics_tool).
"""
import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import unicodedata

try:
    import sacrebleu
    from rouge_score import rouge_scorer
except ModuleNotFoundError as error:
    if error.name not in ["sacrebleu", "rouge_score"]:
        raise
    print(f"skipped: {error}")
    sys.exit(77)

COMMAND = shlex.split(os.environ.get("RETORT_METRICS", "")) or [os.environ["RETORT_BIN"] + "/metrics_tool"]
FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
EDGES = ["", " ", "\n", "。", ".", "a", "我", "1", "-", "...", "。。。", ",,", "!?", "1,000.5", "3.14-2", "1.", ".5", "a.b", "2-3", "5,",
         "Hello, world!", "hello world", "他说：“你好”——1,234.5元。", "&quot;x&quot; &amp;lt; &lt;b&gt;", "&amp;amp;", "<skipped> a",
         "line-\nbreak", "one\ntwo\n", "  lead and trail  ", "ＡＢＣ１２３，。！", "ＡBc全角　空格", "İstanbul ΣΑΣ ΟΔΟΣ. Σ", "K Å ﬁ",
         "café naïve", "한국어 문장", "ひらがなカタカナ", "𠀀𠀁 ext B", "😀 emoji 👍🏽", "a\u200bb\u00a0c\u2003d\u3000e", "→ ↑ ★ ☆ ①",
         "it's don't 'quoted'", "x=y+z*(a/b)", "user@example.com http://a.b/c?d=e", "tab\tsep\r\nrn", "\x1c\x85 a \x1f b", "the the the the"]


def load(folder):
    rows = (FIXTURES / folder / "pairs.tsv").read_text(encoding="utf-8").split("\n")
    rows = [row.split("\t") for row in rows if row]
    return [(a.replace("\\n", "\n"), b.replace("\\n", "\n")) for a, b in rows]


def perturb(text, rng):
    """The reference with characters dropped, doubled, swapped and words replaced."""
    chars = list(text)
    for _ in range(rng.randrange(6)):
        if len(chars) < 2:
            break
        i = rng.randrange(len(chars) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            del chars[i]
        elif kind == 1:
            chars.insert(i, chars[i])
        elif kind == 2:
            chars[i], chars[i + 1] = chars[i + 1], chars[i]
        else:
            chars[i] = rng.choice(" .,-9aZ之&\n，")
    return "".join(chars)


def pairs():
    rng = random.Random(7)
    classical, english = load("classical_modern"), load("gsm8k")
    out = list(classical)
    out += [(perturb(reference, rng), reference) for _, reference in classical]
    out += english
    out += [(perturb(reference, rng), reference) for _, reference in english]
    out += [(a, b) for a in EDGES for b in EDGES]
    alphabet = list(" \t\n.,-'&;0123456789abcXYZ/\\()[]{}<>$%我的，。“”—…　Ａ１ー゛é̈ßΣςİK½٣Ⅷ𝟙가") + ["&lt;", "&quot;", "<skipped>", "-\n"]
    noise = lambda: "".join(rng.choice(alphabet) for _ in range(rng.randrange(40)))
    out += [(noise(), noise()) for _ in range(2000)]
    return out


class CharacterTokenizer:
    """The `character` unit as src/evaluate/metrics/rouge.h describes it."""
    ALONE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3040-\u30ff\u31f0-\u31ff]")

    def tokenize(self, text):
        tokens, run = [], False
        for c in text.lower():
            if self.ALONE.match(c):
                tokens.append(c)
                run = False
            elif unicodedata.category(c)[0] in "LMN":
                tokens[-1:] = [tokens[-1] + c] if run else tokens[-1:] + [c]
                run = True
            else:
                run = False
        return tokens


def main():
    data = pairs()
    text = "".join(json.dumps({"hypothesis": h, "reference": r}) + "\n" for h, r in data)
    output = subprocess.run(COMMAND, input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    ours, scores = [json.loads(line) for line in output[:-1]], json.loads(output[-1])
    assert len(ours) == len(data), (len(ours), len(data))
    failures = checked = 0

    def check(ok, message):
        nonlocal failures, checked
        checked += 1
        if not ok:
            failures += 1
            if failures <= 10:
                print(message)

    references = [[r for _, r in data]]
    hypotheses = [h for h, _ in data]
    for tokenize in ["13a", "zh", "char", "none"]:
        for case in ["mixed", "lc"]:
            name = f"{tokenize}|{case}"
            bleu = sacrebleu.BLEU(tokenize=tokenize, lowercase=case == "lc", force=True)
            stats = bleu._extract_corpus_statistics(hypotheses, references)
            for (h, r), mine, theirs in zip(data, ours, stats):
                check(mine[name] == theirs, f"{name}: {h!r} {r!r}: {mine[name]} != {theirs}")
            for smooth in ["exp", "floor", "add-k", "none"]:
                for value in [-1, 0.5]:
                    metric = sacrebleu.BLEU(tokenize=tokenize, lowercase=case == "lc", force=True, smooth_method=smooth,
                                            smooth_value=None if value < 0 else value)
                    theirs = metric._aggregate_and_compute(stats).score
                    mine = scores[f"{name}|{smooth}|{value}"]
                    check(abs(mine - theirs) <= 1e-9, f"{name} {smooth} {value}: {mine} != {theirs}")
    for unit, tokenizer in [("word", None), ("character", CharacterTokenizer())]:
        scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False, tokenizer=tokenizer)
        for (h, r), mine in zip(data, ours):
            theirs = scorer.score(r, h)
            theirs = [theirs[k].fmeasure for k in ("rouge1", "rouge2", "rougeL")]
            check(all(abs(a - b) <= 1e-9 for a, b in zip(mine[unit], theirs)),
                  f"rouge {unit}: {h!r} {r!r}: {mine[unit]} != {theirs}")
    print(f"{len(data)} pairs, {checked} comparisons, {failures} differ; sacrebleu {sacrebleu.__version__}")
    sys.exit(1 if failures else 0)


main()
