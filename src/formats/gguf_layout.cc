#include "formats/gguf_layout.h"

#include <fmt/format.h>

#include <array>
#include <regex>

#include "base/error.h"

namespace retort {
namespace {

struct TypeRow {
  std::string_view name;
  std::size_t size;
};
// In GgufType's order.
constexpr std::array<TypeRow, 13> kTypes = {{{"u8", 1},
                                             {"i8", 1},
                                             {"u16", 2},
                                             {"i16", 2},
                                             {"u32", 4},
                                             {"i32", 4},
                                             {"f32", 4},
                                             {"bool", 1},
                                             {"string", 0},
                                             {"array", 0},
                                             {"u64", 8},
                                             {"i64", 8},
                                             {"f64", 8}}};

constexpr std::array<std::pair<std::uint32_t, DType>, 5> kPlain = {
    {{24, DType::i8}, {25, DType::i16}, {26, DType::i32}, {27, DType::i64}, {28, DType::f64}}};

}  // namespace

std::string_view gguf_type_name(GgufType type) { return kTypes[static_cast<std::size_t>(type)].name; }

std::size_t gguf_type_size(GgufType type) { return kTypes[static_cast<std::size_t>(type)].size; }

std::optional<DType> plain_ggml_type(std::uint32_t ggml_type) {
  for (const auto& [type, dtype] : kPlain)
    if (type == ggml_type) return dtype;
  return std::nullopt;
}

std::uint32_t ggml_type_of(const TensorView& tensor) {
  if (tensor.encoding != nullptr) return tensor.encoding->ggml_type;
  if (const Encoding* encoding = encoding_of(tensor.dtype)) return encoding->ggml_type;
  for (const auto& [type, dtype] : kPlain)
    if (dtype == tensor.dtype) return type;
  throw Error({.where = tensor.describe(), .found = "a type that GGUF has not", .expected = "", .advice = ""},
              ErrorKind::failure);
}

std::optional<ShardName> parse_shard_name(const std::string& file_name) {
  static const std::regex pattern(R"((.*)-(\d{5})-of-(\d{5})\.gguf)");
  std::smatch match;
  if (!std::regex_match(file_name, match, pattern)) return std::nullopt;
  ShardName name{match[1], std::stoi(match[2]), std::stoi(match[3])};
  if (name.index < 1 || name.index > name.count) return std::nullopt;
  return name;
}

std::string shard_name(const std::string& stem, int index, int count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, index, count);
}

}  // namespace retort
