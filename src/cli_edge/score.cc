// score: the log-probability of every next token, for parity checks by anyone.
#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "cli_edge/lines.h"
#include "cli_edge/verbs.h"

namespace retort {
namespace {

constexpr std::size_t kLinesAtOnce = 256;

class Score : public Verb {
 public:
  explicit Score(std::unique_ptr<ModelOpener> opener) : opener_(std::move(opener)) {}

  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    Option& file =
        list.add("file", file_,
                 "one JSON object a line: {\"tokens\": [...]} or {\"text\": \"...\"} ('-': standard input)");
    file.required = true;
    file.path = PathRole::input;
    opener_->visit(list);
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    const OpenedModel opened = opener_->open(model_, /*needs_tokenizer=*/false);
    Lines lines(file_);
    std::vector<Sequence> waiting;
    std::int64_t number = 0;
    for (std::string line; lines.next(line); ++number) {
      waiting.push_back({parse_line(line, lines.where(), opened), ""});
      if (waiting.size() == kLinesAtOnce) flush(waiting, opened);
    }
    flush(waiting, opened);
    return {{"lines", number}};
  }

 private:
  static std::vector<TokenId> parse_line(const std::string& line, const std::string& where,
                                         const OpenedModel& opened) {
    const Json object = parse_json(line, where);
    std::vector<TokenId> tokens;
    if (object.is_object() && object.contains("tokens")) {
      for (const std::int64_t id : json_get<std::vector<std::int64_t>>(object, "tokens", where)) {
        if (id < 0 || id >= opened.model->config().vocab_size)
          throw Error({.where = where + ": tokens",
                       .found = std::to_string(id),
                       .expected = fmt::format("ids below {}", opened.model->config().vocab_size),
                       .advice = ""});
        tokens.push_back(static_cast<TokenId>(id));
      }
    } else {
      const std::string text = json_get<std::string>(object, "text", where);
      if (!opened.tokenizer)
        throw Error({.where = where,
                     .found = "a text",
                     .expected = "tokens: the model folder has no tokenizer",
                     .advice = ""});
      tokens = opened.tokenizer->encode(text, {.add_special_tokens = true});
    }
    if (tokens.empty())
      throw Error({.where = where, .found = "no tokens", .expected = "at least one", .advice = ""});
    if (const std::int64_t context = opened.model->context(); std::ssize(tokens) > context)
      throw Error({.where = where,
                   .found = fmt::format("{} tokens", tokens.size()),
                   .expected = fmt::format("at most the context of {}", context),
                   .advice = "Shorten the line, or cut it in two."});
    return tokens;
  }

  static void flush(std::vector<Sequence>& waiting, const OpenedModel& opened) {
    if (waiting.empty()) return;
    for (const Scores& scores : opened.model->score(waiting)) {
      std::string line = "{\"logprobs\": [";
      for (std::size_t i = 0; i < scores.logprobs.size(); ++i)
        line += fmt::format("{}{:.9g}", i > 0 ? ", " : "", scores.logprobs[i]);
      std::printf("%s]}\n", line.c_str());
    }
    waiting.clear();
  }

  std::string model_, file_;
  std::unique_ptr<ModelOpener> opener_;
};

}  // namespace

std::unique_ptr<Verb> make_score(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<Score>(std::move(opener));
}

}  // namespace retort
