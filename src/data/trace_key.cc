#include "data/trace_key.h"

#include <string>

#include "base/hash.h"

namespace retort {
namespace {

template <class T>
std::uint64_t key_of(const TokenId* tokens, std::size_t count, const T& is_target) {
  std::string mask(count, '\0');
  for (std::size_t i = 1; i < count; ++i) mask[i] = is_target(i) ? 1 : 0;
  return hash64({reinterpret_cast<const char*>(tokens), count * sizeof(TokenId)}, hash64(mask));
}

}  // namespace

std::uint64_t trace_key(const Example& example) {
  return key_of(example.tokens.data(), example.tokens.size(),
                [&](std::size_t i) { return example.is_target[i] != 0; });
}

std::uint64_t trace_key(const Batch& batch, std::int64_t sequence) {
  const auto s = static_cast<std::size_t>(sequence);
  const auto begin = static_cast<std::size_t>(batch.sequence_starts[s]),
             end = static_cast<std::size_t>(batch.sequence_starts[s + 1]);
  return key_of(batch.tokens.data() + begin, end - begin,
                [&](std::size_t i) { return batch.targets[begin + i - 1] != kNoTarget; });
}

}  // namespace retort
