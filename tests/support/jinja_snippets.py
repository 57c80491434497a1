"""Small templates that try one thing each, and a generator of odd ones; all see VARIABLES."""
import random

VARIABLES = {
    "a": 7, "b": -3, "x": 2.5, "big": 1e20, "tiny": 1.5e-7, "yes": True, "no": False, "nil": None, "empty": "", "s": "Hello, World", "zh": "　模型 蒸馏　\n", "u": "straße ÉCOLE ǆ İ",
    "spaced": "  \t a b  c \n", "quote": "it's \"q\" \\ \n\t\x01\u200b é模👍", "l": [3, 1, 2], "names": ["b", "A", "c", "a"], "e": [], "d": {"k": 1, "z": [1, {"y": None}], "a b": "v", "items": "shadow"},
    "users": [{"n": "Bo", "age": 3, "in": {"t": 1}}, {"n": "al", "age": 1}, {"n": "Cy", "age": 2, "in": {"t": 0}}], "nested": [[1, 2], [3], []], "f": 3.0, "text": "one two  three\nfour\r\nfive\n",
}

EXPRESSIONS = """
a + b|a - b * 2|a / 2|a // 2|b // 2|b % 2|a % b|2 ** 10|2 ** -1|-a|+a|-x|a * 'ab'|'ab' * 3|[1] * 3|1 + 2.5|7 / 7|10 // 3.0|-7.5 // 2|-7.5 % 2|1_000|1e3|1.5e-3|0.1 + 0.2|1e16|1e15|123456789012345678
a ~ b|a ~ 'x' ~ x ~ yes ~ nil|1 ~ 2 + 3|'a' 'b' "c"|'\\n\\t\\x41\\u4e2d\\'q'|"\\\\d"|'{{ %}'|"a\\qb"
a == 7|a == 7.0|'a' == 'b'|yes == 1|[1, 2] == [1, 2]|d == {'k': 1}|nil == none|a != b|a < 9|a <= 7 <= 8|1 < 2 < 2|'a' < 'b'|[1, 2] < [1, 3]|yes and no|yes or no|a and b|empty or 'd'|nil or 0|not a|not empty|not not l
'lo' in s|'x' not in s|3 in l|'k' in d|none in [nil]|4 not in l|'' in s|a in (7, 8)
'y' if yes else 'n'|'y' if no|'y' if no else 'n' if yes else 'm'|(a if x else b) + 1
l[0]|l[-1]|l[5]|l[1:]|l[:-1]|l[::-1]|l[::2]|l[-2:]|l[5:]|s[0]|s[-1]|s[1:4]|s[::-1]|zh[1:3]|s[99]|l[yes]|d.k|d['k']|d.z[1].y|d.nope|d['a b']|d['items']|users[0].n|users.0.n|d.z.1.y|nested[0][1]
d.items() | list|d.keys() | list|d.values() | list|d.get('k')|d.get('q')|d.get('q', 5)|d|l|users|nested|nil|yes|x|f|big|tiny|quote|[quote]|{'a': 1, 'b': [x, nil]}|{}|[]|()|(1,)|(1, 2)[0]|{1: 'a'}[1]|{'a': 1,}|[1, 2,]|zh|[zh]
s.upper()|s.lower()|s.title()|u.upper()|u.lower()|u.title()|u.capitalize()|spaced.strip()|spaced.lstrip()|spaced.rstrip()|zh.strip()|s.strip('Hd')|'xxaxx'.strip('x')|s.split(',')|s.split()|spaced.split()|s.split('l', 1)|text.split('\\n')|spaced.split(none, 1)|s.rsplit('o', 1)|s.rsplit(' ')|text.splitlines()|text.splitlines(true)
s.startswith('He')|s.startswith(('a', 'H'))|s.endswith('ld')|s.replace('l', 'L')|s.replace('l', 'L', 1)|'aaa'.replace('', '-')|s.find('o')|s.find('zz')|s.rfind('o')|zh.find('蒸')|s.count('l')|','.join(names)|s.isdigit()|'12'.isdigit()|'a1'.isalnum()|'ab'.isalpha()|' '.isspace()|'AB'.isupper()|'ab'.islower()|'a,b,c'.partition(',')|'a,b,c'.rpartition(',')|'a'.center(6) ~ '|'|'a'.ljust(3) ~ '|'|'a'.rjust(3) ~ '|'|'abc'.removeprefix('a')|'abc'.removesuffix('c')
s | upper|s | lower|s | title|'a-b (c d)' | title|s | capitalize|s | length|l | length|d | count|zh | trim|spaced | trim|'xax' | trim('x')|s | replace('l', '_')|s | replace('l', '_', 2)|a | string|l | string|'5' | int|'5.9' | int|'q' | int|'q' | int(3)|x | int|'ff' | int(0, 16)|'2.5' | float|'q' | float|a | float|x | round|2.567 | round(2)|2.1 | round(0, 'ceil')|2.9 | round(method='floor')|3.5 | round|2.5 | round|b | abs|-2.5 | abs
l | first|l | last|e | first|e | last|s | first|l | list|s | list|d | list|l | join|l | join('-')|users | join(', ', attribute='n')|l | sort|names | sort|names | sort(case_sensitive=true)|l | sort(reverse=true)|users | sort(attribute='age') | map(attribute='n') | list|l | reverse | list|s | reverse|l | sum|users | sum(attribute='age')|l | max|l | min|names | max|e | max|l | unique | list|['a', 'A', 'b'] | unique | list
users | map(attribute='n') | join|users | map(attribute='in.t', default='-') | list|names | map('upper') | list|users | selectattr('in') | map(attribute='n') | list|users | selectattr('age', 'gt', 1) | list | length|users | rejectattr('age', 'equalto', 1) | map(attribute='n') | list|users | selectattr('in', 'defined') | list | count|[0, 1, 2] | select | list|[0, 1, 2] | reject('odd') | list|l | select('>', 1) | list|['a', 1] | select('string') | list|l | reject('in', [1]) | list
l | batch(2) | list|l | batch(2, '-') | list|l | slice(2) | list|d | dictsort|{'b': 2, 'a': 3} | dictsort(by='value')|{'b': 2, 'a': 3} | dictsort(reverse=true)|users | groupby('age') | map('first') | list|d | items | list|nope | items | list|d | tojson|users | tojson(indent=2)|quote | tojson|zh | tojson(ensure_ascii=true)|'👍' | tojson(ensure_ascii=true)|d | tojson(sort_keys=true)|[1, 2] | tojson(separators=(',', ':'))|{'a': []} | tojson(indent=1)|[x, big, tiny, f, yes, nil] | tojson|e | tojson|{} | tojson(indent=4)|[[]] | tojson(indent='\\t')
nope | default('z')|nil | default('z')|nil | default('z', true)|nope | d|empty | default('z', boolean=true)|nope.x | default('q')|text | indent|text | indent(2, true)|text | indent(2, blank=true)|s | truncate(5)|s | truncate(5, true)|s | truncate(9, false, '..', 0)|text | wordcount|'%s-%d' | format('a', 3)|'%s %s%%' % ('a', 1)|'%.2f' % x|'%r' % 'a'|'<a href="x">' | e|'<' | safe|s | center(20) ~ '|'|users[0] | attr('n')
a is defined|nope is defined|nope is not defined|nope is undefined|nil is none|a is none|a is number|yes is number|x is float|a is integer|yes is integer|yes is boolean|s is string|l is sequence|s is sequence|d is sequence|a is iterable|d is iterable|d is mapping|l is mapping|nope is iterable|yes is true|no is false|1 is true|a is odd|a is even|a is divisibleby 7|a is divisibleby(3)|a is eq 7|a is lt 8|a is in l|a is sameas 7|'A' is upper|'a' is lower|range is callable|'upper' is filter|'odd' is test|not a is none|a is defined and b is defined|s is string and s | length > 3|l is not mapping
range(3) | list|range(1, 4) | list|range(5, 0, -2) | list|dict(a=1, b=2)|dict({'a': 1}, b=2).b|namespace(a=1).a|nope|nope.x|nope + 1|1 + 'a'|1 / 0|[1] + 2|s | nosuch|s is nosuch|a()|nope()|raise_exception('boom')|'a' < 1|l | sort(attribute='n')|a[0]|nil.x|nil['x']|1 | length|(1, 2) | length|'a' * -1|l.index(2)|l.count(1)|l.append(4)|d.update({})|d.pop('k')|s.nosuch()
-a | abs|-3 | abs|a - -b|2 * 3 ** 2|not a == b|a == b or b < a|(a)|((a + b) * 2)|a if a > b else b if b else 0|"%s" % d|'é' | upper|'ß' | upper|'a' in 'cat' and 'b' not in 'cat'|{'x': {'y': 1}}.x.y|[[1, 2], [3]] | sum(start=[])|'a,b' .split(',') [1]|s[a - 7]|none | default(1)|d.z | last | length
""".strip().replace("\n", "|||").split("|||")

