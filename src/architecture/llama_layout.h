// Files that already have the canonical names and shapes.
#pragma once

#include "architecture/family.h"

namespace retort {

StoredTensor stored_as_is(const ModelConfig& config, const std::string& canonical_name);
// Old files hold the rotary frequencies as a buffer.
bool is_rotary_buffer(std::string_view stored_name);

}  // namespace retort
