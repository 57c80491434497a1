// Checkpoints: run/checkpoints/step-N/ with state.safetensors (masters and moments, fp32), best.safetensors
// (the best model so far) and state.json (step, data position, sums under way, what run it belongs to).
// Written beside, fsynced, renamed; the one before is deleted afterwards, so that a kill at any moment leaves
// one that is whole.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"

namespace retort {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// `tensors` by file stem ("state", "best"); any device, written as they are.
void write_checkpoint(const std::filesystem::path& run_folder, std::int64_t step, const Json& state,
                      const std::vector<std::pair<std::string, NamedTensors>>& tensors);

class Checkpoint {
 public:
  // The newest whole checkpoint of a run, if any.
  static std::optional<Checkpoint> newest(const std::filesystem::path& run_folder);

  std::int64_t step() const { return step_; }
  const Json& state() const { return state_; }
  const std::filesystem::path& path() const { return path_; }
  bool has(const std::string& stem) const;
  // Reads one file's tensors (copied out of the map).
  NamedTensors read(const std::string& stem) const;

 private:
  std::filesystem::path path_;
  std::int64_t step_ = 0;
  Json state_;
};

// A number of a checkpoint's state.json, where those that are not finite stand as null.
double number_of(const Json& value);

void delete_checkpoints(const std::filesystem::path& run_folder);

}  // namespace retort
