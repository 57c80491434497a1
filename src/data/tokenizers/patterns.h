// Splitters that files name by class or that new tokenizers are made with.
#pragma once

#include <string>

#include "base/json.h"

namespace retort {

// Qwen2's: contractions; letters with one leading symbol; single digits; symbols; line breaks; blanks.
inline constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The pre_tokenizer of a tokenizer.json that cuts by `pattern` and then maps bytes.
inline Json split_then_byte_level(const std::string& pattern) {
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
}

}  // namespace retort
