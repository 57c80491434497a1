#include "architecture/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/options.h"

namespace retort {
namespace {

// Hugging Face's names in ACT2FN; the first of each activation is the one written.
constexpr std::array<std::pair<const char*, Activation>, 9> kActivations = {{
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"gelu", Activation::gelu},
    {"gelu_python", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"relu", Activation::relu},
}};

std::optional<Activation> find_activation(const std::string& name) {
  for (const auto& [known, activation] : kActivations)
    if (name == known) return activation;
  return std::nullopt;
}

Activation read_activation(const Json& json, const std::string& key, const std::string& where) {
  const auto name = json_get<std::string>(json, key, where);
  if (const auto activation = find_activation(name)) return *activation;
  std::vector<std::string> names;
  for (const auto& row : kActivations) names.emplace_back(row.first);
  throw Error({.where = where + ": " + key,
               .found = "'" + name + "'",
               .expected = "a supported activation",
               .advice = suggest(name, names)});
}

std::optional<TokenId> read_token_id(const Json& json, const char* key, std::int64_t vocab_size,
                                     const std::string& where) {
  const std::vector<TokenId> tokens = read_token_ids(json, key, vocab_size, where);
  return tokens.empty() ? std::nullopt : std::optional(tokens.front());
}

bool has(const Json& json, const char* key) { return json.contains(key) && !json.at(key).is_null(); }

std::vector<LayerConfig> read_retort_layers(const Json& json, const std::string& where) {
  std::vector<LayerConfig> layers;
  for (const Json& item : json) {
    const std::string place = fmt::format("{}: retort_layers[{}]", where, layers.size());
    if (!item.is_object()) throw Error({.where = place, .found = item.type_name(), .expected = "an object"});
    layers.push_back({.num_attention_heads = read_size(item, "num_attention_heads", place),
                      .num_key_value_heads = read_size(item, "num_key_value_heads", place),
                      .intermediate_size = read_size(item, "intermediate_size", place),
                      .sliding_window = json_get_or<std::int64_t>(item, "sliding_window", 0, place)});
  }
  return layers;
}

}  // namespace

std::int64_t read_size(const Json& json, const std::string& key, const std::string& where) {
  const auto value = json_get<std::int64_t>(json, key, where);
  if (value < 1 || value > std::numeric_limits<std::int32_t>::max())
    throw Error(
        {.where = where + ": " + key, .found = json.at(key).dump(), .expected = "a number in 1 … 2^31 - 1"});
  return value;
}

ModelConfig read_base(const Json& json, const ConfigKeys& keys, const BaseDefaults& defaults,
                      const std::string& where) {
  ModelConfig config;
  config.hf_config = json;
  config.model_type = json_get<std::string>(json, "model_type", where);
  config.vocab_size = read_size(json, "vocab_size", where);
  config.hidden_size = read_size(json, keys.hidden_size, where);
  config.max_position_embeddings = read_size(json, keys.max_position_embeddings, where);
  config.activation = read_activation(json, keys.activation, where);
  config.tie_word_embeddings = json_get_or<bool>(json, "tie_word_embeddings", defaults.tied, where);
  config.bos_token_id = read_token_id(json, "bos_token_id", config.vocab_size, where);
  config.pad_token_id = read_token_id(json, "pad_token_id", config.vocab_size, where);
  config.eos_token_ids = read_token_ids(json, "eos_token_id", config.vocab_size, where);

  LayerConfig layer;
  layer.num_attention_heads = read_size(json, keys.num_attention_heads, where);
  layer.num_key_value_heads = has(json, "num_key_value_heads") ? read_size(json, "num_key_value_heads", where)
                                                               : layer.num_attention_heads;
  layer.intermediate_size = defaults.optional_intermediate && !has(json, keys.intermediate_size)
                                ? 4 * config.hidden_size
                                : read_size(json, keys.intermediate_size, where);
  if (has(json, "head_dim")) {
    config.head_dim = read_size(json, "head_dim", where);
  } else if (defaults.head_dim > 0) {
    config.head_dim = defaults.head_dim;
  } else {
    config.head_dim = config.hidden_size / layer.num_attention_heads;
    if (config.head_dim * layer.num_attention_heads != config.hidden_size)
      throw Error(
          {.where = where + ": " + keys.num_attention_heads,
           .found = fmt::format("{}", layer.num_attention_heads),
           .expected = fmt::format("a divisor of {} {}, or head_dim", keys.hidden_size, config.hidden_size)});
  }
  const std::int64_t count = read_size(json, keys.num_hidden_layers, where);
  if (count > kMaxLayers)
    throw Error({.where = where + ": " + keys.num_hidden_layers,
                 .found = fmt::format("{}", count),
                 .expected = fmt::format("at most {}", kMaxLayers)});
  config.layers.assign(static_cast<std::size_t>(count), layer);
  return config;
}

