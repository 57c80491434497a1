// A family is one row: how its config.json reads, and how its files name and lay out the canonical
// parameters. Oddities (transposes, fused projections, position offsets, norms stored as w - 1) end here and
// reach no block and no kernel.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "architecture/model_config.h"

namespace retort {

// Where a canonical parameter lies in the family's files: rows [row_begin, row_begin + rows) of the stored
// tensor, which is transposed first if `transposed`.
struct StoredTensor {
  std::string name;
  bool transposed = false;
  std::int64_t row_begin = 0;
  std::int64_t total_rows = 0;  // of the stored tensor as seen after the transpose; 0 = just this parameter's
};

struct Family {
  std::string_view name;  // config.json's model_type
  ModelConfig (*parse)(const Json& config, const std::string& where);
  Json (*to_json)(const ModelConfig& config);  // the config.json to write, starting from config.hf_config
  StoredTensor (*stored)(const ModelConfig& config, const std::string& canonical_name);
  // Stored tensors that carry no parameter (GPT-2's attn.bias masks, rotary inv_freq) and may be ignored.
  bool (*ignorable)(std::string_view stored_name);
  // "model.": missing from all names of a file that was saved without the language-model head.
  std::string_view base_prefix;
  // transformers' class takes head_dim from config.json; else it is hidden_size / heads.
  bool has_head_dim = true;
};

// All rows, in registry.cc.
std::span<const Family* const> families();
// By config.json's model_type. Throws Error naming it and the nearest known one.
const Family& find_family(const std::string& model_type, const std::string& where);

}  // namespace retort
