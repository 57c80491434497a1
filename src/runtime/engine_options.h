#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace retort {

struct EngineOptions {
  std::int64_t threads = 0;
  std::string cache_dtype = "auto";
  std::int64_t cache_tokens = 0;
  std::int64_t max_batch_tokens = 512;  // of one step; bounds the memory of activations
  bool reuse_prefix = true;

  void visit(OptionList& list);
  void visit_computing(OptionList& list);  // all but what concerns texts: reuse_prefix
  void check() const;
};

}  // namespace retort