STATEMENTS = [
    "{% for i in l %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% else %}none{% endfor %}",
    "{% for i in e %}{{ i }}{% else %}none{% endfor %}", "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }} {% else %}none{% endfor %}", "{% for i in l if i > 9 %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }} {% endfor %}",
    "{% for r in nested %}{% for i in r %}{{ loop.index }}{{ loop.depth }}{{ i }} {% endfor %};{% endfor %}", "{% for (i, j) in [(1, 2), (3, 4)] %}{{ i }}{{ j }} {% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for i in nope %}x{% else %}e{% endfor %}", "{% for i in 5 %}{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% set q = 1 %}{% for i in l %}{% set q = i %}{{ q }}{% endfor %}{{ q }}", "{% set ns = namespace(n=0) %}{% for i in l %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% if a > 3 %}big{% elif a > 1 %}mid{% else %}low{% endif %}", "{% if nope %}x{% elif e %}y{% else %}z{% endif %}", "{% if a %}{% set q = 1 %}{% endif %}{{ q }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set q = (1, 2) %}{{ q[1] }}", "{% set q %}x{{ a }}{% endset %}[{{ q }}]", "{% set q | upper | replace('X', 'y') %}x{{ a }}{% endset %}[{{ q }}]",
    "{% macro m(p, q=2) %}<{{ p }}{{ q }}>{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(p=4) }}{{ m(q=5, p=6) }}{{ m() }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}", "{% macro m(p) %}{% if p > 0 %}{{ p }}{{ m(p - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{% macro m(p) %}[{{ caller() }}{{ p }}]{% endmacro %}{% call m(1) %}in{{ a }}{% endcall %}",
    "{% macro m() %}{{ caller(5) }}{% endmacro %}{% call(v) m() %}<{{ v }}>{% endcall %}", "{% macro m() %}{{ later }}{% endmacro %}{% set later = 8 %}{{ m() }}", "{% macro m() %} {{ a }} {% endmacro %}{{ m() | trim }}", "{% macro m(x=a) %}{{ x }}{% endmacro %}{{ m() }}", "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% with q = a, r = 2 %}{{ q + r }}{% endwith %}{{ q }}", "{% filter upper %}abc{{ s }}{% endfilter %}", "{% raw %}{{ a }}{% endraw %}", "{% raw -%}  {{ a }} {%- endraw %}", "{# comment #}a{#- b -#} c", "{% generation %}x{{ a }}{% endgeneration %}", "{{ a }}{{ b }}\n", "{{ a }}\n\n", "a\n{% if yes %}\nb\n{% endif %}\nc", "  {% if yes %}  \n  b\n  {% endif %}\n", "x {% if yes %} y {% endif %} z", "{{ a }}   {% if yes %}y{% endif %}",
    "{%- if yes -%}  y  {%- endif -%}  z", "{%+ if yes %} y {%+ endif %}", "  {%+ if yes +%}\n y\n{% endif +%}\nz", "{{- a -}}  b", "a  {{- b }}", "\r\na\r\n{% if yes %}\r\nb{% endif %}\r\n", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns.c }}", "{% set nope.x = 1 %}", "{% set d.k = 1 %}", "{{ l | map('nosuch') | list }}", "{% for i in [1,2,3] %}{{ i }}{% if loop.index0 == 1 %}{% break %}{% endif %}{% endfor %}!",
    "{{ '{%' }}{{ \"}}\" }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ {'a': {'b': 1}} }}", "{% if 'a' in {'a': 1} and not ('b' in {'a': 1}) %}ok{% endif %}", "{{ users | map(attribute='n') | map('lower') | sort | join('/') }}", "{% set x = users | selectattr('n', 'equalto', 'Bo') | list %}{{ x[0].age }}{{ x | length }}",
    "{{ [1, 2, 3][1:] | join }}", "{{ 'a' if nope is defined else 'b' }}", "{% for m in users %}{% if loop.first %}{{ m.n }}{% elif loop.last %}!{{ m['n'] }}{% else %}-{% endif %}{% endfor %}", "{{ a, b }}", "{{ loop }}", "{% for x in [nil, 1] %}{{ x is none }}{% endfor %}{{ x }}", "{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}", "{% set ns = namespace(x=[]) %}{% for i in l %}{% set ns.x = ns.x + [i * 2] %}{% endfor %}{{ ns.x }}",
    "{% if (a == 7) != (b == 7) %}t{% endif %}", "{{ namespace }}"[:0] or "{{ [namespace(a=1).a] }}", "{% for tool in users %}{{- tool | tojson(indent=4) }}{{- '\n\n' }}{% endfor %}", "{% set a = 1 %}{% macro m() %}{% set a = 2 %}{{ a }}{% endmacro %}{{ m() }}{{ a }}", "{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}", "{{ 1 if yes else }}", "{% if %}{% endif %}", "{% for %}{% endfor %}", "{{ }}", "{{ a", "{% if a", "{# a", "{% endif %}", "{% if a %}", "{% else %}", "{{ 'a }}", "{{ a b }}", "{{ [1, }}", "{{ a | }}",
    "{% break %}", "{% nosuch %}", "{{ a ? b }}", "{{ (1 }}", "{% set %}", "{% set 1 = 2 %}", "{% macro %}{% endmacro %}", "{{ d[ }}",
]


