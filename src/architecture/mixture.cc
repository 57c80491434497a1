#include "architecture/mixture.h"

#include <array>
#include <utility>

#include "architecture/canonical_name.h"
#include "base/error.h"
#include "base/options.h"

namespace retort {
namespace {

constexpr std::array<Mixture, 18> kMixtures = {{
    {.name = "f32", .file_type = 0, .base = "f32"},
    {.name = "f16", .file_type = 1, .base = "f16"},
    {.name = "bf16", .file_type = 32, .base = "bf16"},
    {.name = "q8_0", .file_type = 7, .base = "q8_0"},
    {.name = "q6_k", .file_type = 18, .base = "q6_k"},
    {.name = "q5_k_m", .file_type = 17, .base = "q5_k", .head = "q6_k", .value = "q6_k", .down = "q6_k"},
    {.name = "q5_k_s", .file_type = 16, .base = "q5_k", .head = "q6_k"},
    {.name = "q5_k", .file_type = 16, .base = "q5_k"},
    {.name = "q5_1", .file_type = 9, .base = "q5_1", .head = "q6_k"},
    {.name = "q5_0", .file_type = 8, .base = "q5_0", .head = "q6_k"},
    {.name = "q4_k_m", .file_type = 15, .base = "q4_k", .head = "q6_k", .value = "q6_k", .down = "q6_k"},
    {.name = "q4_k_s", .file_type = 14, .base = "q4_k", .head = "q6_k", .value = "q5_k", .down = "q5_k"},
    // For small models, whose head is a large share: below five bits a weight over the whole file.
    {.name = "q4_k_t", .file_type = 15, .base = "q4_k", .head = "q5_k", .value = "q5_k"},
    {.name = "q4_k", .file_type = 14, .base = "q4_k"},
    {.name = "q4_1", .file_type = 3, .base = "q4_1", .head = "q6_k"},
    {.name = "q4_0", .file_type = 2, .base = "q4_0", .head = "q6_k"},
    {.name = "iq4_nl", .file_type = 25, .base = "iq4_nl", .head = "q6_k"},
    {.name = "mxfp4", .file_type = 38, .base = "mxfp4", .head = "q8_0"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFallbacks = {
    {{"q4_k", "q5_0"}, {"q5_k", "q5_1"}, {"q6_k", "q8_0"}, {"iq4_nl", "f16"}}};

bool needs_more_bits(std::int64_t layer, std::int64_t layers) {
  const std::int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

const Encoding& fitting(std::string_view name, std::int64_t columns) {
  const Encoding* encoding = &find_encoding(name, "mixture");
  while (columns % encoding->block_size != 0) {
    std::string_view next = "f16";
    for (const auto& [from, to] : kFallbacks)
      if (encoding->name == from) next = to;
    encoding = &find_encoding(next, "mixture");
  }
  return *encoding;
}

}  // namespace

std::span<const Mixture> mixtures() { return kMixtures; }

const Mixture& find_mixture(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const Mixture& row : kMixtures) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw Error({.where = where,
               .found = "'" + std::string(name) + "'",
               .expected = "an encoding or mixture",
               .advice = suggest(name, names)});
}

const Encoding& choose_encoding(const Mixture& mixture, const ModelConfig& config,
                                const GgufParameter& stored) {
  const CanonicalName name = split_name(stored.parts.front().name);
  if (name.module == "model.embed_positions") return find_encoding("f32", "mixture");
  std::string_view chosen;
  if (name.module == "lm_head" || (name.module == "model.embed_tokens" && config.tie_word_embeddings)) {
    chosen = mixture.head;
  } else if (name.layer >= 0 && needs_more_bits(name.layer, config.num_hidden_layers())) {
    if (name.module == "self_attn.v_proj") chosen = mixture.value;
    if (name.module == "mlp.down_proj") chosen = mixture.down;
  }
  return fitting(chosen.empty() ? mixture.base : chosen, stored.shape.back());
}

std::string tensor_kind(const GgufParameter& stored) {
  std::string name = stored.name;
  if (name.starts_with("blk.")) name.erase(0, name.find('.', 4) + 1);
  return name.substr(0, name.rfind('.'));
}

}  // namespace retort
