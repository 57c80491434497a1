// Reading safetensors. The header is parsed by events into TensorViews: a document tree of a hostile 100 MB
// header would take gigabytes, and a tree silently keeps the last of two equal names.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "formats/damaged_file.h"
#include "formats/safetensors.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors are little-endian and mapped as they are");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kMaxDimensions = 16;
constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

struct HeaderEntry {
  TensorView view;
  std::uint64_t begin = 0, end = 0;  // from the start of the data
};

// nlohmann's event interface. Levels: 0 outside, 1 among names, 2 inside a tensor or __metadata__.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderParser(const std::string& where) : where_(where) {}

  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(double, const std::string& text) override { unexpected("the number " + text); }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_integer(std::int64_t value) override { unexpected(fmt::format("the number {}", value)); }

  bool number_unsigned(std::uint64_t value) override {
    if (list_ == List::shape) {
      if (value > INT64_MAX) unexpected(fmt::format("the number {}", value));
      if (entries.back().view.shape.size() == kMaxDimensions)
        refuse_damaged(place(), fmt::format("more than {} dimensions", kMaxDimensions));
      entries.back().view.shape.push_back(static_cast<std::int64_t>(value));
    } else if (list_ == List::offsets) {
      if (offsets_ == 2) refuse_damaged(place(), "more than two offsets");
      (offsets_ == 0 ? entries.back().begin : entries.back().end) = value;
      ++offsets_;
    } else {
      unexpected(fmt::format("the number {}", value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (level_ == 2 && in_metadata_) {
      if (!metadata.emplace(key_, value).second) refuse_damaged(place(), "the key twice");
    } else if (level_ == 2 && key_ == "dtype" && list_ == List::none) {
      const auto type = parse_dtype(value);
      if (!type)
        throw Error({.where = place(),
                     .found = "'" + value + "'",
                     .expected = "F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL",
                     .advice = ""});
      entries.back().view.dtype = *type;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (level_ == 2 || list_ != List::none) unexpected("an object");
    if (++level_ < 2) return true;
    in_metadata_ = name_ == "__metadata__";
    fields_ = {};
    offsets_ = 0;
    if (!in_metadata_) {
      entries.emplace_back();
      entries.back().view.name = name_;
    }
    return true;
  }

  bool key(std::string& value) override {
    if (level_ == 1) {
      if (!names_.insert(value).second) refuse_damaged(where_, "the name '" + value + "' twice");
      name_ = value;
      key_.clear();
      return true;
    }
    key_ = value;
    if (in_metadata_) return true;
    const auto field = std::find(kFields.begin(), kFields.end(), value);
    if (field == kFields.end()) refuse_damaged(place(), "an unknown key", "dtype, shape and data_offsets");
    if (std::exchange(fields_[static_cast<std::size_t>(field - kFields.begin())], true))
      refuse_damaged(place(), "the key twice");
    return true;
  }

  bool end_object() override {
    if (level_-- == 2 && !in_metadata_) {
      for (std::size_t i = 0; i < kFields.size(); ++i)
        if (!fields_[i]) refuse_damaged(where_ + ": " + name_, fmt::format("no {}", kFields[i]));
      if (offsets_ != 2) refuse_damaged(where_ + ": " + name_, fmt::format("{} offsets", offsets_), "two");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (level_ != 2 || in_metadata_ || list_ != List::none || key_ == "dtype") unexpected("a list");
    list_ = key_ == "shape" ? List::shape : List::offsets;
    return true;
  }

  bool end_array() override {
    list_ = List::none;
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) override {
    refuse_damaged(where_, fmt::format("a header that is not JSON at its byte {}", byte));
  }

 private:
  enum class List { none, shape, offsets };
  static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};

  std::string place() const {
    return where_ + (name_.empty() ? "" : ": " + name_) + (key_.empty() ? "" : ": " + key_);
  }
  [[noreturn]] void unexpected(const std::string& what) {
    refuse_damaged(place(), what, "a safetensors header");
  }

  const std::string& where_;
  int level_ = 0;
  bool in_metadata_ = false;
  List list_ = List::none;
  int offsets_ = 0;
  std::array<bool, 3> fields_ = {};
  std::string name_, key_;
  std::unordered_set<std::string> names_;
};

// Bytes of shape × dtype, or an Error when the product leaves 64 bits.
std::uint64_t checked_size(const TensorView& view, const std::string& where) {
  std::uint64_t size = dtype_size(view.dtype);
  bool overflow = false;
  for (const std::int64_t extent : view.shape)
    overflow |= __builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size);
  if (overflow || size > INT64_MAX) refuse_damaged(where + ": " + view.name, "a shape whose size overflows");
  return size;
}

// The tensors of one file, in file order; they view `file`.
std::vector<TensorView> read_header(const MappedFile& file, std::map<std::string, std::string>& metadata) {
  const std::string where = file.path().string();
  const std::span<const std::byte> bytes = file.bytes();
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size)
    refuse_damaged(where, fmt::format("{} bytes", bytes.size()), "a safetensors file");
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > kMaxHeaderBytes)
    refuse_damaged(where, fmt::format("a header of {} bytes", header_size),
                   fmt::format("at most {}", kMaxHeaderBytes));
  if (header_size > bytes.size() - sizeof header_size)
    refuse_damaged(where, fmt::format("{} bytes", bytes.size()),
                   fmt::format("a header of {} bytes", header_size));

  HeaderParser parser(where);
  const std::string_view header = file.text().substr(sizeof header_size, header_size);
  if (header.empty() || header.front() != '{') refuse_damaged(where, "a header that does not begin with '{'");
  nlohmann::json::sax_parse(header.begin(), header.end(), &parser);

  const std::span<const std::byte> data = bytes.subspan(sizeof header_size + header_size);
  std::stable_sort(parser.entries.begin(), parser.entries.end(),
                   [](const HeaderEntry& a, const HeaderEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  std::vector<TensorView> views;
  views.reserve(parser.entries.size());
  std::uint64_t at = 0;
  for (HeaderEntry& entry : parser.entries) {
    const std::string place = where + ": " + entry.view.name;
    const std::uint64_t size = checked_size(entry.view, where);
    if (entry.end < entry.begin || entry.end > data.size())
      refuse_damaged(place, fmt::format("data_offsets [{}, {}]", entry.begin, entry.end),
                     fmt::format("offsets in the {} bytes of data", data.size()));
    if (entry.end - entry.begin != size)
      refuse_damaged(place, fmt::format("{} bytes", entry.end - entry.begin),
                     fmt::format("{} for {}", size, entry.view.describe()));
    if (entry.begin != at)
      refuse_damaged(place, fmt::format("data from byte {}", entry.begin),
                     fmt::format("byte {}: tensors follow each other without overlaps or holes", at));
    at = entry.end;
    entry.view.bytes = data.subspan(entry.begin, size);
    views.push_back(std::move(entry.view));
  }
  if (at != data.size())
    refuse_damaged(where, fmt::format("{} bytes of data", data.size()),
                   fmt::format("{}, the end of the last tensor", at));
  metadata.merge(parser.metadata);
  return views;
}

class SafetensorsSource : public TensorSource {
 public:
  explicit SafetensorsSource(std::string where) : where_(std::move(where)) {}

  void add(MappedFile file) {
    std::vector<TensorView> views = read_header(file, metadata_);
    for (TensorView& view : views) {
      if (!index_.emplace(view.name, tensors_.size()).second)
        refuse_damaged(file.path().string(), "the tensor '" + view.name + "', which another shard holds too");
      tensors_.push_back(std::move(view));
    }
    files_.push_back(std::move(file));
  }

  const std::vector<TensorView>& tensors() const override { return tensors_; }
  const TensorView* find(const std::string& name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string where() const override { return where_; }

 private:
  std::string where_;
  std::vector<MappedFile> files_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// weight_map of an index file. A tree with sorted keys, because the ordered one compares each key with all
// before it.
std::map<std::string, std::string> read_weight_map(const fs::path& path) {
  const std::string where = path.string();
  const MappedFile file(path);
  if (file.bytes().size() > kMaxHeaderBytes)
    refuse_damaged(where, fmt::format("{} bytes", file.bytes().size()),
                   fmt::format("at most {}", kMaxHeaderBytes));
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      refuse_damaged(where, "the key '" + parsed.get<std::string>() + "' twice");
    if (keys.size() > 4) refuse_damaged(where, "objects nested too deeply");
    return true;
  };
  nlohmann::json index;
  try {
    index = nlohmann::json::parse(file.text(), check);
  } catch (const nlohmann::json::exception& error) {
    refuse_damaged(where, "JSON that cannot be parsed");
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    refuse_damaged(where, "no weight_map");
  std::map<std::string, std::string> weight_map;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) refuse_damaged(where + ": " + name, shard.type_name(), "a file name");
    weight_map.emplace(name, shard.get<std::string>());
  }
  return weight_map;
}

void check_shard_name(const std::string& shard, const std::string& where) {
  constexpr std::size_t kLongestName = 255;  // that file systems take
  const bool plain = !shard.empty() && shard.size() <= kLongestName && shard != "." && shard != ".." &&
                     shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain)
    throw Error({.where = where,
                 .found = "the shard '" + shard.substr(0, kLongestName) + "'",
                 .expected = "the name of a file in the same folder",
                 .advice = "Do not use this model: its index points outside of its folder, or to what no "
                           "file can be called."});
}

std::unique_ptr<TensorSource> open_index(const fs::path& path) {
  const std::string where = path.string();
  const std::map<std::string, std::string> weight_map = read_weight_map(path);
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map)
    if (shards.insert(shard).second) check_shard_name(shard, where);
  auto source = std::make_unique<SafetensorsSource>(where);
  for (const std::string& shard : shards) {
    const fs::path file = path.parent_path() / shard;
    if (!fs::exists(file))
      throw Error({.where = where,
                   .found = "no file '" + shard + "', which it names",
                   .expected = "",
                   .advice = "The download is incomplete; fetch the missing shard."});
    const std::size_t before = source->tensors().size();
    source->add(MappedFile(file));
    for (std::size_t i = before; i < source->tensors().size(); ++i) {
      const std::string& name = source->tensors()[i].name;
      const auto entry = weight_map.find(name);
      if (entry == weight_map.end() || entry->second != shard)
        refuse_damaged(where, "nothing for '" + name + "'", "its shard " + shard);
    }
  }
  for (const auto& [name, shard] : weight_map)
    if (source->find(name) == nullptr)
      refuse_damaged(where, "the tensor '" + name + "'", shard + " to hold it");
  return source;
}

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(const fs::path& path) {
  if (fs::is_directory(path)) {
    if (fs::exists(path / kSingleName)) return open_safetensors(path / kSingleName);
    if (fs::exists(path / kIndexName)) return open_index(path / kIndexName);
    throw Error({.where = path.string(),
                 .found = fs::exists(path / "pytorch_model.bin") ? "pytorch_model.bin" : "no weights",
                 .expected = fmt::format("{} or {}", kSingleName, kIndexName),
                 .advice = "Save the model as safetensors first (transformers: save_pretrained)."});
  }
  if (path.extension() == ".json") return open_index(path);
  auto source = std::make_unique<SafetensorsSource>(path.string());
  source->add(MappedFile(path));
  return source;
}

}  // namespace retort
