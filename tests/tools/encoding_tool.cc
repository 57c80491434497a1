// encoding_tool list: name, ggml type, block size and bytes of every encoding, one a line.
// encoding_tool encode NAME COLUMNS VALUES OUT [IMPORTANCE]: raw little-endian fp32 → blocks.
// encoding_tool decode NAME BLOCKS OUT: blocks → raw fp32.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "formats/encodings/encoding.h"

using namespace retort;

namespace {

std::vector<float> read_floats(const std::string& path) {
  const std::string bytes = read_file(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "list") {
    for (const Encoding* row : encodings())
      fmt::print("{} {} {} {} {}\n", row->name, row->ggml_type, row->block_size, row->bytes_per_block,
                 row->activations_only ? "activations" : "weights");
    return 0;
  }
  if (verb == "encode" && argc >= 6) {
    const Encoding& encoding = find_encoding(argv[2], "encoding");
    const std::vector<float> values = read_floats(argv[4]);
    const std::vector<float> importance = argc > 6 ? read_floats(argv[6]) : std::vector<float>();
    std::string blocks(static_cast<std::size_t>(encoding.byte_size(static_cast<std::int64_t>(values.size()))),
                       '\0');
    encode_rows(encoding, values, std::stoll(argv[3]), importance,
                reinterpret_cast<std::byte*>(blocks.data()), argv[4]);
    write_file_atomically(argv[5], blocks);
    return 0;
  }
  if (verb == "decode" && argc == 5) {
    const Encoding& encoding = find_encoding(argv[2], "encoding");
    const std::string blocks = read_file(argv[3]);
    std::vector<float> values(blocks.size() / static_cast<std::size_t>(encoding.bytes_per_block) *
                              static_cast<std::size_t>(encoding.block_size));
    encoding.decode(reinterpret_cast<const std::byte*>(blocks.data()), values);
    write_file_atomically(argv[4],
                          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    return 0;
  }
  return 2;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code();
}
