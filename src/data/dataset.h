// A data option of a verb ("these files, this split, at most so many") as token examples.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/batch_source.h"
#include "data/record_source.h"

namespace retort {

struct DatasetOptions {
  std::vector<std::string> data = {};        // files
  std::vector<std::string> validation = {};  // files; empty: split off `data` by hash
  double validation_share = 0.02;            // used when `validation` is empty
  std::int64_t limit = 0;                    // records of `data`, 0 = all
  // Records of `validation` to validate on, 0 = all; training keeps off the others too.
  std::int64_t validation_limit = 0;
  // Tokens; longer dialogues are skipped and counted, longer text is cut into several.
  std::int64_t max_length = 512;
  // What of a training record must not occur in the validation part (compared as normalized_for_overlap):
  // "either" its question or its answer, its "source" alone (the question; of plain text, all of it), or
  // "none".
  std::string overlap = "either";
  void visit(OptionList& list);
};

struct Dataset {
  ExampleStore train, validation;
  std::int64_t train_chars = 0, validation_chars = 0;  // Unicode code points of the answers
  std::int64_t too_long = 0;
  std::int64_t overlapping = 0;  // training records left out because the validation part has their text
  SkipReport skipped;            // bad lines, and records that the chat template refuses
};

// Called now and then with the records read so far.
using DatasetProgress = std::function<void(std::int64_t records)>;

// Reads, splits and encodes (in as many threads as the machine has). An answer that the validation part gives
// to several questions is a label or a stock phrase and no overlap. Throws Error when nothing is left to
// train on, and when dialogues are to be encoded without a chat template.
Dataset load_dataset(const DatasetOptions& options, const Tokenizer& tokenizer,
                     const ChatTemplate* chat_template, std::optional<TokenId> end_token,
                     const DatasetProgress& progress = {});

}  // namespace retort
