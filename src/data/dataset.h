// A data option of a verb ("these files, this split, at most so many") as token examples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/batch_source.h"
#include "data/record_source.h"

namespace retort {

struct DatasetOptions {
  std::vector<std::string> data;       // files
  std::vector<std::string> validation; // files; empty: split off `data` by hash
  double validation_share = 0.02;      // used when `validation` is empty
  std::int64_t limit = 0;              // records, 0 = all
  std::int64_t max_length = 512;       // tokens; longer examples are skipped and counted
  void visit(OptionList& list);
};

struct Dataset {
  ExampleStore train, validation;
  std::int64_t train_chars = 0, validation_chars = 0;  // Unicode code points of the answers
  std::int64_t too_long = 0;
  SkipReport skipped;
};

// Reads, splits and encodes. When `validation` files are given, training records whose normalised source or answer occurs
// there are left out. Throws Error when nothing is left to train on.
Dataset load_dataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                     std::optional<TokenId> end_token);

}  // namespace retort
