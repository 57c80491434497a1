#include "training/checkpoint.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFolder = "checkpoints";

DType stored_type(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return DType::bf16;
    case at::kHalf:
      return DType::f16;
    case at::kDouble:
      return DType::f64;
    case at::kLong:
      return DType::i64;
    default:
      return DType::f32;
  }
}

at::ScalarType torch_type(DType type, const std::string& where) {
  switch (type) {
    case DType::bf16:
      return at::kBFloat16;
    case DType::f16:
      return at::kHalf;
    case DType::f32:
      return at::kFloat;
    case DType::f64:
      return at::kDouble;
    case DType::i64:
      return at::kLong;
    default:
      throw Error({.where = where,
                   .found = std::string(dtype_name(type)),
                   .expected = "a checkpoint's tensor",
                   .advice = ""});
  }
}

// step-N folders, newest first.
std::vector<std::pair<std::int64_t, fs::path>> list(const fs::path& run_folder) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  const fs::path folder = run_folder / kFolder;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("step-", 0) != 0 || name.find_first_not_of("0123456789", 5) != std::string::npos ||
        name.size() > 20)
      continue;
    found.emplace_back(std::stoll(name.substr(5)), entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

}  // namespace

void write_checkpoint(const fs::path& run_folder, std::int64_t step, const Json& state,
                      const std::vector<std::pair<std::string, NamedTensors>>& tensors) {
  const fs::path target = run_folder / kFolder / ("step-" + std::to_string(step));
  {
    AtomicFolder folder(target, /*replace=*/true);
    for (const auto& [stem, named] : tensors) {
      NamedTensors host;  // keeps the bytes alive while they are written
      std::vector<TensorView> views;
      for (const auto& [name, tensor] : named) {
        host.emplace_back(name, tensor.detach().to(at::kCPU).contiguous());
        const at::Tensor& t = host.back().second;
        views.push_back({name,
                         stored_type(t.scalar_type()),
                         t.sizes().vec(),
                         {static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()}});
      }
      write_safetensors(folder.path() / (stem + ".safetensors"), views);
    }
    write_json(folder.path() / "state.json", state);
    folder.commit();
  }
  for (const auto& [other, path] : list(run_folder))
    if (other != step) remove_tree(path);
}

std::optional<Checkpoint> Checkpoint::newest(const fs::path& run_folder) {
  for (const auto& [step, path] : list(run_folder)) {
    if (!fs::exists(path / "state.json")) continue;  // written last: the folder is not whole
    Checkpoint checkpoint;
    checkpoint.step_ = step;
    checkpoint.path_ = path;
    checkpoint.state_ = read_json(path / "state.json");
    return checkpoint;
  }
  return std::nullopt;
}

bool Checkpoint::has(const std::string& stem) const { return fs::exists(path_ / (stem + ".safetensors")); }

NamedTensors Checkpoint::read(const std::string& stem) const {
  const auto source = open_safetensors(path_ / (stem + ".safetensors"));
  NamedTensors result;
  for (const TensorView& view : source->tensors()) {
    at::Tensor tensor = at::empty(view.shape, torch_type(view.dtype, source->where()));
    std::copy(view.bytes.begin(), view.bytes.end(), static_cast<std::byte*>(tensor.mutable_data_ptr()));
    result.emplace_back(view.name, std::move(tensor));
  }
  return result;
}

double number_of(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

void delete_checkpoints(const fs::path& run_folder) { remove_tree(run_folder / kFolder); }

}  // namespace retort
