// What the families share in reading and writing Hugging Face's config.json.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "architecture/model_config.h"

namespace retort {

// The names under which a family's config.json stores the sizes.
struct ConfigKeys {
  const char* hidden_size = "hidden_size";
  const char* num_hidden_layers = "num_hidden_layers";
  const char* num_attention_heads = "num_attention_heads";
  const char* intermediate_size = "intermediate_size";
  const char* max_position_embeddings = "max_position_embeddings";
  const char* activation = "hidden_act";
};

// A whole number in 1 … 2^31 - 1.
std::int64_t read_size(const Json& json, const std::string& key, const std::string& where);

// model_type, sizes, activation, token ids (those outside of the vocabulary can never occur and are dropped),
// tie_word_embeddings (missing: `tied`), and as many equal layers as num_hidden_layers says.
// num_key_value_heads may be missing (= heads), head_dim too (hidden_size / heads), and intermediate_size (4
// × hidden_size) where `optional_intermediate`.
struct BaseDefaults {
  bool tied = false;
  bool optional_intermediate = false;
  std::int64_t head_dim = 0;  // of a config without one; 0 = hidden_size / heads
};
ModelConfig read_base(const Json& json, const ConfigKeys& keys, const BaseDefaults& defaults,
                      const std::string& where);

// rope_theta and rope_scaling (transformers 4), or rope_parameters (transformers 5).
void read_rope(ModelConfig& config, const Json& json, const std::string& where);

// sliding_window per layer from layer_types ("full_attention", "sliding_attention"), where it is given; true
// if it was.
bool read_layer_types(ModelConfig& config, std::int64_t window, const Json& json, const std::string& where);

// Throws Error unless the key is missing, null or one of `allowed`: features that would change results
// silently.
void require_value(const Json& json, const std::string& key, std::initializer_list<Json> allowed,
                   const std::string& where);

// Last in a family's parse: features that no family has, layers that differ ("retort_layers"), check_config.
void finish_parse(ModelConfig& config, const Json& json, const std::string& where);

// config.hf_config with everything that read_base read, as it is now.
Json write_base(const ModelConfig& config, const ConfigKeys& keys, const char* architecture);
// In transformers 4's spelling, which transformers 5 reads too.
void write_rope(Json& json, const ModelConfig& config);
// Last in a family's to_json: adds "retort_layers" when the keys of plain Hugging Face cannot say what the
// layers are.
void finish_json(Json& json, const ModelConfig& config,
                 ModelConfig (*parse)(const Json&, const std::string&));

// One token id, a list of them, or null. `key` may be missing.
std::vector<TokenId> read_token_ids(const Json& json, const std::string& key, std::int64_t vocab_size,
                                    const std::string& where);
// null, a number or a list.
Json token_ids_json(const std::vector<TokenId>& tokens);

}  // namespace retort
