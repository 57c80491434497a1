// Which parameters a user's pattern means.
#pragma once

#include <string>

namespace retort {

// `pattern` is a part of the name between dots ("mlp", "self_attn.q_proj", "lora_B"), or holds '*' for any
// text and fits the whole name.
bool name_matches(const std::string& name, const std::string& pattern);

}  // namespace retort
