// Bytes as a .safetensors file (or, from a '{' on, as an index of shards): what opens is read to its last
// byte.
#include <cstdint>

#include "base/error.h"
#include "formats/safetensors.h"
#include "scratch_file.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto path =
      scratch_file(input.starts_with('{') ? "model.safetensors.index.json" : "model.safetensors", input);
  try {
    const auto source = open_safetensors(path);
    std::uint64_t sum = 0;
    for (const TensorView& tensor : source->tensors())
      for (const std::byte byte : tensor.bytes) sum += static_cast<std::uint64_t>(byte);
    volatile std::uint64_t read = sum;
    (void)read;
  } catch (const Error&) {
  }
  return 0;
}
