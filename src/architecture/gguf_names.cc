#include "architecture/gguf_names.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "architecture/canonical_name.h"
#include "base/error.h"
#include "base/options.h"

namespace retort {
namespace {

// The first row of an architecture is the family that its files read as.
constexpr std::array<GgufArchitecture, 6> kArchitectures = {{
    {.name = "llama", .model_type = "llama", .interleaved = true},
    {.name = "llama", .model_type = "mistral", .interleaved = true},
    {.name = "qwen2", .model_type = "qwen2"},
    {.name = "qwen3", .model_type = "qwen3"},
    {.name = "gpt2", .model_type = "gpt2", .fused_qkv = true},
    {.name = "opt", .model_type = "opt"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kNames = {{
    {"model.embed_tokens", "token_embd"},
    {"model.embed_positions", "position_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};

bool is_qkv(std::string_view module) {
  return module == "self_attn.q_proj" || module == "self_attn.k_proj" || module == "self_attn.v_proj";
}

}  // namespace

const GgufArchitecture& architecture_of(const std::string& model_type, const std::string& where) {
  for (const GgufArchitecture& row : kArchitectures)
    if (row.model_type == model_type) return row;
  throw Error({.where = where,
               .found = "the family '" + model_type + "'",
               .expected = "one that GGUF has an architecture for",
               .advice = ""});
}

const GgufArchitecture& find_architecture(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const GgufArchitecture& row : kArchitectures) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw Error({.where = where + ": general.architecture",
               .found = "'" + name + "'",
               .expected = "a supported architecture",
               .advice = suggest(name, names)});
}

std::string gguf_name(const GgufArchitecture& architecture, const std::string& canonical_name) {
  const CanonicalName name = split_name(canonical_name);
  const std::string prefix = name.layer < 0 ? "" : fmt::format("blk.{}.", name.layer);
  if (architecture.fused_qkv && is_qkv(name.module)) return prefix + "attn_qkv." + name.kind;
  for (const auto& [canonical, own] : kNames)
    if (name.module == canonical) return fmt::format("{}{}.{}", prefix, own, name.kind);
  throw Error({.where = canonical_name, .found = "no name in GGUF", .expected = "", .advice = ""},
              ErrorKind::failure);
}

}  // namespace retort
