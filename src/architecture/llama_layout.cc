#include "architecture/llama_layout.h"

namespace retort {

StoredTensor stored_as_is(const ModelConfig&, const std::string& canonical_name) {
  return {.name = canonical_name};
}

bool is_rotary_buffer(std::string_view stored_name) { return stored_name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace retort
