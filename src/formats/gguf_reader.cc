// Reading GGUF. Everything is checked on the way in, as strictly as ggml does or more so: a view or a value
// that comes out of here lies inside of its file.
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/options.h"
#include "formats/damaged_file.h"
#include "formats/gguf.h"
#include "formats/gguf_layout.h"

namespace retort {
namespace fs = std::filesystem;
// A shard's keys in the order of the file.
struct GgufHeader {
  std::vector<std::pair<std::string, GgufValue>> values;
  std::unordered_map<std::string, std::size_t> places;

  const GgufValue* find(const std::string& key) const {
    const auto found = places.find(key);
    return found == places.end() ? nullptr : &values[found->second].second;
  }
};

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian and mapped as it is");

constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr int kMaxShards = 1024;
constexpr std::uint64_t kMinEntryBytes = 13;   // an empty key, a type, one byte
constexpr std::uint64_t kMinTensorBytes = 24;  // an empty name, no dimensions, a type, an offset

// Walks over a file's bytes; never past their end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::size_t at() const { return at_; }
  std::uint64_t left() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t count, const char* what) {
    if (count > left())
      refuse_damaged(where_, fmt::format("{} bytes", bytes_.size()),
                     fmt::format("{} bytes of {} at byte {}", count, what, at_));
    const auto part = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return part;
  }
  template <class T>
  T read(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  std::string_view text(const char* what) {
    const auto part = take(read<std::uint64_t>(what), what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
};

template <class T>
T element(const GgufValue& value, std::uint64_t index) {
  T result;
  std::memcpy(&result, value.bytes.data() + index * sizeof(T), sizeof(T));
  return result;
}

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::f32:
    case GgufType::f64:
    case GgufType::boolean:
    case GgufType::string:
    case GgufType::array:
      return false;
    default:
      return true;
  }
}