void read_rope(ModelConfig& config, const Json& json, const std::string& where) {
  // transformers 5 lets rope_scaling win when a file has both.
  const char* key =
      has(json, "rope_scaling") && !json.at("rope_scaling").empty() ? "rope_scaling" : "rope_parameters";
  const Json parameters = has(json, key) ? json.at(key) : Json::object();
  const std::string place = where + ": " + key;
  if (!parameters.is_object())
    throw Error({.where = place, .found = parameters.type_name(), .expected = "an object"});
  for (const auto& [name, value] : parameters.items())
    if (value.is_object())
      throw Error({.where = place + ": " + name,
                   .found = "parameters of one layer type",
                   .expected = "the same rotary embedding in all layers"});
  require_value(json, "partial_rotary_factor", {1.0}, where);
  require_value(parameters, "partial_rotary_factor", {1.0}, place);
  require_value(parameters, "mrope_section", {}, place);

  config.position_encoding = PositionEncoding::rotary;
  config.rope_theta = json_get_or<double>(parameters, "rope_theta",
                                          json_get_or<double>(json, "rope_theta", 10000, where), place);
  const auto type = json_get_or<std::string>(
      parameters, "rope_type", json_get_or<std::string>(parameters, "type", "default", place), place);
  RopeScaling& scaling = config.rope_scaling;
  if (type == "default") return;
  if (type == "linear") {
    scaling.type = RopeScaling::Type::linear;
  } else if (type == "llama3") {
    scaling.type = RopeScaling::Type::llama3;
    scaling.low_freq_factor = json_get<double>(parameters, "low_freq_factor", place);
    scaling.high_freq_factor = json_get<double>(parameters, "high_freq_factor", place);
    // As transformers: the key outside wins, and the present context stands in for a missing one.
    const Json& holder = has(json, "original_max_position_embeddings") ? json : parameters;
    scaling.original_max_position_embeddings = json_get_or<std::int64_t>(
        holder, "original_max_position_embeddings", config.max_position_embeddings, place);
  } else {
    throw Error({.where = place + ": rope_type",
                 .found = "'" + type + "'",
                 .expected = "a supported rope type",
                 .advice = suggest(type, {"default", "linear", "llama3"})});
  }
  scaling.factor = json_get<double>(parameters, "factor", place);
}

bool read_layer_types(ModelConfig& config, std::int64_t window, const Json& json, const std::string& where) {
  if (!has(json, "layer_types")) return false;
  const auto types = json_get<std::vector<std::string>>(json, "layer_types", where);
  if (types.size() != config.layers.size())
    throw Error({.where = where + ": layer_types",
                 .found = fmt::format("{} entries", types.size()),
                 .expected = fmt::format("{}, one per layer", config.layers.size())});
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "full_attention" && types[i] != "sliding_attention")
      throw Error({.where = fmt::format("{}: layer_types[{}]", where, i),
                   .found = "'" + types[i] + "'",
                   .expected = "a supported kind of attention",
                   .advice = suggest(types[i], {"full_attention", "sliding_attention"})});
    if (types[i] == "sliding_attention" && window == 0)
      throw Error({.where = fmt::format("{}: layer_types[{}]", where, i),
                   .found = "sliding_attention without a window",
                   .expected = "a sliding_window that this family uses"});
    config.layers[i].sliding_window = types[i] == "sliding_attention" ? window : 0;
  }
  return true;
}

void require_value(const Json& json, const std::string& key, std::initializer_list<Json> allowed,
                   const std::string& where) {
  if (!json.contains(key) || json.at(key).is_null()) return;
  const Json& value = json.at(key);
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  throw Error(
      {.where = where + ": " + key,
       .found = value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60),
       .expected = allowed.size() == 0 ? "null" : allowed.begin()->dump(),
       .advice = "Retort does not support this feature; ignoring it would change the model's answers."});
}

