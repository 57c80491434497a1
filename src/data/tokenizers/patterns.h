// Pre-tokenizers that files name by class or that new tokenizers are made with.
#pragma once

#include <string>

#include "base/json.h"
#include "data/tokenizers/splitter.h"

namespace retort {

// The pre_tokenizer of a tokenizer.json that cuts by `pattern` and then maps bytes.
inline Json split_then_byte_level(std::string_view pattern) {
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
}

}  // namespace retort
