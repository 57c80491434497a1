#include "cli_edge/registry.h"

#include "cli_edge/verbs.h"

namespace retort {
namespace {

const VerbRow kVerbs[] = {
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
