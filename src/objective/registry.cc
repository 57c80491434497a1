#include "objective/registry.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/options.h"
#include "objective/objective.h"
#include "objective/terms/cross_entropy.h"
#include "objective/terms/forward_kl.h"
#include "objective/terms/terms.h"

namespace retort {

std::span<const TermRow> term_registry() {
  static const TermRow rows[] = {
      {"cross_entropy", "-log p_S(label); label_smoothing", make_cross_entropy},
      {"forward_kl", "τ² KL(teacher || student); temperature", make_forward_kl},
      {"reverse_kl", "τ² KL(student || teacher); temperature", make_reverse_kl},
      {"generalized_jsd", "τ² Jensen-Shannon divergence of share beta; temperature", make_generalized_jsd},
      {"skewed_kl", "τ² KL to a mixture of both; skew, direction, temperature", make_skewed_kl},
      {"logit_mse", "mean square of the logits' difference; centered", make_logit_mse},
      {"hidden_mse", "mean square between hidden states; layers, projection, domain_terms", make_hidden_mse},
      {"hidden_cosine", "1 - cosine of hidden states; layers, projection, domain_terms", make_hidden_cosine},
      {"cka", "1 - linear CKA of hidden states, per sequence; layers", make_cka},
      {"attention_kl", "KL(teacher || student) of attention maps; layers, heads, head_map",
       make_attention_kl},
      {"attention_mse", "square distance of attention maps; layers, heads, head_map", make_attention_mse},
      {"value_relation", "KL of the relations between values (MiniLM); layers, relation_heads",
       make_value_relation},
      {"exit_kl", "τ² KL(last layer || shallow exits) of the student itself; layers, temperature",
       make_exit_kl, false},
      {"span_kl", "KL where spans of text begin that both tokenizers have", make_span_kl, true, true},
      {"uld", "distance of the sorted probabilities there (ULD)", make_uld, true, true},
      {"l2", "Σ θ², or its root", make_l2, false},
      {"l2_start", "Σ (θ - θ at the start)²", make_l2_start, false},
  };
  return rows;
}

namespace {

const TermRow& find_row(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const TermRow& row : term_registry()) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw Error({.where = where + ": name",
               .found = "unknown loss term '" + name + "'",
               .expected = "",
               .advice = suggest(name, names)});
}

double read_weight(const Json& item, const std::string& where) {
  const double weight = json_get_or<double>(item, "weight", 1, where);
  if (!(weight >= 0 && std::isfinite(weight)))
    throw Error({.where = where + ": weight",
                 .found = item.at("weight").dump(),
                 .expected = "a number of at least 0",
                 .advice = ""});
  return weight;
}

void require_teacher(const TermContext& context, const TermRow& row, const std::string& where) {
  const std::string name(row.name);
  if (context.reading && !row.across_tokenizers)
    throw Error(
        {.where = where + ": name",
         .found = "'" + name + "', which compares token by token, and a teacher with another tokenizer",
         .expected = "span_kl or uld, beside terms that need no teacher",
         .advice = "Or cut the student out of this teacher (retort shrink), or start it with the "
                   "teacher's tokenizer."});
  if (context.student != nullptr && context.teacher == nullptr)
    throw Error({.where = where + ": name",
                 .found = "'" + name + "', which compares with a teacher, and no teacher",
                 .expected = "terms that need none, such as cross_entropy",
                 .advice = "`retort distill --teacher DIR` has one."});
}

}  // namespace

std::string take_label(const Json& item, std::set<std::string>& taken, const std::string& where) {
  const auto name = json_get<std::string>(item, "name", where);
  std::string label = json_get_or<std::string>(item, "label", "", where);
  if (label.empty()) {
    label = name;
    for (int number = 2; taken.count(label) != 0; ++number) label = name + "_" + std::to_string(number);
  } else if (taken.count(label) != 0) {
    throw Error({.where = where + ": label",
                 .found = "'" + label + "' a second time",
                 .expected = "another for each term",
                 .advice = ""});
  }
  taken.insert(label);
  return label;
}

void assign_term_options(OptionList& own, const Json& options, const std::string& where) {
  OptionList list = own;
  std::string name, label;
  double weight = 1;
  list.add("name", name, "");
  list.add("label", label, "");
  list.add("weight", weight, "");
  list.assign(options, where);
  list.check(where);
}

at::Tensor shared_parameter(const TermContext& context, const std::string& name, at::Tensor made,
                            const std::string& where) {
  if (!context.parameters) return made;
  const auto [place, is_new] = context.parameters->emplace(name, made);
  if (!is_new && place->second.sizes() != made.sizes())
    throw Error({.where = where,
                 .found = "the label of another stage's term, whose " + name + " has another shape",
                 .expected = "the same layers and heads under one label",
                 .advice = "Give one of the two a label of its own."});
  return place->second;
}

Objective make_objective(const Json& terms, const std::string& where, const TermContext& context) {
  if (!terms.is_array() || terms.empty())
    throw Error(
        {.where = where,
         .found = terms.is_array() ? "an empty list" : terms.dump(),
         .expected = "a list of loss terms",
         .advice =
             R"(For example [{"name": "forward_kl", "weight": 0.9}, {"name": "cross_entropy", "weight": 0.1}].)"});
  std::vector<Weighted<LogitTerm>> logit_terms;
  std::vector<Weighted<Term>> other_terms;
  std::set<std::string> labels;
  double sum = 0;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const Json& item = terms[i];
    const std::string here = where + "[" + std::to_string(i) + "]";
    const auto name = json_get<std::string>(item, "name", here);
    const TermRow& row = find_row(name, here);
    TermContext own = context;
    own.label = take_label(item, labels, here);
    const double weight = read_weight(item, here);
    sum += weight;
    if (const auto* make = std::get_if<MakeLogitTerm>(&row.make)) {
      auto term = (*make)(item, here, own);
      if (term->needs_teacher()) require_teacher(context, row, here);
      term->set_label(own.label);
      logit_terms.push_back({std::move(term), weight});
    } else {
      if (row.needs_teacher) require_teacher(context, row, here);
      auto term = std::get<MakeTerm>(row.make)(item, here, own);
      term->set_label(own.label);
      other_terms.push_back({std::move(term), weight});
    }
  }
  if (sum == 0)
    throw Error({.where = where + ": weight",
                 .found = "weights that sum to 0",
                 .expected = "at least one above 0",
                 .advice = ""});
  return Objective(std::move(logit_terms), std::move(other_terms), context.real_vocab);
}

}  // namespace retort