def cases():
    for line in EXPRESSIONS:
        parts = line.split("|")
        # A bar inside of an expression has spaces around it, one between expressions has none.
        for expression in "|".join(parts).replace(" | ", " \x00 ").split("|"):
            expression = expression.replace("\x00", "|")
            if expression.count("'") % 2 == 0 and expression:
                yield "[{{ " + expression + " }}]"
    yield from STATEMENTS


def random_templates(count, seed=3):
    """White space, signs and tags in every order; names of all kinds in expressions."""
    rng = random.Random(seed)
    spaces = ["", " ", "  ", "\n", "\n\n", " \n ", "\t", "x", "x ", " x", "\r\n", "\u3000", "é"]
    atoms = ["a", "b", "x", "s", "l", "d", "nope", "nil", "yes", "1", "2.5", "'q'", "[]", "[1, 'a']", "users", "names", "nested", "text", "loop"]
    filters = ["upper", "length", "first", "last", "list", "join('-')", "tojson", "trim", "string", "int", "default('z')", "sort", "reverse | list", "unique | list", "sum", "max", "title", "replace('a', 'b')", "map('string') | list", "select | list", "indent(2)", "round", "abs", "float"]
    tests = ["defined", "none", "string", "mapping", "number", "sequence", "iterable", "odd", "eq 1", "in names", "sameas nil", "true"]

    def expression(depth=0):
        kind = rng.randrange(9 if depth < 3 else 1)
        if kind <= 1:
            return rng.choice(atoms)
        if kind == 2:
            return f"{expression(depth + 1)} {rng.choice(['+', '-', '*', '/', '//', '%', '~', 'and', 'or', '==', '!=', '<', '>=', 'in', 'not in'])} {expression(depth + 1)}"
        if kind == 3:
            return f"({expression(depth + 1)})"
        if kind == 4:
            return f"{expression(depth + 1)} | {rng.choice(filters)}"
        if kind == 5:
            return f"{expression(depth + 1)} is {rng.choice(['', 'not '])}{rng.choice(tests)}"
        if kind == 6:
            return f"{rng.choice([atom for atom in atoms if atom.isalpha()])}{rng.choice(['[0]', '[-1]', '[1:]', '[::-1]', '.n', '.k', '.z', '.upper()', '.nosuch', '.split()', '[:2]'])}"
        if kind == 7:
            return f"{rng.choice(['not ', '-', ''])}{expression(depth + 1)}"
        return f"{expression(depth + 1)} if {expression(depth + 1)} else {expression(depth + 1)}"

    def tag(begin, inside, end):
        return begin + rng.choice(["", "", "-", "+" if begin == "{%" else ""]) + " " + inside + " " + rng.choice(["", "", "-", "+" if begin == "{%" else ""]) + end

    def body(depth=0):
        out = rng.choice(spaces)
        for _ in range(rng.randrange(1, 4)):
            kind = rng.randrange(7 if depth < 3 else 2)
            if kind == 0:
                out += tag("{{", expression(), "}}")
            elif kind == 1:
                out += "{#" + rng.choice(["", "-", "+"]) + rng.choice(spaces) + rng.choice(["", "-", "+"]) + "#}"
            elif kind == 2:
                out += tag("{%", "if " + expression(), "%}") + body(depth + 1) + rng.choice(["", tag("{%", "else", "%}") + body(depth + 1)]) + tag("{%", "endif", "%}")
            elif kind == 3:
                out += tag("{%", f"for i in {expression()}", "%}") + body(depth + 1) + tag("{%", "endfor", "%}")
            elif kind == 4:
                out += tag("{%", f"set {rng.choice(['a', 'q', 's'])} = {expression()}", "%}")
            elif kind == 5:
                out += tag("{%", "raw", "%}") + rng.choice(spaces) + "{{ a }}" + rng.choice(spaces) + tag("{%", "endraw", "%}")
            else:
                out += tag("{%", "set q", "%}") + body(depth + 1) + tag("{%", "endset", "%}") + "{{ q }}"
            out += rng.choice(spaces)
        return out

    return [body() for _ in range(count)]
