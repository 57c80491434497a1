// ModelConfig ↔ GGUF metadata.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "architecture/gguf_model.h"
#include "architecture/gguf_names.h"
#include "base/error.h"

namespace retort {
namespace {

constexpr const char* kConfigKey = "retort.config";

// Divisors of the rotary frequencies, as llama.cpp multiplies them in.
std::vector<float> rope_divisors(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_scaling = {};
  const std::vector<double> scaled = rope_frequencies(config), unscaled = rope_frequencies(plain);
  std::vector<float> divisors(scaled.size());
  for (std::size_t i = 0; i < scaled.size(); ++i) divisors[i] = static_cast<float>(unscaled[i] / scaled[i]);
  return divisors;
}

class Reader {
 public:
  explicit Reader(const GgufFile& file)
      : file_(file), architecture_(find_architecture(file.text("general.architecture"), file.where())) {}

  ModelConfig read() {
    if (file_.find_value(kConfigKey) != nullptr) return from_json();
    ModelConfig config = from_keys();
    const Family& family = find_family(config.model_type, file_.where());
    return family.parse(family.to_json(config), file_.where());  // what the family cannot say is an Error
  }

 private:
  ModelConfig from_json() const {
    const std::string where = file_.where() + ": " + kConfigKey;
    const Json json = parse_json(file_.text(kConfigKey), where);
    const auto model_type = json_get<std::string>(json, "model_type", where);
    const ModelConfig config = find_family(model_type, where).parse(json, where);
    if (architecture_of(model_type, where).name != architecture_.name)
      throw Error({.where = where,
                   .found = "the family '" + model_type + "'",
                   .expected = "one of the architecture " + std::string(architecture_.name),
                   .advice = "The file's metadata was changed by hand."});
    return config;
  }

  std::string key(const std::string& name) const { return std::string(architecture_.name) + "." + name; }
  bool has(const std::string& name) const { return file_.find_value(key(name)) != nullptr; }
  std::int64_t integer_or(const std::string& name, std::int64_t fallback) const {
    return has(name) ? file_.integer(key(name)) : fallback;
  }

  // One value for all layers, or an array with one for each.
  std::vector<std::int64_t> per_layer(const std::string& name, std::int64_t layers) const {
    const GgufValue* value = file_.find_value(key(name));
    if (value == nullptr || !value->is_array)
      return std::vector<std::int64_t>(static_cast<std::size_t>(layers), file_.integer(key(name)));
    std::vector<std::int64_t> values = file_.integers(key(name));
    if (values.size() < static_cast<std::size_t>(layers))
      throw Error({.where = file_.where() + ": " + key(name),
                   .found = fmt::format("{} values", values.size()),
                   .expected = fmt::format("{}, one for each layer", layers)});
    values.resize(static_cast<std::size_t>(layers));
    return values;
  }

  bool has_tensor(const char* name) const { return file_.find(name) != nullptr; }

  void read_layers(ModelConfig& config) const {
    const std::int64_t count = file_.integer(key("block_count"));
    if (count < 1 || count > kMaxLayers)
      throw Error({.where = file_.where() + ": " + key("block_count"),
                   .found = fmt::format("{}", count),
                   .expected = fmt::format("1 … {}", kMaxLayers)});
    const auto heads = per_layer("attention.head_count", count);
    const auto key_heads =
        has("attention.head_count_kv") ? per_layer("attention.head_count_kv", count) : heads;
    const auto widths = per_layer("feed_forward_length", count);
    const std::int64_t window = integer_or("attention.sliding_window", 0);
    for (std::size_t i = 0; i < heads.size(); ++i)
      config.layers.push_back({.num_attention_heads = heads[i],
                               .num_key_value_heads = key_heads[i],
                               .intermediate_size = widths[i],
                               .sliding_window = window < config.max_position_embeddings ? window : 0});
    if (config.layers.front().num_attention_heads < 1)
      throw Error({.where = file_.where() + ": " + key("attention.head_count"),
                   .found = fmt::format("{}", config.layers.front().num_attention_heads),
                   .expected = "at least one head"});
  }

