// Writing GGUF: one file, or shards.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/gguf_layout.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  out += text;
}
void append_type(std::string& out, GgufType type) { append(out, static_cast<std::uint32_t>(type)); }
void append_array(std::string& out, GgufType type, std::size_t count) {
  append_type(out, GgufType::array);
  append_type(out, type);
  append(out, static_cast<std::uint64_t>(count));
}

template <class T>
T checked(const std::string& key, std::int64_t value) {
  if (value < std::int64_t{std::numeric_limits<T>::min()} ||
      value > std::int64_t{std::numeric_limits<T>::max()})
    throw Error(
        {.where = key,
         .found = fmt::format("{}", value),
         .expected = fmt::format("{} … {}", std::numeric_limits<T>::min(), std::numeric_limits<T>::max()),
         .advice = "GGUF has no wider type for this key."});
  return static_cast<T>(value);
}

// Caller's mistakes: an unreadable file must not come into being.
void check_gguf_tensors(const fs::path& path, std::span<const TensorView> tensors, bool own_bytes) {
  std::unordered_set<std::string_view> names;
  for (const TensorView& tensor : tensors) {
    const auto fail = [&](std::string found, std::string expected) {
      throw Error({.where = path.string() + ": " + tensor.describe(),
                   .found = std::move(found),
                   .expected = std::move(expected),
                   .advice = ""},
                  ErrorKind::failure);
    };
    if (tensor.name.empty() || tensor.name.size() > kGgufMaxName || !names.insert(tensor.name).second)
      fail("its name", fmt::format("a new one of 1 … {} bytes", kGgufMaxName));
    if (tensor.shape.size() > kGgufMaxDimensions)
      fail(fmt::format("{} dimensions", tensor.shape.size()), fmt::format("at most {}", kGgufMaxDimensions));
    if (tensor.encoding != nullptr &&
        (tensor.shape.empty() || tensor.shape.back() % tensor.encoding->block_size != 0))
      fail("its rows", fmt::format("a multiple of {} weights", tensor.encoding->block_size));
    if (own_bytes && tensor.bytes.size() != static_cast<std::size_t>(tensor.byte_size()))
      fail(fmt::format("{} bytes", tensor.bytes.size()), fmt::format("{}", tensor.byte_size()));
  }
}

void write_file(const fs::path& path, const GgufMetadata& metadata, std::span<const TensorView> tensors,
                const TensorBytes& bytes) {
  std::string head;
  append(head, kGgufMagic);
  append(head, kGgufVersion);
  append(head, static_cast<std::uint64_t>(tensors.size()));
  append(head, static_cast<std::uint64_t>(metadata.size()));
  head += metadata.bytes();
  std::uint64_t offset = 0;
  for (const TensorView& tensor : tensors) {
    append_text(head, tensor.name);
    append(head, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) append(head, *size);
    append(head, ggml_type_of(tensor));
    append(head, offset);
    offset = padded(offset + static_cast<std::uint64_t>(tensor.byte_size()), kGgufAlignment);
  }
  head.resize(padded(head.size(), kGgufAlignment), '\0');

  AtomicFile file(path);
  file.write(head);
  for (const TensorView& tensor : tensors) {
    const std::vector<std::byte> made = bytes ? bytes(tensor) : std::vector<std::byte>();
    const std::span<const std::byte> content = bytes ? std::span<const std::byte>(made) : tensor.bytes;
    const auto size = static_cast<std::uint64_t>(tensor.byte_size());
    if (content.size() != size)
      throw Error({.where = path.string() + ": " + tensor.describe(),
                   .found = fmt::format("{} bytes", content.size()),
                   .expected = fmt::format("{}", size),
                   .advice = ""},
                  ErrorKind::failure);
    file.write(content.data(), content.size());
    file.write(std::string(padded(size, kGgufAlignment) - size, '\0'));
  }
  file.commit();
}

