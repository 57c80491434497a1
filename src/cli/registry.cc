#include "cli/registry.h"

#include "base/error.h"

namespace retort {
namespace {

const VerbRow kVerbs[] = {
    {"run", "run a recipe: a list of stages; finished ones are skipped",
     "retort run recipes/quickstart.yaml --distill.tokens=200000", make_run},
    {"train", "train a new model, or fine-tune one, on pairs, dialogues or text",
     "retort train --model DIR --data pairs.tsv --epochs 3 --learning-rate 1e-4 --out runs/tuned",
     make_train},
    {"distill", "teach a student with a teacher's distributions",
     "retort distill --teacher DIR --student DIR --data pairs.tsv --tokens 1000000 --alpha 0.9 --out "
     "runs/distilled",
     make_distill},
    {"shrink", "cut a smaller student out of a model",
     "retort shrink --model DIR --num-layers 4 --out student", make_shrink},
    {"evaluate", "judge a model (or texts) on held-out pairs: BLEU, ROUGE, likelihood, speed, memory",
     "retort evaluate --model DIR --data pairs.tsv --limit 500 --json -", make_evaluate},
    {"score", "log-probability of every next token of given lines",
     "retort score --model DIR --file lines.jsonl", make_score},
    {"generate", "answer one prompt", "retort generate --model DIR --prompt '学而时习之，不亦说乎？'",
     make_generate},
    {"tokenize encode", "token ids of each line of a file",
     "retort tokenize encode --tokenizer DIR --file lines.txt", make_tokenize_encode},
    {"tokenize decode", "text of each line of token ids",
     "retort tokenize decode --tokenizer DIR --file ids.jsonl", make_tokenize_decode},
    {"tokenize train", "make a byte-level BPE tokenizer from data",
     "retort tokenize train --data pairs.tsv --vocab-size 8192 --out tokenizer", make_tokenize_train},
    {"inspect", "what a model folder or weight file holds: tensors, parameters, FLOPs, bytes",
     "retort inspect DIR --json -", make_inspect},
    {"report", "write a run's HTML page from its figures", "retort report runs/quickstart", make_report},
};

}  // namespace

std::span<const VerbRow> verbs() { return kVerbs; }

const VerbRow& find_verb(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const VerbRow& row : kVerbs) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw Error({.where = where,
               .found = "unknown verb '" + std::string(name) + "'",
               .expected = "",
               .advice = suggest(name, names)});
}

}  // namespace retort
