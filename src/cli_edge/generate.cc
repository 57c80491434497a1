// generate: answers one prompt, in the model's own prompt format unless --raw.
#include <cstdio>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli_edge/verbs.h"
#include "data/example.h"

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
    options_.visit(list);
    opener_->visit(list);
  }

  Json run() override {
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
    if (tokens.empty())
      throw Error({.where = "prompt", .found = "no tokens", .expected = "some text", .advice = ""});
    const Sequence sequence{tokens, ""};
    std::vector<TokenId> answer;
    opened.model->generate(std::span(&sequence, 1), options_, [&](std::size_t, TokenId token, float) {
      answer.push_back(token);
      return !interrupt_requested();
    });
    const std::string text = opened.tokenizer->decode(answer, /*skip_special=*/true);
    std::printf("%s\n", text.c_str());
    return {{"text", text}, {"tokens", answer}};
  }

 private:
  std::string model_, prompt_, system_;
  bool raw_ = false;
  GenerateOptions options_;
  std::unique_ptr<ModelOpener> opener_;
};

}  // namespace

std::unique_ptr<Verb> make_generate(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<Generate>(std::move(opener));
}

}  // namespace retort
