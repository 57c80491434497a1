#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/machine.h"
#include "data/dialogue_encoder.h"
#include "data/overlap.h"

namespace retort {
namespace {

constexpr std::size_t kBlock = 4096;  // records encoded together

std::int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// Calls visit(record, file index, record number in the file) until `limit` records (0: all) of all files are
// seen.
template <class Visit>
SkipReport for_each_record(const std::vector<std::string>& files, std::int64_t limit, const Visit& visit) {
  SkipReport skipped;
  std::int64_t seen = 0;
  for (std::size_t file = 0; file < files.size() && (limit == 0 || seen < limit); ++file) {
    const auto source = open_records(files[file]);
    std::int64_t number = 0;
    while (limit == 0 || seen < limit) {
      std::optional<Record> record = source->next();
      if (!record) break;
      ++seen;
      visit(std::move(*record), static_cast<std::int32_t>(file), ++number);
    }
    add_skipped(skipped, source->skipped());
  }
  return skipped;
}

// Encodes records in blocks, in several threads, and stores the examples in the records' order.
class Encoder {
 public:
  Encoder(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
          std::optional<TokenId> end_token, Dataset& dataset)
      : options_(options), tokenizer_(tokenizer), end_token_(end_token), dataset_(dataset) {
    if (chat_template != nullptr) dialogues_.emplace(tokenizer, *chat_template);
  }

  void add(Record record, const std::string& file, std::int32_t source, std::int64_t number,
           bool validation) {
    if (!dialogues_ && !record.messages.empty())
      throw Error({.where = file,
                   .found = "pairs or dialogues, but no chat template to write them with",
                   .expected = "plain text, or a model folder with chat_template.jinja",
                   .advice = ""});
    block_.push_back({std::move(record), &file, source, number, validation});
    if (block_.size() == kBlock) flush();
  }

  void flush() {
    std::vector<Result> results(block_.size());
    std::atomic<std::size_t> next = 0;
    constexpr std::size_t kStride = 64;
    const auto work = [&] {
      for (std::size_t begin; (begin = next.fetch_add(kStride)) < block_.size();)
        for (std::size_t i = begin; i < std::min(begin + kStride, block_.size()); ++i)
          results[i] = encode(block_[i]);
    };
    std::vector<std::jthread> threads;
    const std::size_t useful = std::min<std::size_t>(static_cast<std::size_t>(std::max(machine().threads, 1)),
                                                     (block_.size() + kStride - 1) / kStride);
    for (std::size_t t = 1; t < useful; ++t) threads.emplace_back(work);
    work();
    threads.clear();  // joins
    for (std::size_t i = 0; i < block_.size(); ++i) store(block_[i], results[i]);
    block_.clear();
  }

 private:
  struct Item {
    Record record;
    const std::string* file;
    std::int32_t source;
    std::int64_t number;
    bool validation;
  };
  struct Result {
    std::vector<Example> examples;
    std::string problem;
    std::exception_ptr failure;
    std::int64_t chars = 0;
  };

  Result encode(const Item& item) const {
    Result result;
    try {
      if (item.record.messages.empty()) {
        result.examples = cut(encode_text(tokenizer_, item.record.text, end_token_));
        result.chars = code_points(item.record.text);
      } else {
        result.examples = dialogues_->encode_turns(item.record.messages);
        for (const Message& message : item.record.messages)
          if (message.role == "assistant") result.chars += code_points(message.content);
      }
    } catch (const Error& error) {
      result.problem = error.what();
    } catch (...) {
      result.failure = std::current_exception();
    }
    return result;
  }

  // Text longer than max_length: several examples, each beginning with the last token of the one before, so
  // that every token is predicted once. Parts after the first get ids of their own.
  std::vector<Example> cut(Example whole) const {
    const auto length = static_cast<std::size_t>(options_.max_length);
    if (whole.tokens.size() <= length) return {std::move(whole)};
    std::vector<Example> parts;
    for (std::size_t begin = 0; begin + 1 < whole.tokens.size(); begin += length - 1) {
      const std::size_t end = std::min(begin + length, whole.tokens.size());
      Example part;
      part.tokens.assign(whole.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                         whole.tokens.begin() + static_cast<std::ptrdiff_t>(end));
      part.is_target.assign(part.tokens.size(), 1);
      part.is_target[0] = 0;
      part.id = begin == 0 ? whole.id : hash64(fmt::format("{}", begin), whole.id);
      parts.push_back(std::move(part));
    }
    return parts;
  }

