// generate: answers one prompt, in the model's own prompt format unless --raw.
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "cli_edge/answer.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "data/example.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

class Generate : public Verb {
 public:
  explicit Generate(std::unique_ptr<ModelOpener> opener) : opener_(std::move(opener)) {}

  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    list.add("prompt", prompt_, "what to answer").required = true;
    list.add("system", system_, "a system message before it");
    list.add("raw", raw_, "continue the prompt as it is, without the chat template");
    list.add("json", json_, "file for text, tokens and log-probabilities ('-': standard output)").path =
        PathRole::output;
    options_.visit(list);
    opener_->visit(list);
  }

  Json run() override {
    for (const std::string* text : {&prompt_, &system_})
      if (!is_valid_utf8(*text))
        throw Error({.where = "prompt", .found = "bytes that are no UTF-8", .expected = "text in UTF-8"});
    const OpenedModel opened = opener_->open(model_);
    std::vector<TokenId> tokens;
    if (raw_ || !opened.chat_template) {
      tokens = opened.tokenizer->encode(prompt_, {.add_special_tokens = true});
    } else {
      std::vector<Message> messages;
      if (!system_.empty()) messages.push_back({"system", system_});
      messages.push_back({"user", prompt_});
      tokens = encode_prompt(*opened.tokenizer, *opened.chat_template, messages);
    }
    const bool stream = json_ != "-";
    const Answer found = answer(opened, tokens, options_, [&](std::string_view piece) {
      if (!stream) return;
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    });
    if (stream) std::printf("\n");
    const Json figures = {{"text", found.text}, {"tokens", found.tokens}, {"logprobs", found.logprobs}};
    write_result(json_, figures);
    return figures;
  }

 private:
  std::unique_ptr<ModelOpener> opener_;
  std::string model_, prompt_, system_, json_;
  bool raw_ = false;
  AnswerOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_generate(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<Generate>(std::move(opener));
}

}  // namespace retort
