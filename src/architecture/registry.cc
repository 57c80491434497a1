// The families, one row each: families/NAME.cc defines kNAMEFamily.
#include <array>

#include "architecture/family.h"
#include "base/error.h"
#include "base/options.h"

namespace retort {

extern const Family kLlamaFamily, kMistralFamily, kQwen2Family, kQwen3Family, kGpt2Family, kOptFamily;

std::span<const Family* const> families() {
  static constexpr std::array<const Family*, 6> kRows = {
      &kLlamaFamily, &kMistralFamily, &kQwen2Family, &kQwen3Family, &kGpt2Family, &kOptFamily,
  };
  return kRows;
}

const Family& find_family(const std::string& model_type, const std::string& where) {
  std::vector<std::string> names;
  for (const Family* family : families()) {
    if (family->name == model_type) return *family;
    names.emplace_back(family->name);
  }
  throw Error({.where = where + ": model_type",
               .found = "'" + model_type + "'",
               .expected = "a supported family",
               .advice = suggest(model_type, names)});
}

}  // namespace retort