  void read_rope(ModelConfig& config) const {
    config.rope_theta = has("rope.freq_base") ? file_.number(key("rope.freq_base")) : 10000;
    if (const auto turned = integer_or("rope.dimension_count", config.head_dim); turned != config.head_dim)
      throw Error({.where = file_.where() + ": " + key("rope.dimension_count"),
                   .found = fmt::format("{}", turned),
                   .expected = fmt::format("{}, the size of a head", config.head_dim),
                   .advice = "Retort rotates whole heads only."});
    const std::string type = has("rope.scaling.type") ? file_.text(key("rope.scaling.type")) : "none";
    if (type == "linear") {
      config.rope_scaling.type = RopeScaling::Type::linear;
      config.rope_scaling.factor = file_.number(key("rope.scaling.factor"));
    } else if (type != "none") {
      throw Error(
          {.where = file_.where() + ": " + key("rope.scaling.type"),
           .found = "'" + type + "'",
           .expected = "none or linear",
           .advice = "Retort does not support this scaling; ignoring it would change the model's answers."});
    }
    if (const TensorView* divisors = file_.find("rope_freqs.weight")) guess_llama3(config, *divisors);
  }

  // The divisors say what Llama 3 scales by, not with which parameters: those that models use are tried.
  void guess_llama3(ModelConfig& config, const TensorView& tensor) const {
    const std::vector<float> stored = to_float(tensor);
    if (stored.empty()) return;
    if (static_cast<std::int64_t>(stored.size()) != config.head_dim / 2)
      throw Error({.where = file_.where() + ": rope_freqs.weight",
                   .found = fmt::format("{} divisors", stored.size()),
                   .expected = fmt::format("one for each of {} pairs", config.head_dim / 2)});
    RopeScaling& scaling = config.rope_scaling;
    scaling = {.type = RopeScaling::Type::llama3,
               .factor = *std::max_element(stored.begin(), stored.end()),
               .low_freq_factor = 1,
               .high_freq_factor = 4};
    for (const std::int64_t original : {8192, 4096, 2048, 16384, 32768}) {
      scaling.original_max_position_embeddings = original;
      const std::vector<float> divisors = rope_divisors(config);
      if (std::equal(divisors.begin(), divisors.end(), stored.begin(),
                     [](float a, float b) { return std::fabs(a - b) < 1e-3f * std::fabs(b); }))
        return;
    }
    throw Error({.where = file_.where() + ": rope_freqs.weight",
                 .found = "divisors that no known scaling of Llama 3 gives",
                 .expected = "factor " + fmt::format("{}", scaling.factor) + ", frequency factors 1 and 4",
                 .advice = ""});
  }

  std::optional<TokenId> token(const char* name, std::int64_t vocab_size) const {
    const std::string token_key = std::string("tokenizer.ggml.") + name;
    if (file_.find_value(token_key) == nullptr) return std::nullopt;
    const std::int64_t id = file_.integer(token_key);
    if (id < 0 || id >= vocab_size) return std::nullopt;
    return static_cast<TokenId>(id);
  }

  bool tied() const {
    const TensorView* output = file_.find("output.weight");
    if (output == nullptr) return true;
    const TensorView* embedding = file_.find("token_embd.weight");  // some writers store it twice
    return embedding != nullptr && output->encoding == embedding->encoding &&
           output->dtype == embedding->dtype && output->bytes.size() == embedding->bytes.size() &&
           std::equal(output->bytes.begin(), output->bytes.end(), embedding->bytes.begin());
  }

  ModelConfig from_keys() const {
    ModelConfig config;
    config.model_type = architecture_.model_type;
    config.hidden_size = file_.integer(key("embedding_length"));
    config.max_position_embeddings = file_.integer(key("context_length"));
    const TensorView& embedding = file_.get("token_embd.weight");
    config.vocab_size = integer_or("vocab_size", embedding.shape.empty() ? 0 : embedding.shape.front());
    read_layers(config);
    config.head_dim =
        integer_or("attention.key_length", config.hidden_size / config.layers.front().num_attention_heads);
    if (const auto values = integer_or("attention.value_length", config.head_dim); values != config.head_dim)
      throw Error({.where = file_.where() + ": " + key("attention.value_length"),
                   .found = fmt::format("{}", values),
                   .expected = fmt::format("{}, the length of keys", config.head_dim)});
    if (config.model_type == "gpt2" || config.model_type == "opt") {
      config.normalization = Normalization::layer_norm;
      config.norm_eps = file_.number(key("attention.layer_norm_epsilon"));
      config.activation = config.model_type == "opt" ? Activation::relu : Activation::gelu_tanh;
      config.gated_mlp = false;
      config.position_encoding = PositionEncoding::learned;
    } else {
      config.norm_eps = file_.number(key("attention.layer_norm_rms_epsilon"));
      config.qk_norm = config.model_type == "qwen3";
      read_rope(config);
      if (config.model_type == "llama" && config.layers.front().sliding_window > 0)
        config.model_type = "mistral";
    }
    config.attention_bias = has_tensor("blk.0.attn_q.bias") || has_tensor("blk.0.attn_qkv.bias");
    config.attention_output_bias = has_tensor("blk.0.attn_output.bias");
    config.mlp_bias = has_tensor("blk.0.ffn_up.bias");
    config.tie_word_embeddings = tied();
    config.bos_token_id = token("bos_token_id", config.vocab_size);
    config.pad_token_id = token("padding_token_id", config.vocab_size);
    for (const char* name : {"eos_token_id", "eot_token_id"})
      if (const auto id = token(name, config.vocab_size);
          id && (config.eos_token_ids.empty() || config.eos_token_ids[0] != *id))
        config.eos_token_ids.push_back(*id);
    check_config(config, file_.where());
    return config;
  }

