// Normalizers of a tokenizer.json: what happens to text before it is split.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"

namespace retort {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string apply(std::string text) const = 0;
};

// NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, Sequence. Null for null. Throws Error naming an
// unknown type.
std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where);

}  // namespace retort
