// The list of loss terms, by the names that recipes use.
#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "objective/term.h"

namespace retort {

// What a term may know when it is made: projections between hidden states take their sizes and place from
// here.
struct TermContext {
  const ModelConfig* student = nullptr;
  const ModelConfig* teacher = nullptr;
  at::Device device = at::kCPU;
  std::uint64_t seed = 0;
  std::int64_t real_vocab = 0;  // tokens of the tokenizer; 0: unknown
};

using MakeLogitTerm = std::unique_ptr<LogitTerm> (*)(const Json& options, const std::string& where,
                                                     const TermContext&);
using MakeTerm = std::unique_ptr<Term> (*)(const Json& options, const std::string& where, const TermContext&);

struct TermRow {
  std::string_view name;
  std::string_view help;
  std::variant<MakeLogitTerm, MakeTerm> make;
};

std::span<const TermRow> term_registry();

}  // namespace retort