  const GgufFile& file_;
  const GgufArchitecture& architecture_;
};

// A single value where the layers agree.
void set_per_layer(GgufMetadata& metadata, const std::string& key, const ModelConfig& config,
                   std::int64_t LayerConfig::*member) {
  std::vector<std::int64_t> values;
  for (const LayerConfig& layer : config.layers) values.push_back(layer.*member);
  if (std::all_of(values.begin(), values.end(), [&](std::int64_t value) { return value == values.front(); }))
    metadata.set_u32(key, values.front());
  else
    metadata.set_i32s(key, values);
}

}  // namespace

ModelConfig config_of_gguf(const GgufFile& file) { return Reader(file).read(); }

void add_config(GgufMetadata& metadata, const ModelConfig& config) {
  const GgufArchitecture& architecture = architecture_of(config.model_type, "GGUF");
  const std::string prefix = std::string(architecture.name) + ".";
  metadata.set_text("general.architecture", architecture.name);
  metadata.set_text("general.type", "model");
  metadata.set_u32(prefix + "context_length", config.max_position_embeddings);
  metadata.set_u32(prefix + "embedding_length", config.hidden_size);
  metadata.set_u32(prefix + "block_count", config.num_hidden_layers());
  metadata.set_u32(prefix + "vocab_size", config.vocab_size);
  set_per_layer(metadata, prefix + "feed_forward_length", config, &LayerConfig::intermediate_size);
  set_per_layer(metadata, prefix + "attention.head_count", config, &LayerConfig::num_attention_heads);
  set_per_layer(metadata, prefix + "attention.head_count_kv", config, &LayerConfig::num_key_value_heads);
  metadata.set_u32(prefix + "attention.key_length", config.head_dim);
  metadata.set_u32(prefix + "attention.value_length", config.head_dim);
  metadata.set_f32(
      prefix + (config.normalization == Normalization::rms_norm ? "attention.layer_norm_rms_epsilon"
                                                                : "attention.layer_norm_epsilon"),
      config.norm_eps);
  if (config.position_encoding == PositionEncoding::rotary) {
    metadata.set_f32(prefix + "rope.freq_base", config.rope_theta);
    metadata.set_u32(prefix + "rope.dimension_count", config.head_dim);
    if (config.rope_scaling.type == RopeScaling::Type::linear) {
      metadata.set_text(prefix + "rope.scaling.type", "linear");
      metadata.set_f32(prefix + "rope.scaling.factor", config.rope_scaling.factor);
    }
  }
  if (config.bos_token_id) metadata.set_u32("tokenizer.ggml.bos_token_id", *config.bos_token_id);
  if (config.pad_token_id) metadata.set_u32("tokenizer.ggml.padding_token_id", *config.pad_token_id);
  if (!config.eos_token_ids.empty()) metadata.set_u32("tokenizer.ggml.eos_token_id", config.eos_token_ids[0]);
  if (config.eos_token_ids.size() > 1)
    metadata.set_u32("tokenizer.ggml.eot_token_id", config.eos_token_ids[1]);
  Json json = find_family(config.model_type, "GGUF").to_json(config);
  json.erase("quantization_config");  // the tensors' own types say it
  metadata.set_text(kConfigKey, json.dump());
}

std::string llama_cpp_caveat(const ModelConfig& config) {
  const bool window = std::any_of(config.layers.begin(), config.layers.end(),
                                  [](const LayerConfig& layer) { return layer.sliding_window > 0; });
  if (config.model_type == "opt") return "llama.cpp has no architecture opt";
  if (window) return "llama.cpp ignores this model's sliding windows";
  if (config.model_type == "gpt2" && config.activation != Activation::gelu_tanh)
    return "llama.cpp computes gpt2 with gelu_new only";
  if (config.model_type == "qwen3" && config.attention_bias) return "llama.cpp reads no biases of qwen3";
  if (config.model_type != "llama" && config.model_type != "mistral" &&
      config.rope_scaling.type == RopeScaling::Type::llama3)
    return "llama.cpp scales rotary frequencies of llama only";
  return "";
}

}  // namespace retort