// Nothing when the value is no integer, one above 2^63 - 1, or an array that has no such place.
std::optional<std::int64_t> integer_at(const GgufValue& value, std::uint64_t i) {
  if (i >= value.count) return std::nullopt;
  switch (value.type) {
    case GgufType::u8:
      return element<std::uint8_t>(value, i);
    case GgufType::i8:
      return element<std::int8_t>(value, i);
    case GgufType::u16:
      return element<std::uint16_t>(value, i);
    case GgufType::i16:
      return element<std::int16_t>(value, i);
    case GgufType::u32:
      return element<std::uint32_t>(value, i);
    case GgufType::i32:
      return element<std::int32_t>(value, i);
    case GgufType::i64:
      return element<std::int64_t>(value, i);
    case GgufType::u64:
      if (const auto wide = element<std::uint64_t>(value, i); wide <= INT64_MAX)
        return static_cast<std::int64_t>(wide);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<double> number_at(const GgufValue& value, std::uint64_t i) {
  if (i >= value.count) return std::nullopt;
  if (value.type == GgufType::f32) return element<float>(value, i);
  if (value.type == GgufType::f64) return element<double>(value, i);
  if (value.type == GgufType::u64) return static_cast<double>(element<std::uint64_t>(value, i));
  if (const auto whole = integer_at(value, i)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::string_view text_of(const GgufValue& value) {
  constexpr std::size_t kLength = sizeof(std::uint64_t);
  return {reinterpret_cast<const char*>(value.bytes.data()) + kLength, value.bytes.size() - kLength};
}

GgufType read_type(Cursor& cursor, const std::string& where) {
  const auto type = cursor.read<std::uint32_t>("a value's type");
  if (type > static_cast<std::uint32_t>(GgufType::f64))
    refuse_damaged(where, fmt::format("the value type {}", type), "0 … 12");
  return static_cast<GgufType>(type);
}

GgufValue read_value(Cursor& cursor, std::span<const std::byte> file, const std::string& where) {
  GgufValue value;
  value.type = read_type(cursor, where);
  if (value.type == GgufType::array) {
    value.is_array = true;
    value.type = read_type(cursor, where);
    if (value.type == GgufType::array)
      refuse_damaged(where, "an array of arrays", "an array of plain values");
    value.count = cursor.read<std::uint64_t>("an array's length");
  }
  const std::size_t begin = cursor.at();
  if (value.type == GgufType::string) {
    // Each takes eight bytes at least, so that the walk ends with the file whatever the count says.
    for (std::uint64_t i = 0; i < value.count; ++i) cursor.text("a string");
  } else {
    const std::size_t size = gguf_type_size(value.type);
    if (value.count > cursor.left() / size)
      refuse_damaged(where, fmt::format("an array of {} values", value.count),
                     "no more than the file has bytes for");
    cursor.take(value.count * size, "values");
  }
  value.bytes = file.subspan(begin, cursor.at() - begin);
  if (value.type == GgufType::boolean)
    for (const std::byte byte : value.bytes)
      if (byte > std::byte{1})
        refuse_damaged(where, fmt::format("the truth value {}", static_cast<int>(byte)), "0 or 1");
  return value;
}

std::uint64_t alignment_of(const GgufHeader& header, const std::string& where) {
  const GgufValue* value = header.find("general.alignment");
  if (value == nullptr) return kGgufAlignment;
  if (value->is_array || value->type != GgufType::u32)
    refuse_damaged(where + ": general.alignment", value->describe(), "a u32");
  const auto alignment = element<std::uint32_t>(*value, 0);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
    refuse_damaged(where + ": general.alignment", fmt::format("{}", alignment),
                   fmt::format("a power of two up to {}", kMaxAlignment));
  return alignment;
}

// Name, shape and type; the bytes' offset from the start of the data is returned beside.
TensorView read_tensor_info(Cursor& cursor, std::uint64_t& offset, const std::string& where) {
  TensorView view;
  view.name = cursor.text("a tensor's name");
  const std::string place = where + ": " + view.name;
  if (view.name.empty() || view.name.size() > kGgufMaxName)
    refuse_damaged(where, fmt::format("a tensor name of {} bytes", view.name.size()),
                   fmt::format("1 … {}", kGgufMaxName));
  const auto dimensions = cursor.read<std::uint32_t>("a tensor's dimensions");
  if (dimensions > kGgufMaxDimensions)
    refuse_damaged(place, fmt::format("{} dimensions", dimensions),
                   fmt::format("at most {}", kGgufMaxDimensions));
  std::int64_t count = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto size = cursor.read<std::int64_t>("a tensor's shape");
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      refuse_damaged(place, "a shape whose size overflows");
    view.shape.insert(view.shape.begin(), size);
  }
  const auto type = cursor.read<std::uint32_t>("a tensor's type");
  offset = cursor.read<std::uint64_t>("a tensor's offset");

  const Encoding* encoding = find_ggml_encoding(type);
  const std::optional<DType> plain = encoding != nullptr ? dtype_of(*encoding) : plain_ggml_type(type);
  if (encoding == nullptr && !plain)
    throw Error({.where = place,
                 .found = fmt::format("the ggml type {}", type),
                 .expected = "an encoding that Retort knows",
                 .advice = "Quantize the model again, to one that retort quantize --help lists."});
  view.dtype = plain.value_or(DType::u8);
  view.encoding = plain ? nullptr : encoding;
  const std::int64_t block = view.encoding != nullptr ? encoding->block_size : 1;
  const std::int64_t row = view.shape.empty() ? 1 : view.shape.back();
  if (row % block != 0)
    refuse_damaged(place, fmt::format("rows of {} weights", row),
                   fmt::format("a multiple of the block, {}", block));
  const std::int64_t bytes = view.encoding != nullptr ? encoding->bytes_per_block
                                                      : static_cast<std::int64_t>(dtype_size(view.dtype));
  std::int64_t size = 0;
  if (__builtin_mul_overflow(count / block, bytes, &size)) refuse_damaged(place, "a size that overflows");
  return view;
}

// Appends the file's tensors, which view it.
GgufHeader read_shard(const MappedFile& file, std::vector<TensorView>& tensors) {
  const std::string where = file.path().string();
  Cursor cursor(file.bytes(), where);
  if (cursor.left() < 24) refuse_damaged(where, fmt::format("{} bytes", cursor.left()), "a GGUF file");
  if (const auto magic = cursor.read<std::uint32_t>("the magic"); magic != kGgufMagic)
    refuse_damaged(where, fmt::format("a file that begins with {:08x}", __builtin_bswap32(magic)),
                   "GGUF (47475546)");
  const auto version = cursor.read<std::uint32_t>("the version");
  // Version 2 differs in nothing but that 3 may be big-endian too.
  if (version != kGgufVersion && version != 2)
    throw Error({.where = where,
                 .found = __builtin_bswap32(version) == kGgufVersion
                              ? "a big-endian file"
                              : fmt::format("GGUF version {}", version),
                 .expected = "version 3, little-endian",
                 .advice = "Convert the file with ggml's own tools."});
  const auto tensor_count = cursor.read<std::uint64_t>("the number of tensors");
  const auto value_count = cursor.read<std::uint64_t>("the number of values");
  if (value_count > cursor.left() / kMinEntryBytes)
    refuse_damaged(where, fmt::format("{} metadata values", value_count),
                   "no more than the file has bytes for");

  GgufHeader header;
  for (std::uint64_t i = 0; i < value_count; ++i) {
    std::string key(cursor.text("a key"));
    if (key.empty()) refuse_damaged(where, "an empty key");
    if (!header.places.emplace(key, header.values.size()).second)
      refuse_damaged(where, "the key '" + key + "' twice");
    const std::string place = where + ": " + key;
    header.values.emplace_back(std::move(key), read_value(cursor, file.bytes(), place));
  }
  const std::uint64_t alignment = alignment_of(header, where);

  if (tensor_count > cursor.left() / kMinTensorBytes)
    refuse_damaged(where, fmt::format("{} tensors", tensor_count), "no more than the file has bytes for");
  std::vector<std::uint64_t> offsets;
  const std::size_t first = tensors.size();
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    offsets.emplace_back();
    tensors.push_back(read_tensor_info(cursor, offsets.back(), where));
  }
  if (tensor_count == 0) return header;
  const std::uint64_t data_begin = padded(cursor.at(), alignment);
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    TensorView& view = tensors[first + i];
    const auto size = static_cast<std::uint64_t>(view.byte_size());
    if (offsets[i] != expected)
      refuse_damaged(where + ": " + view.name, fmt::format("the offset {}", offsets[i]),
                     fmt::format("{}, the end of the tensor before", expected));
    if (data_begin > file.bytes().size() || expected > file.bytes().size() - data_begin ||
        size > file.bytes().size() - data_begin - expected)
      refuse_damaged(where + ": " + view.name, fmt::format("{} bytes in the file", file.bytes().size()),
                     fmt::format("{} more at byte {}", size, data_begin + expected));
    view.bytes = file.bytes().subspan(data_begin + expected, size);
    expected = padded(expected + size, alignment);  // below 2^64: size is below the file's
  }
  return header;
}

}  // namespace

