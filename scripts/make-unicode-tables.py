#!/usr/bin/env python3
"""Writes src/data/tokenizers/unicode_tables.inc: what the `tokenizers` library thinks of every code point.

Its parts carry Unicode tables of different years (the regular expressions Unicode 16, Rust's own functions 17, punctuation 8, the
normalization forms about 9), and none of them are the system's. So the library itself is asked, code point by code point. The
newest Unicode database (package unicodedata2) only says which later characters its normalization forms do not know yet.

  pip install tokenizers unicodedata2 && scripts/make-unicode-tables.py
"""
import pathlib
import tokenizers
import unicodedata2 as newest
from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No",
              "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp"]
PUNCTUATION, WORD, UNSTABLE = 0x20, 0x40, 0x80


def matched(pattern):
    """Code points that the library's regular expressions match."""
    found, splitter = set(), pre_tokenizers.Split(Regex(pattern), "removed")
    for i in range(0, len(POINTS), 4096):
        chunk = POINTS[i:i + 4096]
        kept = {k for _, (begin, end) in splitter.pre_tokenize_str("".join(map(chr, chunk))) for k in range(begin, end)}
        found.update(c for k, c in enumerate(chunk) if k not in kept)
    return found


def cut_off(splitter):
    """Code points that the pre-tokenizer separates from a letter before them (letters around keep chunks apart)."""
    found = set()
    for i in range(0, len(POINTS), 2048):
        chunk = POINTS[i:i + 2048]
        begins = {begin for _, (begin, _) in splitter.pre_tokenize_str("".join("a" + chr(c) for c in chunk))}
        found.update(c for k, c in enumerate(chunk) if 2 * k + 1 in begins)
    return found


def word_characters():
    """What Whitespace's \\w takes: not separated from a letter, not dropped as a space."""
    found, splitter = set(), pre_tokenizers.Whitespace()
    for i in range(0, len(POINTS), 2048):
        chunk = POINTS[i:i + 2048]
        joined = {begin for _, (begin, end) in splitter.pre_tokenize_str("".join("a" + chr(c) + "\n" for c in chunk)) if end - begin == 2}
        found.update(c for k, c in enumerate(chunk) if 3 * k in joined)
    return found


def runs(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def rows(items, per_line):
    return "".join("".join(items[i:i + per_line]) + "\n" for i in range(0, len(items), per_line))


def main():
    category = {c: CATEGORIES.index(name) for name in CATEGORIES for c in matched(r"\p{" + name + "}")}
    numeric = cut_off(pre_tokenizers.Digits(individual_digits=True))
    punctuation, word = cut_off(pre_tokenizers.Punctuation()), word_characters()
    forms = {name: getattr(normalizers, name)().normalize_str for name in ["NFC", "NFD", "NFKC", "NFKD"]}

    composites = [(c, [int(p, 16) for p in newest.decomposition(chr(c)).split()]) for c in POINTS
                  if newest.decomposition(chr(c)) and not newest.decomposition(chr(c)).startswith("<")]
    composites = [(c, parts) for c, parts in composites if len(parts) == 2]

    def reorders_otherwise(c):
        return any(forms["NFD"](text) != newest.normalize("NFD", text) for text in ("a\u0345" + chr(c), "a" + chr(c) + "\u0334"))

    unknown = {c for c in POINTS if any(forms[f](chr(c)) != newest.normalize(f, chr(c)) for f in forms)
               or newest.combining(chr(c)) and reorders_otherwise(c)}
    # Of a composite that it does not know, at least one part is newer too.
    known, later = set(), []
    for _, parts in composites:
        text = "".join(map(chr, parts))
        if forms["NFC"](text) == newest.normalize("NFC", text):
            known.add(parts[1])
        else:
            later.append(parts)
    unknown |= {parts[0] if parts[1] in known else parts[1] for parts in later}
    # NFC may change a text only where one of these stands.
    unstable = {c for c in POINTS if newest.combining(chr(c)) or forms["NFC"](chr(c)) != chr(c)}
    unstable |= {parts[1] for _, parts in composites} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    unstable -= unknown

    def value(c):
        return category.get(c, 0) | PUNCTUATION * (c in punctuation) | WORD * (c in word) | UNSTABLE * (c in unstable)

    classes, last = [], 0
    for c in range(0x110000):
        now = value(c)
        if now != last:
            classes.append(f"0x{c << 8 | now:X},")
            last = now
    lower = normalizers.Lowercase().normalize_str
    lowercase = [(c, ord(lower(chr(c)))) for c in POINTS if len(lower(chr(c))) == 1 and lower(chr(c)) != chr(c)]
    steps = []  # [first, last, distance, stride]
    for c, low in lowercase:
        if steps and steps[-1][2] == low - c and (c - steps[-1][1] == steps[-1][3] or steps[-1][0] == steps[-1][1] and c - steps[-1][1] <= 2):
            steps[-1][3], steps[-1][1] = c - steps[-1][1], c
        else:
            steps.append([c, c, low - c, 1])
    numeric_elsewhere = numeric ^ {c for c in POINTS if CATEGORIES[category.get(c, 0)][0] == "N"}
    assert numeric_elsewhere <= numeric

    target = pathlib.Path(__file__).resolve().parents[1] / "src" / "data" / "tokenizers" / "unicode_tables.inc"
    target.write_text(
        f"// Written by scripts/make-unicode-tables.py from tokenizers {tokenizers.__version__}. Not to be edited.\n"
        "// Each row of kClasses: first code point << 8 | general category (five bits) | flags; it holds up to the next row.\n"
        f"constexpr std::uint32_t kClasses[] = {{\n{rows(classes, 14)}}};\n"
        "// Numeric to Rust, not yet a number to the regular expressions: [first, last].\n"
        f"constexpr char32_t kLaterNumbers[][2] = {{\n{rows([f'{{0x{a:X},0x{b:X}}},' for a, b in runs(numeric_elsewhere)], 8)}}};\n"
        "// Newer than the normalization forms: left alone, and nothing combines across them. [first, last].\n"
        f"constexpr char32_t kNotNormalized[][2] = {{\n{rows([f'{{0x{a:X},0x{b:X}}},' for a, b in runs(unknown)], 8)}}};\n"
        "// Lower case of one character: first, last, distance, stride.\n"
        f"constexpr std::int32_t kLowercase[][4] = {{\n{rows(['{%s},' % ','.join(map(str, s)) for s in steps], 7)}}};\n")
    print(f"{target}: {len(classes)} classes, {len(unknown)} not normalized, {len(steps)} rows of lower case, {target.stat().st_size} bytes")
    print("longer lower case:", [hex(c) for c in POINTS if len(lower(chr(c))) != 1], "numbers:", len(numeric_elsewhere))


main()