// Tensors in order, as many as fit; one that is larger than a shard gets its own.
std::vector<std::span<const TensorView>> gguf_shards(std::span<const TensorView> tensors,
                                                     std::uint64_t max_shard_bytes) {
  std::vector<std::span<const TensorView>> shards;
  std::uint64_t size = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = static_cast<std::uint64_t>(tensors[i].byte_size());
    if (max_shard_bytes > 0 && i > begin && size + bytes > max_shard_bytes) {
      shards.push_back(tensors.subspan(begin, i - begin));
      begin = i;
      size = 0;
    }
    size += bytes;
  }
  shards.push_back(tensors.subspan(begin));
  return shards;
}

}  // namespace

std::string& GgufMetadata::entry(const std::string& key) {
  const auto [place, added] = places_.emplace(key, entries_.size());
  if (added) entries_.emplace_back(key, "");
  std::string& value = entries_[place->second].second;
  value.clear();
  return value;
}

void GgufMetadata::set_u32(const std::string& key, std::int64_t value) {
  const auto number = checked<std::uint32_t>(key, value);
  std::string& out = entry(key);
  append_type(out, GgufType::u32);
  append(out, number);
}

void GgufMetadata::set_u16(const std::string& key, std::int64_t value) {
  const auto number = checked<std::uint16_t>(key, value);
  std::string& out = entry(key);
  append_type(out, GgufType::u16);
  append(out, number);
}

void GgufMetadata::set_i32(const std::string& key, std::int64_t value) {
  const auto number = checked<std::int32_t>(key, value);
  std::string& out = entry(key);
  append_type(out, GgufType::i32);
  append(out, number);
}

void GgufMetadata::set_f32(const std::string& key, double value) {
  std::string& out = entry(key);
  append_type(out, GgufType::f32);
  append(out, static_cast<float>(value));
}

void GgufMetadata::set_flag(const std::string& key, bool value) {
  std::string& out = entry(key);
  append_type(out, GgufType::boolean);
  append(out, static_cast<std::uint8_t>(value));
}

void GgufMetadata::set_text(const std::string& key, std::string_view value) {
  std::string& out = entry(key);
  append_type(out, GgufType::string);
  append_text(out, value);
}

void GgufMetadata::set_i32s(const std::string& key, std::span<const std::int64_t> values) {
  std::string& out = entry(key);
  append_array(out, GgufType::i32, values.size());
  for (const std::int64_t value : values) append(out, checked<std::int32_t>(key, value));
}

void GgufMetadata::set_f32s(const std::string& key, std::span<const float> values) {
  std::string& out = entry(key);
  append_array(out, GgufType::f32, values.size());
  for (const float value : values) append(out, value);
}

void GgufMetadata::set_texts(const std::string& key, std::span<const std::string> values) {
  std::string& out = entry(key);
  append_array(out, GgufType::string, values.size());
  for (const std::string& value : values) append_text(out, value);
}

std::string GgufMetadata::bytes() const {
  std::string out;
  for (const auto& [key, value] : entries_) {
    append_text(out, key);
    out += value;
  }
  return out;
}

void write_gguf(const fs::path& path, const GgufMetadata& metadata, std::span<const TensorView> tensors,
                const GgufOptions& options, const TensorBytes& bytes) {
  check_gguf_tensors(path, tensors, !bytes);
  const auto shards = gguf_shards(tensors, options.max_shard_bytes);
  if (shards.size() == 1) return write_file(path, metadata, tensors, bytes);
  const auto count = static_cast<int>(shards.size());
  for (int i = 0; i < count; ++i) {
    GgufMetadata head = i == 0 ? metadata : GgufMetadata();
    head.set_u16("split.no", i);
    head.set_u16("split.count", count);
    head.set_i32("split.tensors.count", static_cast<std::int64_t>(tensors.size()));
    write_file(path.parent_path() / shard_name(path.stem().string(), i + 1, count), head,
               shards[static_cast<std::size_t>(i)], bytes);
  }
}

}  // namespace retort
