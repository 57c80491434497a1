#include "compress/shrink/cut.h"

#include <numeric>

#include "architecture/canonical_name.h"
#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace {

using Indices = std::vector<std::int64_t>;

Indices all(std::int64_t count) {
  Indices list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

void check_layers(const Indices& layers, std::int64_t total) {
  const std::string range = "layers between 0 and " + std::to_string(total - 1) + ", in ascending order";
  if (layers.empty()) throw Error({.where = "layers", .found = "none", .expected = range, .advice = ""});
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i] < 0 || layers[i] >= total || (i > 0 && layers[i] <= layers[i - 1]))
      throw Error({.where = "layers",
                   .found = std::to_string(layers[i]) + " at place " + std::to_string(i + 1),
                   .expected = range,
                   .advice = ""});
}

// The rows of the heads, each head_dim long.
Indices rows_of_heads(const Indices& heads, std::int64_t head_dim) {
  Indices rows;
  for (const std::int64_t head : heads)
    for (std::int64_t i = 0; i < head_dim; ++i) rows.push_back(head * head_dim + i);
  return rows;
}

// What stays of a parameter, and the name that it had.
struct Piece {
  std::string original;
  Indices rows = {}, columns = {};  // of a vector: rows alone
  double scale = 1;
};

Piece piece_of(const ModelConfig& config, const Cut& cut, const ParameterSpec& spec) {
  const CanonicalName name = split_name(spec.name);
  Piece piece{.original = spec.name};
  if (name.layer < 0) {  // embeddings and head [n, H], the last norm [H]
    piece.rows = spec.shape.size() > 1 ? all(spec.shape[0]) : cut.hidden;
    piece.columns = cut.hidden;
    return piece;
  }
  const LayerCut& layer = cut.layers[static_cast<std::size_t>(name.layer)];
  piece.original = "model.layers." + std::to_string(layer.layer) + "." + name.module + "." + name.kind;
  const std::string& module = name.module;
  if (module == "self_attn.q_norm" || module == "self_attn.k_norm") {
    piece.rows = all(config.head_dim);
  } else if (module == "self_attn.q_proj") {
    piece.rows = rows_of_heads(layer.query_heads, config.head_dim);
    piece.columns = cut.hidden;
  } else if (module == "self_attn.k_proj" || module == "self_attn.v_proj") {
    piece.rows = rows_of_heads(layer.key_value_heads, config.head_dim);
    piece.columns = cut.hidden;
  } else if (module == "mlp.gate_proj" || module == "mlp.up_proj") {
    piece.rows = layer.ffn;
    piece.columns = cut.hidden;
  } else {
    piece.rows = cut.hidden;  // norms, and the outputs of both branches
    if (module == "self_attn.o_proj" || module == "mlp.down_proj") piece.scale = cut.branch_scale;
    piece.columns =
        module == "self_attn.o_proj" ? rows_of_heads(layer.query_heads, config.head_dim) : layer.ffn;
  }
  return piece;
}

std::vector<std::int64_t> original_shape(const ModelConfig& config, const std::string& name) {
  for (const ParameterSpec& spec : parameter_specs(config))
    if (spec.name == name) return spec.shape;
  throw Error({.where = name, .found = "no such parameter"}, ErrorKind::failure);
}

}  // namespace

Cut keep_layers(const ModelConfig& config, const std::vector<std::int64_t>& layers) {
  check_layers(layers, config.num_hidden_layers());
  Cut cut;
  for (const std::int64_t layer : layers) {
    const LayerConfig& shape = config.layers[static_cast<std::size_t>(layer)];
    cut.layers.push_back({layer, all(shape.num_attention_heads), all(shape.num_key_value_heads),
                          all(shape.intermediate_size)});
  }
  cut.hidden = all(config.hidden_size);
  return cut;
}

ModelConfig cut_config(const ModelConfig& config, const Cut& cut) {
  ModelConfig smaller = config;
  smaller.layers.clear();
  for (const LayerCut& layer : cut.layers)
    smaller.layers.push_back(
        {.num_attention_heads = static_cast<std::int64_t>(layer.query_heads.size()),
         .num_key_value_heads = static_cast<std::int64_t>(layer.key_value_heads.size()),
         .intermediate_size = static_cast<std::int64_t>(layer.ffn.size()),
         .sliding_window = config.layers[static_cast<std::size_t>(layer.layer)].sliding_window});
  smaller.hidden_size = static_cast<std::int64_t>(cut.hidden.size());
  return smaller;
}

ParameterReader cut_parameters(const ModelConfig& config, Cut cut, ParameterReader original) {
  return [config, cut = std::move(cut), original = std::move(original)](const ParameterSpec& spec) {
    const Piece piece = piece_of(config, cut, spec);
    const std::vector<std::int64_t> shape = original_shape(config, piece.original);
    const std::vector<float> values = original({piece.original, shape});
    const Indices columns = shape.size() > 1 ? piece.columns : Indices{0};
    const std::int64_t width = shape.size() > 1 ? shape[1] : 1;
    std::vector<float> kept;
    kept.reserve(piece.rows.size() * columns.size());
    for (const std::int64_t row : piece.rows)
      for (const std::int64_t column : columns)
        kept.push_back(static_cast<float>(piece.scale) *
                       values[static_cast<std::size_t>(row * width + column)]);
    return kept;
  };
}

void write_cut(const ModelFolder& folder, const Cut& cut, const std::filesystem::path& out) {
  folder.check_weights();
  AtomicFolder target(out);
  const auto read = [&](const ParameterSpec& spec) { return folder.load(spec); };
  save_model_folder(target.path(), cut_config(folder.config(), cut),
                    cut_parameters(folder.config(), cut, read),
                    {.dtype = folder.weights().tensors().front().dtype,
                     .max_shard_bytes = 0,
                     .tokenizer_from = folder.path()});
  target.commit();
}

}  // namespace retort
