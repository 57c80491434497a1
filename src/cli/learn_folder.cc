#include "cli/learn_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "formats/trace_store.h"
#include "training/checkpoint.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

// What a run leaves in its folder; other files there are the user's.
void remove_run(const fs::path& out) {
  for (const char* name : {"model", "adapter", kLearnResult, "metrics.jsonl", "log.txt"})
    remove_tree(out / name);
  delete_checkpoints(out);
  if (!fs::is_directory(out)) return;
  std::vector<fs::path> events;
  for (const auto& entry : fs::directory_iterator(out))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) events.push_back(entry.path());
  for (const fs::path& path : events) remove_tree(path);
}

bool is_within(const fs::path& path, const fs::path& folder) {
  const fs::path inner = fs::weakly_canonical(path), outer = fs::weakly_canonical(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void save_model(const CausalLM& student, const LearnOptions& options) {
  AtomicFolder target(fs::path(options.out) / "model", /*replace=*/true);
  DType dtype = stored_dtype(student.dtype());
  if (options.save_dtype != "auto")
    dtype = options.save_dtype == "fp32"   ? DType::f32
            : options.save_dtype == "fp16" ? DType::f16
                                           : DType::bf16;
  save_causal_lm(student, target.path(),
                 {.dtype = dtype,
                  .max_shard_bytes = 0,
                  .tokenizer_from = options.model.empty() ? options.tokenizer : options.model});
  target.commit();
}

}  // namespace

std::string learn_fingerprint(const LearnOptions& options, bool distill) {
  LearnOptions copy = options;
  OptionList list;
  copy.visit(list, distill);
  Json values = list.to_json();
  for (const char* key : {"out", "overwrite", "save_seconds", "threads", "device"}) values.erase(key);
  std::string text = values.dump();
  std::vector<std::string> inputs = options.data.data;
  inputs.insert(inputs.end(), options.data.validation.begin(), options.data.validation.end());
  for (const std::string& path : {options.model, options.tokenizer, options.teacher})
    if (!path.empty()) inputs.push_back(path);
  for (const std::string& path : options.nested_inputs()) inputs.push_back(path);
  if (!options.traces.empty()) text += "\n" + TraceStore(options.traces).manifest().to_json().dump();
  for (const std::string& path : inputs) text += "\n" + hash_path(path);
  return hash_text(text + options.compute.describe().at("precision").dump());
}

bool already_done(const LearnOptions& options, const std::string& fingerprint) {
  const fs::path out = options.out, result = out / kLearnResult,
                 model = out / options.adapter.result_folder();
  if (fs::exists(out) && !fs::is_directory(out))
    throw Error({.where = options.out, .found = "a file", .expected = "a folder", .advice = ""});
  std::vector<std::string> inputs = options.nested_inputs();
  inputs.insert(inputs.end(), {options.model, options.tokenizer, options.teacher});
  for (const std::string& input : inputs)
    if (!input.empty() && is_within(input, model))
      throw Error({.where = options.out,
                   .found = input + ", which this run reads, where it would write its model",
                   .expected = "a folder of its own",
                   .advice = "Choose another out."});
  std::string found;  // that is not this run's
  if (fs::exists(result)) {
    const bool same = read_json(result).value("fingerprint", "") == fingerprint;
    if (same && fs::exists(model) && !options.overwrite) return true;
    if (!same || options.overwrite) found = "a finished run with other options, data or models";
  } else if (const auto checkpoint = Checkpoint::newest(out)) {
    if (checkpoint->state().value("fingerprint", "") != fingerprint)
      found = fmt::format("a run stopped at step {}, with other options, data or models", checkpoint->step());
  } else if (fs::exists(model)) {  // a run writes its result before its model
    found = "a model that no run has written";
  }
  if (found.empty()) return false;
  if (!options.overwrite)
    throw Error({.where = options.out,
                 .found = found,
                 .expected = "a new folder",
                 .advice = "Choose another out, or add --overwrite."});
  remove_run(out);
  return false;
}

void save_result(const CausalLM& student, const LearnOptions& options) {
  if (options.adapter.on())
    options.adapter.save(student, options.model, fs::path(options.out) / options.adapter.result_folder());
  else
    save_model(student, options);
}

}  // namespace retort
