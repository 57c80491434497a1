#include "cli_edge/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "data/example.h"
#include "runtime/text_stream.h"

namespace retort {
namespace {

// {"15339": -100, "<|im_end|>": 2}: by id or by the token's text.
std::vector<LogitBias> parse_bias(const Json& json, const Tokenizer& tokenizer) {
  std::vector<LogitBias> biases;
  if (json.is_null()) return biases;
  const auto fail = [](std::string found) {
    throw Error({.where = "logit_bias",
                 .found = std::move(found),
                 .expected = "{TOKEN: NUMBER, …}; a token is its id or its text in the vocabulary"});
  };
  if (!json.is_object()) fail(json.dump());
  for (const auto& [name, value] : json.items()) {
    if (!value.is_number()) fail(value.dump());
    std::optional<TokenId> token = tokenizer.token_id(name);
    if (!name.empty() && name.size() < 10 &&
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }))
      token = std::stoi(name);
    if (!token || *token >= tokenizer.vocab_size()) fail("no token '" + name + "'");
    biases.push_back({*token, value.get<float>()});
    if (!std::isfinite(biases.back().bias)) fail(value.dump());
  }
  return biases;
}

}  // namespace

void AnswerOptions::visit(OptionList& list) {
  generate.visit(list);
  list.add("stop", stop, "a text that ends the answer; give it again for more").splits = false;
  list.add("logit_bias", logit_bias, "{TOKEN: NUMBER, …} added to logits; TOKEN is an id or a token's text");
}

Answer answer(const OpenedModel& model, std::span<const TokenId> prompt, const AnswerOptions& options,
              const ShowText& show) {
  const std::int64_t context = model.model->context();
  if (prompt.empty()) throw Error({.where = "prompt", .found = "no tokens", .expected = "some text"});
  if (static_cast<std::int64_t>(prompt.size()) >= context)
    throw Error({.where = "prompt",
                 .found = fmt::format("{} tokens", prompt.size()),
                 .expected = fmt::format("fewer than the model's context of {}", context),
                 .advice = "Shorten the text"});
  GenerateOptions generate = options.generate;
  generate.check("generation");
  generate.logit_bias = parse_bias(options.logit_bias, *model.tokenizer);
  generate.cancelled = interrupt_requested;
  if (model.chat_template)
    for (const TokenId token : end_of_answer(*model.tokenizer, *model.chat_template))
      generate.end_tokens.push_back(token);
  TextStream stream(*model.tokenizer, options.stop);
  Answer result;
  const auto emit = [&](const std::string& piece) {
    if (piece.empty()) return;
    result.text += piece;
    show(piece);
  };
  const Sequence sequence{{prompt.begin(), prompt.end()}, ""};
  model.model->generate(std::span(&sequence, 1), generate, [&](std::size_t, TokenId token, float logprob) {
    result.tokens.push_back(token);
    result.logprobs.push_back(logprob);
    emit(stream.push(token));
    return !stream.stopped();
  });
  emit(stream.finish());
  result.interrupted = interrupt_requested();
  return result;
}

std::vector<TokenId> end_of_answer(const Tokenizer& tokenizer, const ChatTemplate& chat_template) {
  Example example;
  try {
    const Message dialogue[] = {{"user", "a"}, {"assistant", "b"}};
    example = encode_dialogue(tokenizer, chat_template, dialogue);
  } catch (const Error&) {
    return {};  // a template of another shape: the model's own end tokens must do
  }
  TokenId last = -1;
  for (std::size_t i = 0; i < example.tokens.size(); ++i)
    if (example.is_target[i]) last = example.tokens[i];
  const auto& added = tokenizer.added_tokens();
  if (std::any_of(added.begin(), added.end(), [&](const AddedToken& token) { return token.id == last; }))
    return {last};
  return {};
}

}  // namespace retort