void finish_parse(ModelConfig& config, const Json& json, const std::string& where) {
  for (const char* key : {"clip_qkv", "final_logit_softcapping", "attn_logit_softcapping",
                          "attention_multiplier", "per_layer_config"})
    require_value(json, key, {}, where);
  // Of the ways to quantize a folder, this one is Retort's own.
  const Json quantization = json.value("quantization_config", Json());
  if (!quantization.is_object() || quantization.value("quant_method", Json()) != Json("i8_channel"))
    require_value(json, "quantization_config", {}, where);
  for (const char* key :
       {"logit_scale", "logits_scaling", "embedding_multiplier", "residual_multiplier", "rotary_pct"})
    require_value(json, key, {1.0}, where);
  for (const char* key : {"alibi", "add_cross_attention", "is_encoder_decoder", "use_qk_norm", "qk_layernorm",
                          "parallel_attn", "use_parallel_residual"})
    require_value(json, key, {false}, where);
  for (const char* key : {"num_experts", "num_local_experts"}) require_value(json, key, {0}, where);
  require_value(json, "pruned_heads", {Json::object()}, where);

  if (has(json, "retort_layers")) {
    const Json& list = json.at("retort_layers");
    if (!list.is_array() || list.size() != config.layers.size())
      throw Error({.where = where + ": retort_layers",
                   .found = list.is_array() ? fmt::format("{} entries", list.size()) : list.type_name(),
                   .expected = fmt::format("a list of {}, one per layer", config.layers.size())});
    config.layers = read_retort_layers(list, where);
  }
  check_config(config, where);
}

Json write_base(const ModelConfig& config, const ConfigKeys& keys, const char* architecture) {
  Json json = config.hf_config.is_object() ? config.hf_config : Json::object();
  const LayerConfig& first = config.layers.front();
  json["architectures"] = Json::array({architecture});
  json["model_type"] = config.model_type;
  json["vocab_size"] = config.vocab_size;
  json[keys.hidden_size] = config.hidden_size;
  json[keys.num_hidden_layers] = config.num_hidden_layers();
  json[keys.num_attention_heads] = first.num_attention_heads;
  json[keys.intermediate_size] = first.intermediate_size;
  json[keys.max_position_embeddings] = config.max_position_embeddings;
  if (first.num_key_value_heads != first.num_attention_heads || json.contains("num_key_value_heads"))
    json["num_key_value_heads"] = first.num_key_value_heads;
  if (config.head_dim * first.num_attention_heads != config.hidden_size || has(json, "head_dim"))
    json["head_dim"] = config.head_dim;
  const Json activation = json.value(keys.activation, Json());
  if (!activation.is_string() || find_activation(activation.get<std::string>()) != config.activation)
    for (const auto& [name, known] : kActivations)
      if (known == config.activation) {
        json[keys.activation] = name;
        break;
      }
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  const auto one = [](std::optional<TokenId> token) { return token ? Json(*token) : Json(); };
  json["bos_token_id"] = one(config.bos_token_id);
  json["eos_token_id"] = token_ids_json(config.eos_token_ids);
  json["pad_token_id"] = one(config.pad_token_id);
  return json;
}

void write_rope(Json& json, const ModelConfig& config) {
  json.erase("rope_parameters");
  json.erase("partial_rotary_factor");
  json.erase("original_max_position_embeddings");
  json["rope_theta"] = config.rope_theta;
  const RopeScaling& scaling = config.rope_scaling;
  switch (scaling.type) {
    case RopeScaling::Type::none:
      json["rope_scaling"] = nullptr;
      break;
    case RopeScaling::Type::linear:
      json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", scaling.factor}};
      break;
    case RopeScaling::Type::llama3:
      json["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", scaling.factor},
                              {"low_freq_factor", scaling.low_freq_factor},
                              {"high_freq_factor", scaling.high_freq_factor},
                              {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
      break;
  }
}

void finish_json(Json& json, const ModelConfig& config,
                 ModelConfig (*parse)(const Json&, const std::string&)) {
  json.erase("retort_layers");
  if (parse(json, "config.json").layers == config.layers) return;
  Json list = Json::array();
  for (const LayerConfig& layer : config.layers)
    list.push_back({{"num_attention_heads", layer.num_attention_heads},
                    {"num_key_value_heads", layer.num_key_value_heads},
                    {"intermediate_size", layer.intermediate_size},
                    {"sliding_window", layer.sliding_window}});
  json["retort_layers"] = std::move(list);
}

std::vector<TokenId> read_token_ids(const Json& json, const std::string& key, std::int64_t vocab_size,
                                    const std::string& where) {
  if (!json.contains(key) || json.at(key).is_null()) return {};
  const std::vector<std::int64_t> values = json.at(key).is_array()
                                               ? json_get<std::vector<std::int64_t>>(json, key, where)
                                               : std::vector{json_get<std::int64_t>(json, key, where)};
  std::vector<TokenId> tokens;
  for (const std::int64_t value : values)
    if (value >= 0 && value < vocab_size) tokens.push_back(static_cast<TokenId>(value));
  return tokens;
}

Json token_ids_json(const std::vector<TokenId>& tokens) {
  if (tokens.empty()) return nullptr;
  return tokens.size() == 1 ? Json(tokens.front()) : Json(tokens);
}

}  // namespace retort
