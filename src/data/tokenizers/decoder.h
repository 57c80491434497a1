// Decoders of a tokenizer.json: tokens back to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace retort {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
};

// ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, Sequence. Null for null. Throws Error naming an
// unknown type.
std::unique_ptr<Decoder> make_decoder(const Json& json, const std::string& where);

// 0 … 255 for "<0x00>" … "<0xFF>", else -1.
int byte_of_fallback_token(std::string_view token);

}  // namespace retort
