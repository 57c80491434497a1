// GGUF version 3 (ggml's container): metadata, tensor list, padding, data. Read through a memory map; one
// file, or the shards NAME-00001-of-0000N.gguf, opened by any of them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "formats/tensor_source.h"

namespace retort {

enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
std::string_view gguf_type_name(GgufType type);  // "u32", "string" …

// A value as it lies in the file; checked when the file was opened.
struct GgufValue {
  GgufType type = GgufType::u8;  // of the elements, if it is an array
  bool is_array = false;
  std::uint64_t count = 1;
  std::span<const std::byte> bytes;  // of all elements; strings with their lengths before them

  std::string describe() const;  // "u32 151936", "\"qwen3\"", "151936 strings"
};

// Tensors of types that encodings/ does not know make opening an Error that names the type. Tensor views have
// shapes with the slowest axis first, the reverse of the file's.
class GgufFile : public TensorSource {
 public:
  // Hostile files (counts, lengths, sizes and offsets that overflow or leave the file, repeated names, nested
  // arrays) are an Error before any allocation of a size that the file claims.
  explicit GgufFile(const std::filesystem::path& path);
  ~GgufFile() override;

  const std::vector<TensorView>& tensors() const override;
  const TensorView* find(const std::string& name) const override;
  // Each value's description; strings whole.
  const std::map<std::string, std::string>& metadata() const override;
  std::string where() const override;

  // Of the first shard, in file order.
  const std::vector<std::pair<std::string, GgufValue>>& values() const;
  const GgufValue* find_value(const std::string& key) const;

  // Throw Error when the key is missing or holds another kind of value. Integers may be of any width that
  // fits.
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;  // integers too
  bool flag(const std::string& key) const;
  std::string text(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;
  std::vector<std::string_view> texts(const std::string& key) const;  // in the mapped file

 private:
  struct Content;
  std::unique_ptr<Content> content_;
};

// Keys and values to write, in order. Setting a key again replaces its value.
class GgufMetadata {
 public:
  void set_u32(const std::string& key, std::int64_t value);  // Error when out of range
  void set_u16(const std::string& key, std::int64_t value);
  void set_i32(const std::string& key, std::int64_t value);
  void set_f32(const std::string& key, double value);
  void set_flag(const std::string& key, bool value);
  void set_text(const std::string& key, std::string_view value);
  void set_i32s(const std::string& key, std::span<const std::int64_t> values);
  void set_f32s(const std::string& key, std::span<const float> values);
  void set_texts(const std::string& key, std::span<const std::string> values);

  bool has(const std::string& key) const { return places_.contains(key); }
  std::size_t size() const { return entries_.size(); }
  std::string bytes() const;  // as they lie in a file

 private:
  std::string& entry(const std::string& key);
  std::vector<std::pair<std::string, std::string>> entries_;  // key, type and value
  std::unordered_map<std::string, std::size_t> places_;
};

struct GgufOptions {
  std::uint64_t max_shard_bytes = 0;  // 0: one file; else NAME-00001-of-0000N.gguf beside each other
};

// Writes atomically (each shard for itself). Views say names, shapes and types; bytes as in
// write_safetensors.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                std::span<const TensorView> tensors, const GgufOptions& options = {},
                const TensorBytes& bytes = nullptr);

// True for a file that begins with GGUF's magic, or a path that ends in .gguf.
bool looks_like_gguf(const std::filesystem::path& path);

}  // namespace retort
