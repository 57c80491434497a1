// llama.cpp's architectures and tensor names, as tables.
#pragma once

#include <string>
#include <string_view>

#include "architecture/model_config.h"

namespace retort {

struct GgufArchitecture {
  std::string_view name;        // general.architecture
  std::string_view model_type;  // the family that it reads as
  bool interleaved = false;     // q and k rows
  bool fused_qkv = false;       // attn_qkv in place of attn_q, attn_k, attn_v
};

// Of a family; every family has one. Throws Error otherwise.
const GgufArchitecture& architecture_of(const std::string& model_type, const std::string& where);
// By general.architecture. Throws Error naming the nearest known one.
const GgufArchitecture& find_architecture(const std::string& name, const std::string& where);

// "blk.3.attn_q.weight" of "model.layers.3.self_attn.q_proj.weight".
std::string gguf_name(const GgufArchitecture& architecture, const std::string& canonical_name);

}  // namespace retort
