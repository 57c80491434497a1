"""Chat templates against transformers' apply_chat_template: real templates on many dialogues, small templates that try one thing
each, and random ones. Where the reference raises an error, so must we."""
import itertools
import json
import os
import pathlib
import subprocess
import sys

try:
    import tokenizers
    import transformers
    from transformers.utils.chat_template_utils import _compile_jinja_template
except (ModuleNotFoundError, ImportError) as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import jinja_snippets

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def call(name, arguments, identity="a1B2c3D4e"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Current weather: 天气 & \"sky\" <b>", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "  City, e.g. 北京  "}, "unit": {"type": "string", "enum": ["c", "f"], "description": "Unit"},
                                     "days": {"type": "array", "items": {"type": "integer"}, "description": "Days"}, "exact": {"type": ["boolean", "null"], "description": "Exact?"}}, "required": ["city"]}}}
TIME = {"type": "function", "function": {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}}
SYSTEM = {"role": "system", "content": " You are careful. "}
THOUGHT = "<think>\n先想想 2 + 2\n</think>\n\n4"
DIALOGUES = [
    [{"role": "user", "content": "Hi"}],
    [SYSTEM, {"role": "user", "content": "你好，世界！👍\n\nline"}],
    [SYSTEM, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "  c\n"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b "}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}],
    [{"role": "user", "content": ""}], [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}], [SYSTEM], [{"role": "user", "content": "\n\n"}, {"role": "assistant", "content": "\u3000x\u3000"}],
    [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": THOUGHT}], [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": THOUGHT}, {"role": "user", "content": "and 3?"}, {"role": "assistant", "content": "<think>\n\n</think>\n\n3"}],
    [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4", "reasoning_content": "\n two and two\n"}], [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4", "reasoning": "r"}, {"role": "user", "content": "ok"}, {"role": "assistant", "content": "5", "thinking": "t"}],
    [{"role": "user", "content": "w"}, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "北京", "n": 1.5, "deep": {"a": [None, True]}})]}, {"role": "tool", "content": "{\"t\": 3}", "tool_call_id": "a1B2c3D4e", "name": "get_weather"}, {"role": "assistant", "content": "3 °C"}],
    [SYSTEM, {"role": "user", "content": "w"}, {"role": "assistant", "content": "Let me see", "tool_calls": [call("get_weather", {"city": "x"}), call("now", {}, "b1B2c3D4e")]}, {"role": "tool", "content": "1", "tool_call_id": "a1B2c3D4e"}, {"role": "tool", "content": "2", "tool_call_id": "b1B2c3D4e"}, {"role": "user", "content": "so?"}],
    [{"role": "user", "content": "w"}, {"role": "assistant", "content": None, "tool_calls": [call("now", "{\"as\": \"text\"}")]}, {"role": "tool", "content": "12", "tool_call_id": "a1B2c3D4e"}],
    [{"role": "user", "content": "w"}, {"role": "assistant", "content": "x", "tool_calls": None}, {"role": "user", "content": "<tool_response>\nfake\n</tool_response>"}],
    [{"role": "user", "content": [{"type": "text", "text": " part one "}, {"type": "image"}, {"type": "text", "text": "two"}]}],
    [{"role": "assistant", "content": "first"}, {"role": "user", "content": "x"}], [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], [{"role": "user", "content": "{{ 7 * 7 }} {% if %} {# x #}"}],
    [SYSTEM, {"role": "user", "content": "u", "name": "Ann"}, SYSTEM, {"role": "assistant", "content": "<|im_end|></s>"}],
]
OPTIONS = [{}, {"tools": [WEATHER]}, {"tools": [WEATHER, TIME]}, {"tools": []}, {"enable_thinking": False}, {"enable_thinking": True, "thinking": True, "open_thinking": True},
           {"documents": [{"title": "T", "text": "body 一"}, {"title": "U", "text": "two"}]}, {"builtin_tools": ["brave_search", "code_interpreter"], "date_string": "1 Jan 2025"},
           {"tools": [TIME], "tools_in_user_message": False, "enable_thinking": False, "controls": {"length": "short", "citations": True}}]


class Ours:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["RETORT_BIN"] + "/template_tool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def __call__(self, source, messages=(), special=None, prompt=False, variables=None):
        request = {"template": source, "special_tokens": special or {}, "messages": list(messages), "add_generation_prompt": prompt, "variables": variables or {}}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"template_tool ended at {source!r}")
        return json.loads(answer)


def reference(run):
    try:
        return {"text": run()}
    except Exception as error:  # of any kind: what counts is that there is one
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    ours, failures, counts = Ours(), 0, {}

    def check(group, name, theirs, mine):
        nonlocal failures
        kind = "error" if "error" in theirs else "text"
        counts[group, kind] = counts.get((group, kind), 0) + 1
        if theirs.get("text") != mine.get("text"):
            failures += 1
            if failures <= 20:
                print(f"{group} {name}\n  theirs {theirs!r}\n  ours   {mine!r}"[:700])

    base = tokenizers.Tokenizer(tokenizers.models.BPE())
    for path in sorted((ROOT / "tests" / "fixtures" / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=base, **SPECIAL)
        tokenizer.chat_template = source
        for (i, dialogue), options, prompt in itertools.product(enumerate(DIALOGUES), OPTIONS, [False, True]):
            theirs = reference(lambda: tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=prompt, **options))
            check("dialogue", f"{path.stem} {i} {list(options)}", theirs, ours(source, dialogue, SPECIAL, prompt, options))
    for group, sources in [("snippet", list(jinja_snippets.cases())), ("random", jinja_snippets.random_templates(4000))]:
        for source in sources:
            theirs = reference(lambda: _compile_jinja_template(source).render(messages=[], add_generation_prompt=False, tools=None, documents=None, **jinja_snippets.VARIABLES))
            if "unhashable" in theirs.get("error", ""):
                continue  # sets are Python's business
            check(group, repr(source), theirs, ours(source, variables=jinja_snippets.VARIABLES))
    for (group, kind), count in sorted(counts.items()):
        print(f"{group}: {count} with {kind}")
    print(f"transformers {transformers.__version__}: {failures} differ")
    sys.exit(1 if failures else 0)


main()
