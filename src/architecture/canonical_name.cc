#include "architecture/canonical_name.h"

#include <charconv>

namespace retort {

CanonicalName split_name(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  CanonicalName result;
  const std::size_t last_dot = name.rfind('.');
  result.kind = name.substr(last_dot + 1);
  std::string_view module = name.substr(0, last_dot);
  if (module.starts_with(kLayers)) {
    module.remove_prefix(kLayers.size());
    const std::size_t dot = module.find('.');
    std::from_chars(module.data(), module.data() + dot, result.layer);
    module.remove_prefix(dot + 1);
  }
  result.module = module;
  return result;
}

}  // namespace retort
