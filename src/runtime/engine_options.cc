#include "runtime/engine_options.h"

#include <fmt/format.h>

#include "base/error.h"

namespace retort {

void EngineOptions::visit(OptionList& list) {
  visit_computing(list);
  list.add("reuse_prefix", reuse_prefix, "keep the keys and values of beginnings that prompts share");
}

void EngineOptions::visit_computing(OptionList& list) {
  list.add("threads", threads, "CPU threads; 0: all that this process may use");
  list.add("cache_dtype", cache_dtype, "of keys and values; auto: f16, or f32 beside weights in F32")
      .choices = {"auto", "f32", "f16", "q8"};
  list.add("cache_tokens", cache_tokens,
           "tokens that the key/value cache holds, of all sequences together; 0: as memory allows");
  list.add("max_batch_tokens", max_batch_tokens, "tokens computed in one step");
}

void EngineOptions::check() const {
  const auto require = [](bool good, const char* key, std::int64_t found, const char* expected) {
    if (!good) throw Error({.where = key, .found = fmt::format("{}", found), .expected = expected});
  };
  require(threads >= 0 && threads <= 1024, "threads", threads, "0 … 1024");
  require(cache_tokens >= 0 && cache_tokens <= std::int64_t{1} << 32, "cache_tokens", cache_tokens,
          "0 … 2^32");
  require(max_batch_tokens >= 1 && max_batch_tokens <= 65536, "max_batch_tokens", max_batch_tokens,
          "1 … 65536");
}

}  // namespace retort
