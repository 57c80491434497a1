#include "objective/registry.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/options.h"
#include "objective/objective.h"
#include "objective/terms/cross_entropy.h"
#include "objective/terms/forward_kl.h"

namespace retort {

std::span<const TermRow> term_registry() {
  static const TermRow rows[] = {
      {"cross_entropy", "-log p_S(label); label_smoothing", make_cross_entropy},
      {"forward_kl", "τ² KL(teacher || student); temperature", make_forward_kl},
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

}  // namespace

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
  std::set<std::string> names;
  double sum = 0;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::string here = where + "[" + std::to_string(i) + "]";
    const auto name = json_get<std::string>(terms[i], "name", here);
    const TermRow& row = find_row(name, here);
    if (!names.insert(name).second)
      throw Error({.where = here + ": name",
                   .found = "'" + name + "' a second time",
                   .expected = "each term once",
                   .advice = ""});
    const double weight = read_weight(terms[i], here);
    sum += weight;
    Json options = terms[i];
    options.erase("name");
    options.erase("weight");
    if (const auto* make = std::get_if<MakeLogitTerm>(&row.make))
      logit_terms.push_back({(*make)(options, here, context), weight});
    else
      other_terms.push_back({std::get<MakeTerm>(row.make)(options, here, context), weight});
  }
  if (sum == 0)
    throw Error({.where = where + ": weight",
                 .found = "weights that sum to 0",
                 .expected = "at least one above 0",
                 .advice = ""});
  return Objective(std::move(logit_terms), std::move(other_terms), context.real_vocab);
}

}  // namespace retort
