// Bytes as a .safetensors file (or, from a '{' on, as an index of shards): what opens is read to its last
// byte.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "formats/safetensors.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path folder = [] {
    const auto path = std::filesystem::temp_directory_path() / ("retort-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(path);
    return path;
  }();
  const bool index = size > 0 && data[0] == '{';
  const auto path = folder / (index ? "model.safetensors.index.json" : "model.safetensors");
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
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