struct GgufFile::Content {
  fs::path path;
  std::vector<MappedFile> files;
  GgufHeader header;
  std::vector<TensorView> tensors;
  std::unordered_map<std::string, std::size_t> places;
  std::map<std::string, std::string> metadata;

  std::string place(const std::string& key) const { return path.string() + ": " + key; }

  [[noreturn]] void mismatch(const std::string& key, const GgufValue& value,
                             const std::string& expected) const {
    throw Error({.where = place(key), .found = value.describe(), .expected = expected, .advice = ""});
  }

  const GgufValue& get(const std::string& key, bool is_array) const {
    const GgufValue* value = header.find(key);
    if (value == nullptr) {
      std::vector<std::string> names;
      for (const auto& [name, unused] : header.values) names.push_back(name);
      throw Error({.where = path.string(),
                   .found = "no '" + key + "'",
                   .expected = "this key",
                   .advice = suggest(key, names)});
    }
    if (value->is_array != is_array) mismatch(key, *value, is_array ? "an array" : "a single value");
    return *value;
  }
};

GgufFile::GgufFile(const fs::path& path) : content_(std::make_unique<Content>()) {
  Content& content = *content_;
  content.path = path;
  const auto shard = parse_shard_name(path.filename().string());
  if (!shard) {
    content.files.emplace_back(path);
    content.header = read_shard(content.files.front(), content.tensors);
    if (const GgufValue* count = content.header.find("split.count");
        count != nullptr && integer_at(*count, 0).value_or(0) > 1)
      throw Error({.where = path.string(),
                   .found = "one shard of several",
                   .expected = "a name that ends in -00001-of-0000N.gguf",
                   .advice = "Give the shards their own names again."});
  } else {
    if (shard->count > kMaxShards)
      refuse_damaged(path.string(), fmt::format("{} shards", shard->count),
                     fmt::format("at most {}", kMaxShards));
    for (int i = 1; i <= shard->count; ++i) {
      content.files.emplace_back(path.parent_path() / shard_name(shard->stem, i, shard->count));
      GgufHeader header = read_shard(content.files.back(), content.tensors);
      if (i == 1) content.header = std::move(header);
    }
    if (const GgufValue* total = content.header.find("split.tensors.count"))
      if (const auto count = integer_at(*total, 0);
          !count || *count != static_cast<std::int64_t>(content.tensors.size()))
        refuse_damaged(path.string(), fmt::format("{} tensors in all shards", content.tensors.size()),
                       total->describe());
  }
  for (std::size_t i = 0; i < content.tensors.size(); ++i)
    if (!content.places.emplace(content.tensors[i].name, i).second)
      refuse_damaged(path.string(), "the tensor '" + content.tensors[i].name + "' twice");
  for (const auto& [key, value] : content.header.values)
    content.metadata.emplace(key, !value.is_array && value.type == GgufType::string
                                      ? std::string(text_of(value))
                                      : value.describe());
}

