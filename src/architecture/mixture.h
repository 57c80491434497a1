// Which encoding each matrix of a quantized model gets. A mixture is one row of a table; ggml's own mixtures
// are among them, so that files of one name are alike.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "architecture/gguf_model.h"

namespace retort {

struct Mixture {
  std::string_view name;       // "q4_k_m": as in --encoding
  std::int64_t file_type = 0;  // ggml's general.file_type
  std::string_view base;       // encoding of all matrices that no other column speaks of
  std::string_view head = {};  // of the output head, and of an embedding that is one ("" = base)
  // Of attn_v and ffn_down in the layers that lose most: the first and last eighth, and every third between
  // ("" = base).
  std::string_view value = {}, down = {};
};

std::span<const Mixture> mixtures();
// Throws Error naming the nearest known one.
const Mixture& find_mixture(std::string_view name, const std::string& where);

// Learned positions stay F32. Rows that are no multiple of the encoding's block fall back to one of smaller
// blocks that is at least as exact, in the end to F16.
const Encoding& choose_encoding(const Mixture& mixture, const ModelConfig& config,
                                const GgufParameter& stored);

// What a report groups by: "attn_q" of "blk.3.attn_q.weight", "token_embd".
std::string tensor_kind(const GgufParameter& stored);

}  // namespace retort
