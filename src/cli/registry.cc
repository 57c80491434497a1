#include "cli/registry.h"

#include "cli/open_model.h"
#include "cli_edge/verbs.h"

namespace retort {
namespace {

const VerbRow kVerbs[] = {
    {"run", "run a recipe: a list of stages; finished ones are skipped",
     "run recipes/quickstart.yaml --distill.tokens=200000", make_run},
    {"train", "train a new model, or fine-tune one, on pairs, dialogues or text",
     "train --model DIR --data pairs.tsv --epochs 3 --learning-rate 1e-4 --out runs/tuned", make_train},
    {"distill", "teach a student with a teacher's distributions",
     "distill --teacher DIR --student DIR --data pairs.tsv --tokens 1000000 --alpha 0.9 --out "
     "runs/distilled",
     make_distill},
    {"trace", "record a teacher's distributions once, for any number of students",
     "trace --teacher DIR --data pairs.tsv --out runs/traces", make_trace},
    {"shrink", "cut a smaller student out of a model", "shrink --model DIR --num-layers 4 --out student",
     make_shrink},
    {"merge", "add adapters to a model's weights",
     "merge --model DIR --adapter DIR:0.7 --adapter DIR:0.3 --out merged", make_merge},
    {"evaluate", "judge a model (or texts) on held-out pairs: BLEU, ROUGE, likelihood, speed, memory",
     "evaluate --model DIR --data pairs.tsv --limit 500 --json -",
     [] { return make_evaluate(make_model_opener()); }},
    {"data generate", "a model writes answers to questions: best of n, filtered, checked",
     "data generate --model DIR --data questions.jsonl --best-of 4 --temperature 0.8 --check number --out "
     "answers.jsonl",
     [] { return make_data_generate(make_model_opener()); }},
    {"score", "log-probability of every next token of given lines", "score --model DIR --file lines.jsonl",
     [] { return make_score(make_model_opener()); }},
    {"chat", "talk to a model in the terminal", "chat --model DIR",
     [] { return make_chat(make_model_opener()); }},
    {"bench", "speed of the CPU engine: reading prompts, answering, memory traffic, latency, energy",
     "bench --model student.gguf --prompt 512 --generate 64 --batch 1,4,16", make_bench},
    {"generate", "answer one prompt", "generate --model DIR --prompt '学而时习之，不亦说乎？'",
     [] { return make_generate(make_model_opener()); }},
    {"tokenize encode", "token ids of each line of a file",
     "tokenize encode --tokenizer DIR --file lines.txt", make_tokenize_encode},
    {"tokenize decode", "text of each line of token ids", "tokenize decode --tokenizer DIR --file ids.jsonl",
     make_tokenize_decode},
    {"tokenize train", "make a byte-level BPE tokenizer from data",
     "tokenize train --data pairs.tsv --vocab-size 8192 --out tokenizer", make_tokenize_train},
    {"quantize", "a model in fewer bits, with what it lost by kind of tensor",
     "quantize --model DIR --encoding q4_k_m --out model.gguf", make_quantize},
    {"export", "a model in another file form", "export --model DIR --format gguf --out model.gguf",
     make_export},
    {"inspect", "what a model folder or weight file holds; with --cka, how alike two models' layers are",
     "inspect DIR --json -", make_inspect_cka},
    {"report", "write a run's HTML page from its figures", "report runs/quickstart", make_report},
};

}  // namespace

std::span<const VerbRow> verbs() { return kVerbs; }

}  // namespace retort
