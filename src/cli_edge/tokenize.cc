// tokenize encode | decode.
#include <fmt/ranges.h>

#include <cstdio>

#include "base/error.h"
#include "cli_edge/lines.h"
#include "cli_edge/verbs.h"
#include "data/tokenizer.h"

namespace retort {
namespace {

class Encode : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& tokenizer = list.add("tokenizer", tokenizer_, "folder of the tokenizer");
    tokenizer.required = true;
    tokenizer.path = PathRole::input;
    Option& file = list.add("file", file_, "texts, one a line ('-': standard input)");
    file.required = true;
    file.path = PathRole::input;
    list.add("add_special_tokens", options_.add_special_tokens, "with what the post-processor adds (BOS)");
    list.add("parse_added_tokens", options_.parse_added_tokens,
             "text that spells an added token becomes that token");
  }
  bool heeds_interrupts() const override { return false; }

  Json run() override {
    const auto tokenizer = open_tokenizer(tokenizer_);
    Lines lines(file_);
    for (std::string line; lines.next(line);)
      std::printf("[%s]\n", fmt::format("{}", fmt::join(tokenizer->encode(line, options_), ", ")).c_str());
    return nullptr;
  }

 private:
  std::string tokenizer_, file_;
  EncodeOptions options_;
};

class Decode : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& tokenizer = list.add("tokenizer", tokenizer_, "folder of the tokenizer");
    tokenizer.required = true;
    tokenizer.path = PathRole::input;
    Option& file = list.add("file", file_, "JSON arrays of ids, one a line ('-': standard input)");
    file.required = true;
    file.path = PathRole::input;
    list.add("skip_special", skip_special_, "leave special tokens out");
  }
  bool heeds_interrupts() const override { return false; }

  Json run() override {
    const auto tokenizer = open_tokenizer(tokenizer_);
    Lines lines(file_);
    for (std::string line; lines.next(line);) {
      const std::string where = lines.where();
      std::vector<TokenId> ids;
      const Json object = {{"ids", parse_json(line, where)}};
      for (const std::int64_t id : json_get<std::vector<std::int64_t>>(object, "ids", where)) {
        if (id < 0 || id >= tokenizer->vocab_size())
          throw Error({.where = where,
                       .found = std::to_string(id),
                       .expected = fmt::format("ids below {}", tokenizer->vocab_size()),
                       .advice = ""});
        ids.push_back(static_cast<TokenId>(id));
      }
      std::printf("%s\n", tokenizer->decode(ids, skip_special_).c_str());
    }
    return nullptr;
  }

 private:
  std::string tokenizer_, file_;
  bool skip_special_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_tokenize_encode() { return std::make_unique<Encode>(); }
std::unique_ptr<Verb> make_tokenize_decode() { return std::make_unique<Decode>(); }

}  // namespace retort