  void store(const Item& item, Result& result) {
    if (result.failure) std::rethrow_exception(result.failure);
    if (!result.problem.empty()) {
      add_skipped(dataset_.skipped,
                  {1, {fmt::format("{} record {}: {}", *item.file, item.number, result.problem)}});
      return;
    }
    if (!item.record.messages.empty()) {
      std::erase_if(result.examples, [this](const Example& example) {
        return static_cast<std::int64_t>(example.tokens.size()) > options_.max_length;
      });
      if (result.examples.empty()) {
        ++dataset_.too_long;
        return;
      }
    }
    for (Example& example : result.examples) {
      if (example.tokens.size() < 2) continue;
      example.source = item.source;
      (item.validation ? dataset_.validation : dataset_.train).add(example);
    }
    (item.validation ? dataset_.validation_chars : dataset_.train_chars) += result.chars;
  }

  const DatasetOptions& options_;
  const Tokenizer& tokenizer_;
  std::optional<DialogueEncoder> dialogues_;
  std::optional<TokenId> end_token_;
  Dataset& dataset_;
  std::vector<Item> block_;
};

void check(const DatasetOptions& options) {
  if (options.data.empty())
    throw Error({.where = "data", .found = "no file", .expected = "at least one", .advice = ""});
  if (!(options.validation_share >= 0 && options.validation_share < 1))
    throw Error({.where = "validation_share",
                 .found = fmt::format("{}", options.validation_share),
                 .expected = "a share from 0 to below 1",
                 .advice = ""});
  if (options.max_length < 2 || options.limit < 0 || options.validation_limit < 0)
    throw Error(
        {.where = "max_length, limit, validation_limit",
         .found = fmt::format("{}, {}, {}", options.max_length, options.limit, options.validation_limit),
         .expected = "at least 2, 0, 0",
         .advice = ""});
}

}  // namespace

void DatasetOptions::visit(OptionList& list) {
  list.add("data", data, "files to learn from: .tsv, .jsonl, .json or .txt, each also with .zst").required =
      true;
  list.add("validation", validation, "files to validate on; without any, a share of the data is set aside");
  list.add("validation_share", validation_share,
           "share of the data set aside when there are no validation files");
  list.add("limit", limit, "read at most so many records of the data (0: all)");
  list.add("validation_limit", validation_limit,
           "validate on at most so many records of the validation files (0: all); none of the others is "
           "trained on either");
  list.add("max_length", max_length,
           "tokens of an example; longer dialogues are left out, longer text is cut");
  list.add("overlap", overlap,
           "leave out training records whose question or answer is in the validation part")
      .choices = {"either", "source", "none"};
}

Dataset load_dataset(const DatasetOptions& options, const Tokenizer& tokenizer,
                     const ChatTemplate* chat_template, std::optional<TokenId> end_token,
                     const DatasetProgress& progress) {
  check(options);
  Dataset dataset;
  OverlapFilter overlap(options.overlap);
  Encoder encoder(options, tokenizer, chat_template, end_token, dataset);
  std::int64_t seen = 0;
  const auto report = [&] {
    if (++seen % static_cast<std::int64_t>(kBlock) == 0 && progress) progress(seen);
  };

  const bool split = options.validation.empty();
  const auto set_aside = [&](const Record& record) {
    return split && options.validation_share > 0 && in_validation(record.id(), options.validation_share);
  };
  if (!split) {
    // Records beyond validation_limit are not encoded, and still must not be trained on: the whole list may
    // judge later.
    std::int64_t encoded = 0;
    const auto visit = [&](Record record, std::int32_t file, std::int64_t number) {
      overlap.add_validation(record);
      if (options.validation_limit > 0 && encoded == options.validation_limit) return;
      ++encoded;
      encoder.add(std::move(record), options.validation[static_cast<std::size_t>(file)], file, number, true);
    };
    add_skipped(dataset.skipped, for_each_record(options.validation, 0, visit));
    encoder.flush();
  } else if (options.validation_share > 0) {
    for_each_record(options.data, options.limit, [&](const Record& record, std::int32_t, std::int64_t) {
      if (set_aside(record)) overlap.add_validation(record);
    });
  }
  const SkipReport skipped = for_each_record(
      options.data, options.limit, [&](Record record, std::int32_t file, std::int64_t number) {
        report();
        const bool validation = set_aside(record);
        if (!validation && overlap.overlaps(record))
          ++dataset.overlapping;
        else
          encoder.add(std::move(record), options.data[static_cast<std::size_t>(file)], file, number,
                      validation);
      });
  encoder.flush();
  add_skipped(dataset.skipped, skipped);

  if (dataset.train.size() == 0)
    throw Error(
        {.where = options.data.front(),
         .found = fmt::format("nothing to train on ({} too long, {} in the validation part, {} unusable{})",
                              dataset.too_long, dataset.overlapping, dataset.skipped.count,
                              dataset.skipped.first.empty() ? "" : ": " + dataset.skipped.first.front()),
         .expected = "at least one example",
         .advice = "Raise max_length or check the files with `retort data`"});
  return dataset;
}

}  // namespace retort
