"""Lines that try a tokenizer: odd ones, made the same way in every run, and real ones from this repository."""
import pathlib
import random
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

EDGES = ["", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\r\n", "\r", "\t", "\t\t x", "a", " a", "a ", "  a  b  ", "\u3000", "\u00a0a", "\x00", "a\x00b",
         "\x1b[0m", "\u0085x", "x\u2028y\u2029z", "\u180e \u180e", "\u200b\u200c\u200d\ufeff", "\ufffd", "\ufffe", "\U0010ffff", "\ue000\uf8ff\U000f0000",
         "e\u0301", "\u00e9", "E\u0301\u0302\u0323", "\u0301", "a\u0301\u0301\u0301\u0301b", "\u1100\u1161\u11a8", "\uac01", "가각힣", "\u0958", "\u09cb", "\u212b\u2126\u2f24",
         "\ufb01\ufb02 ﷺ", "Ａ１！　ｱﾊﾟ", "が\u3099か\u3099", "葛\U000e0100", "神\ufa19", "☺\ufe0f☺", "👩‍👩‍👧‍👦👍🏽🇨🇳🏴󠁧󠁢󠁥󠁮󠁧󠁿", "i̇İıI", "ΑΣ ς", "ǅ ß ẞ ſ K", "'S 'ſ 'T 'LL 'Re 'vE 'M 'D don't DON'T it’s",
         "עברית\u200f עם ניקוד שָׁלוֹם", "العَرَبِيَّة ١٢٣ ۴۵۶", "हिन्दी में २०२४", "ไทย ๑๒๓", "ខ្មែរ", "တ်", "Ꮳꮝ", "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛 ①②③ Ⅷ ½ ² ㊿", "𠀀𠀁𪜀 㐀", "_a_b__", "$x^2 + y_1 = \\frac{1}{2}$",
         "1234567890 3.14159 1,000,000 0x1F 1e-10", "http://a.b/c?d=e&f=%20#g user@example.com", "def f(x):\n    return x ** 2\n\n\nclass A:\n\tpass\n", "<p class=\"x\">&nbsp;</p><!-- -->",
         "a" * 3000, "ab" * 1500, " " * 2000, "\n" * 500, "啊" * 1500, "的一是在不了有和人这" * 100, "=" * 500 + "-" * 77, "a\u0300" * 400, "!" * 300, "1" * 400, "\u00a0" * 90, "👍" * 200,
         "▁a▁▁b", "▁", "▁▁▁", "Ġa Ġ Ċ", "<0x0A><0xE4>", "<unk>", "##a", "</w>"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<s>", "</s>", "<unk>", "<|fim_prefix|>", "<|object_ref_start|>"]
RANGES = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff), (0xe00, 0xeff), (0x1100, 0x11ff), (0x1e00, 0x206f), (0x2070, 0x2bff),
          (0x3000, 0x30ff), (0x3400, 0x9fff), (0xac00, 0xd7ff), (0xe000, 0xf8ff), (0xf900, 0xffff), (0x1f000, 0x1faff), (0x20000, 0x323af), (0xe0000, 0xe01ef), (0x0, 0x1f)]
WORDS = ["the", "The", " and", "don't", "'ll", "2024", "3.14", "模型", "蒸馏", "医生，", "。", "\n", "\n\n", " ", "  ", "\t", "Ünïcödé", "é", "👍🏽", "==", "();", "{\n", "\r\n", "_x", "$", "の", "한국", "абв", "\u200b", "\u00a0"]


def odd_lines(count, seed=11):
    rng = random.Random(seed)

    def character():
        low, high = rng.choice(RANGES)
        return chr(rng.randint(low, high))

    out = list(EDGES) + SPECIALS + [f"a {s} b{s}c\n{s}" for s in SPECIALS] + [s[:-1] for s in SPECIALS] + ["".join(SPECIALS), " ".join(SPECIALS)]
    while len(out) < count:
        kind = rng.randrange(4)
        if kind == 0:
            out.append("".join(character() for _ in range(rng.randrange(1, 40))))
        elif kind == 1:
            low, high = rng.choice(RANGES)
            out.append("".join(rng.choice([chr(rng.randint(low, high)), " ", rng.choice(WORDS)]) for _ in range(rng.randrange(1, 40))))
        elif kind == 2:
            out.append(rng.choice(["", " "]).join(rng.choice(WORDS + SPECIALS) for _ in range(rng.randrange(1, 30))))
        else:
            out.append("".join(rng.choice([character(), rng.choice(EDGES[:50]), rng.choice(WORDS), rng.choice(SPECIALS)]) for _ in range(rng.randrange(1, 12))))
    return out


def code_point_lines(thorough):
    """Every code point, beside a letter, a space, itself and a digit; or each below U+20000 between a letter and a digit."""
    points = [c for c in range(0x110000 if thorough else 0x20000) if not 0xd800 <= c < 0xe000]
    form = "x{0} {0}{0}7" if thorough else "x{0}7"
    return ["".join(form.format(chr(c)) for c in points[i:i + 64]) for i in range(0, len(points), 64)]


def repository_lines():
    """Chinese and English of the fixtures and the demo data, and code: this repository's own, line by line and whole files."""
    packed = ROOT / "assets" / "data" / "classical_modern_valid.tsv.zst"
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests" / "fixtures").glob("*/pairs.tsv"))]
    texts += [subprocess.run(["zstd", "-dcq", str(packed)], capture_output=True, check=True).stdout.decode("utf-8")]
    code = [path.read_text(encoding="utf-8") for pattern in ["src/**/*.cc", "src/**/*.h", "tests/**/*.py"] for path in sorted(ROOT.glob(pattern))]
    return [line for text in code + texts for line in text.split("\n")] + code
