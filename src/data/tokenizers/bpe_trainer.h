// Trains a byte-level BPE vocabulary. The merges are those of the `tokenizers` library's trainer: most
// frequent pair first, the smaller pair of ids among equals.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"

namespace retort {

struct BpeTrainerOptions {
  std::int64_t vocab_size = 8192;  // special tokens and the 256 bytes included
  std::int64_t min_frequency = 2;  // of a pair that is merged
  std::vector<std::string> special_tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};  // ids 0, 1, 2 …
  void visit(OptionList& list);
};

// Reads texts until nullopt; returns a whole tokenizer.json (NFC, Qwen2's splitter, byte level).
// Deterministic.
Json train_bpe(const std::function<std::optional<std::string>()>& next_text,
               const BpeTrainerOptions& options);

// tokenizer.json and tokenizer_config.json; `config` adds keys to the latter.
void write_tokenizer(const std::filesystem::path& folder, const Json& tokenizer_json, const Json& config);

}  // namespace retort
