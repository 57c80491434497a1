#include "cli_edge/registry.h"

#include "cli_edge/engine_opener.h"
#include "cli_edge/verbs.h"

namespace retort {
namespace {

const VerbRow kVerbs[] = {
    {"chat", "talk to a model in the terminal", "chat --model student.gguf",
     [] { return make_chat(make_engine_opener()); }},
    {"generate", "answer one prompt", "generate --model student.gguf --prompt '学而时习之，不亦说乎？'",
     [] { return make_generate(make_engine_opener()); }},
    {"evaluate", "judge a model (or texts) on held-out pairs: BLEU, ROUGE, likelihood, speed, memory",
     "evaluate --model student.gguf --data pairs.tsv --limit 500 --json -",
     [] { return make_evaluate(make_engine_opener()); }},
    {"data generate", "a model writes answers to questions: best of n, filtered, checked",
     "data generate --model teacher.gguf --data questions.jsonl --best-of 4 --temperature 0.8 --check number "
     "--out "
     "answers.jsonl",
     [] { return make_data_generate(make_engine_opener()); }},
    {"score", "log-probability of every next token of given lines",
     "score --model student.gguf --file lines.jsonl", [] { return make_score(make_engine_opener()); }},
    {"bench", "speed of reading prompts and of answering, memory traffic, latency, energy",
     "bench --model student.gguf --prompt 512 --generate 64 --batch 1,4,16", make_bench},
    {"quantize", "a model in fewer bits, with what it lost by kind of tensor",
     "quantize --model DIR --encoding q4_k_m --out model.gguf", make_quantize},
    {"export", "a model in another file form", "export --model DIR --format gguf --out model.gguf",
     make_export},
    {"inspect", "what a model folder or weight file holds: tensors, parameters, FLOPs, bytes",
     "inspect DIR --json -", make_inspect},
    {"tokenize encode", "token ids of each line of a file",
     "tokenize encode --tokenizer DIR --file lines.txt", make_tokenize_encode},
    {"tokenize decode", "text of each line of token ids", "tokenize decode --tokenizer DIR --file ids.jsonl",
     make_tokenize_decode},
};

}  // namespace

std::span<const VerbRow> edge_verbs() { return kVerbs; }

}  // namespace retort
