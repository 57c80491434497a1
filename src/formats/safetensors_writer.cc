// Writing safetensors: one file, or shards of a folder with their index.
#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kAlignment = 8;

std::uint64_t byte_size(const TensorView& tensor) {
  return static_cast<std::uint64_t>(tensor.element_count()) * dtype_size(tensor.dtype);
}

// Caller's mistakes: an unreadable file must not come into being.
void check_safetensors(const fs::path& path, std::span<const TensorView> tensors, bool own_bytes) {
  std::unordered_set<std::string_view> names;
  for (const TensorView& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__" || !names.insert(tensor.name).second)
      throw Error({.where = path.string(),
                   .found = "the tensor name '" + tensor.name + "'",
                   .expected = "names that are unique, not empty and not __metadata__",
                   .advice = ""},
                  ErrorKind::failure);
    if (tensor.encoding != nullptr)
      throw Error({.where = path.string() + ": " + tensor.describe(),
                   .found = "encoded weights",
                   .expected = "plain elements",
                   .advice = "safetensors holds no blocks; write a GGUF file."},
                  ErrorKind::failure);
    if (own_bytes && tensor.bytes.size() != byte_size(tensor))
      throw Error({.where = path.string() + ": " + tensor.describe(),
                   .found = fmt::format("{} bytes", tensor.bytes.size()),
                   .expected = fmt::format("{}", byte_size(tensor)),
                   .advice = ""},
                  ErrorKind::failure);
  }
}

// Header text for tensors in this order. Written by hand because a JSON tree with ordered keys is quadratic
// in their number.
std::string make_header(std::span<const TensorView* const> tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::uint64_t at = 0;
  for (const TensorView* tensor : tensors) {
    const std::uint64_t end = at + byte_size(*tensor);
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        text.size() > 1 ? "," : "", Json(tensor->name).dump(), dtype_name(tensor->dtype),
                        Json(tensor->shape).dump(), at, end);
    at = end;
  }
  text += "}";
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

void write_file(const fs::path& path, std::span<const TensorView* const> tensors,
                const SafetensorsOptions& options, const TensorBytes& bytes) {
  std::vector<const TensorView*> order(tensors.begin(), tensors.end());
  std::stable_sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    return dtype_size(a->dtype) > dtype_size(b->dtype);
  });
  const std::string header = make_header(order, options.metadata);
  const std::uint64_t header_size = header.size();
  AtomicFile file(path);
  file.write(&header_size, sizeof header_size);
  file.write(header);
  for (const TensorView* tensor : order) {
    if (!bytes) {
      file.write(tensor->bytes.data(), tensor->bytes.size());
      continue;
    }
    const std::vector<std::byte> made = bytes(*tensor);
    if (made.size() != byte_size(*tensor))
      throw Error({.where = path.string() + ": " + tensor->describe(),
                   .found = fmt::format("{} bytes", made.size()),
                   .expected = fmt::format("{}", byte_size(*tensor)),
                   .advice = ""},
                  ErrorKind::failure);
    file.write(made.data(), made.size());
  }
  file.commit();
}

using Shard = std::vector<const TensorView*>;

// In order, as many tensors as fit; one that is larger than a shard gets its own.
std::vector<Shard> safetensors_shards(std::span<const TensorView> tensors, std::uint64_t max_shard_bytes) {
  std::vector<Shard> shards(1);
  std::uint64_t size = 0;
  for (const TensorView& tensor : tensors) {
    if (max_shard_bytes > 0 && !shards.back().empty() && size + byte_size(tensor) > max_shard_bytes) {
      shards.emplace_back();
      size = 0;
    }
    shards.back().push_back(&tensor);
    size += byte_size(tensor);
  }
  return shards;
}

// Weights of an earlier save would be read in place of, or beside, the new ones.
void remove_others(const fs::path& folder, const std::unordered_set<std::string>& written) {
  static const std::regex pattern(R"(model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?)");
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!written.contains(name) && std::regex_match(name, pattern)) fs::remove(entry.path());
  }
}

}  // namespace

void write_safetensors(const fs::path& path, std::span<const TensorView> tensors,
                       const SafetensorsOptions& options, const TensorBytes& bytes) {
  check_safetensors(path, tensors, !bytes);
  Shard all;
  for (const TensorView& tensor : tensors) all.push_back(&tensor);
  write_file(path, all, options, bytes);
}

void write_safetensors_folder(const fs::path& folder, std::span<const TensorView> tensors,
                              const SafetensorsOptions& options, const TensorBytes& bytes) {
  check_safetensors(folder, tensors, !bytes);
  const std::vector<Shard> shards = safetensors_shards(tensors, options.max_shard_bytes);
  std::unordered_set<std::string> written;
  if (shards.size() == 1) {
    written.insert("model.safetensors");
    write_file(folder / "model.safetensors", shards.front(), options, bytes);
  } else {
    nlohmann::json weight_map = nlohmann::json::object();  // sorted keys
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      write_file(folder / name, shards[i], options, bytes);
      written.insert(name);
      for (const TensorView* tensor : shards[i]) {
        weight_map[tensor->name] = name;
        total += byte_size(*tensor);
      }
    }
    nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(weight_map)}};
    write_file_atomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
    written.insert("model.safetensors.index.json");
  }
  remove_others(folder, written);
}

}  // namespace retort
