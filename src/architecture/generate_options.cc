#include "architecture/generate_options.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"

namespace retort {

void GenerateOptions::visit(OptionList& list) {
  list.add("max_tokens", max_tokens, "tokens of an answer at most");
  list.add("temperature", temperature, "0 takes the likeliest token; higher is more varied");
  list.add("top_k", top_k, "draw among the k likeliest tokens (0: all)");
  list.add("top_p", top_p, "draw among the likeliest tokens that hold this share of the probability");
  list.add("min_p", min_p, "drop tokens below this share of the likeliest one's probability");
  list.add("repetition_penalty", repetition_penalty, "above 1: tokens that occurred become less likely");
  list.add("presence_penalty", presence_penalty, "subtracted from logits of tokens that the answer has");
  list.add("frequency_penalty", frequency_penalty, "the same, for each time that the answer has them");
  list.add("seed", seed, "of the draws");
}

bool GenerateOptions::takes_likeliest() const {
  return temperature <= 0 && repetition_penalty == 1 && presence_penalty == 0 && frequency_penalty == 0 &&
         logit_bias.empty();
}

bool GenerateOptions::draws_from_all() const {
  return temperature > 0 && top_k == 0 && top_p == 1 && min_p == 0 && repetition_penalty == 1 &&
         presence_penalty == 0 && frequency_penalty == 0 && logit_bias.empty();
}

void GenerateOptions::check(const std::string& where) const {
  const auto require = [&](bool good, const char* key, double found, const char* expected) {
    if (!good)
      throw Error({.where = where + ": " + key, .found = fmt::format("{}", found), .expected = expected});
  };
  require(max_tokens > 0, "max_tokens", static_cast<double>(max_tokens), "at least 1");
  require(temperature >= 0, "temperature", temperature, "0 or more");
  require(top_k >= 0, "top_k", static_cast<double>(top_k), "0 or more");
  require(top_p > 0 && top_p <= 1, "top_p", top_p, "more than 0 and at most 1");
  require(min_p >= 0 && min_p <= 1, "min_p", min_p, "0 … 1");
  require(repetition_penalty > 0, "repetition_penalty", repetition_penalty, "more than 0");
  require(std::abs(presence_penalty) <= 100, "presence_penalty", presence_penalty, "-100 … 100");
  require(std::abs(frequency_penalty) <= 100, "frequency_penalty", frequency_penalty, "-100 … 100");
}

}  // namespace retort