GgufFile::~GgufFile() = default;

const std::vector<TensorView>& GgufFile::tensors() const { return content_->tensors; }

const TensorView* GgufFile::find(const std::string& name) const {
  const auto found = content_->places.find(name);
  return found == content_->places.end() ? nullptr : &content_->tensors[found->second];
}

const std::map<std::string, std::string>& GgufFile::metadata() const { return content_->metadata; }
std::string GgufFile::where() const { return content_->path.string(); }
const std::vector<std::pair<std::string, GgufValue>>& GgufFile::values() const {
  return content_->header.values;
}
const GgufValue* GgufFile::find_value(const std::string& key) const { return content_->header.find(key); }

std::int64_t GgufFile::integer(const std::string& key) const {
  const GgufValue& value = content_->get(key, false);
  if (const auto result = integer_at(value, 0)) return *result;
  content_->mismatch(key, value, "an integer");
}

double GgufFile::number(const std::string& key) const {
  const GgufValue& value = content_->get(key, false);
  if (const auto result = number_at(value, 0)) return *result;
  content_->mismatch(key, value, "a number");
}

bool GgufFile::flag(const std::string& key) const {
  const GgufValue& value = content_->get(key, false);
  if (value.type != GgufType::boolean) content_->mismatch(key, value, "true or false");
  return value.bytes[0] != std::byte{0};
}

std::string GgufFile::text(const std::string& key) const {
  const GgufValue& value = content_->get(key, false);
  if (value.type != GgufType::string) content_->mismatch(key, value, "a string");
  return std::string(text_of(value));
}

std::vector<std::int64_t> GgufFile::integers(const std::string& key) const {
  const GgufValue& value = content_->get(key, true);
  if (!is_integer(value.type)) content_->mismatch(key, value, "integers");
  std::vector<std::int64_t> result;
  result.reserve(value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const auto item = integer_at(value, i);
    if (!item) content_->mismatch(key, value, "integers below 2^63");
    result.push_back(*item);
  }
  return result;
}

std::vector<double> GgufFile::numbers(const std::string& key) const {
  const GgufValue& value = content_->get(key, true);
  if (value.type == GgufType::string || value.type == GgufType::boolean)
    content_->mismatch(key, value, "numbers");
  std::vector<double> result;
  result.reserve(value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) result.push_back(*number_at(value, i));
  return result;
}

std::vector<std::string_view> GgufFile::texts(const std::string& key) const {
  const GgufValue& value = content_->get(key, true);
  if (value.type != GgufType::string) content_->mismatch(key, value, "strings");
  std::vector<std::string_view> result;
  result.reserve(value.count);
  const char* at = reinterpret_cast<const char*>(value.bytes.data());
  for (std::uint64_t i = 0; i < value.count; ++i) {
    std::uint64_t length;
    std::memcpy(&length, at, sizeof length);
    result.emplace_back(at + sizeof length, length);
    at += sizeof length + length;
  }
  return result;
}

std::string GgufValue::describe() const {
  if (is_array) return fmt::format("{} × {}", count, gguf_type_name(type));
  constexpr std::size_t kShown = 60;
  if (type == GgufType::string) {
    const std::string_view text = text_of(*this);
    return "\"" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "…\"" : "\"");
  }
  if (type == GgufType::boolean) return bytes[0] != std::byte{0} ? "true" : "false";
  if (const auto whole = integer_at(*this, 0)) return fmt::format("{}", *whole);
  if (type == GgufType::f32) return fmt::format("{}", element<float>(*this, 0));
  return fmt::format("{}", *number_at(*this, 0));
}

bool looks_like_gguf(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return false;
  if (path.extension() == ".gguf") return true;
  if (!fs::exists(path, ignored)) return false;
  const MappedFile file(path);
  return file.text().starts_with("GGUF");
}

}  // namespace retort
