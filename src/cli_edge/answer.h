// What `chat` and `generate` share: a prompt's answer as text that comes piece by piece.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli_edge/model_opener.h"

namespace retort {

struct AnswerOptions {
  GenerateOptions generate;
  std::vector<std::string> stop;
  Json logit_bias;

  void visit(OptionList& list);
};

struct Answer {
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  bool interrupted = false;  // by Ctrl-C
};

using ShowText = std::function<void(std::string_view piece)>;

// Throws Error when the prompt does not fit into the context beside one token of an answer.
Answer answer(const OpenedModel& model, std::span<const TokenId> prompt, const AnswerOptions& options,
              const ShowText& show);

// The token that ends an assistant's message in the model's own format, which a base model's config may not
// list. Empty when that is no token of its own.
std::vector<TokenId> end_of_answer(const Tokenizer& tokenizer, const ChatTemplate& chat_template);

}  // namespace retort
