#include "cli/learn_models.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "data/trace_key.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

// The token that tokenizer_config.json says ends an answer.
std::optional<TokenId> end_token(const fs::path& folder, const Tokenizer& tokenizer) {
  const fs::path file = folder / "tokenizer_config.json";
  if (!fs::exists(file)) return std::nullopt;
  const Json name = read_json(file).value("eos_token", Json());
  if (name.is_string()) return tokenizer.token_id(name.get<std::string>());
  return name.is_object() ? tokenizer.token_id(name.value("content", "")) : std::nullopt;
}

}  // namespace

fs::path tokenizer_folder(const LearnOptions& options) {
  return options.model.empty() ? options.tokenizer : options.model;
}

CausalLM make_student(const LearnOptions& options, const Tokenizer& tokenizer) {
  const at::Device device = options.compute.torch_device();
  if (!options.model.empty()) {
    const ModelFolder folder(options.model);
    return CausalLM(folder, device, options.compute.dtype(), options.adapter.frozen_base(folder.config()));
  }
  Json config = options.config;
  if (!config.contains("vocab_size")) config["vocab_size"] = tokenizer.vocab_size();
  if (!config.contains("eos_token_id"))
    if (const auto end = end_token(options.tokenizer, tokenizer)) config["eos_token_id"] = *end;
  const std::string where = "config";
  ModelConfig parsed =
      find_family(json_get<std::string>(config, "model_type", where), where).parse(config, where);
  check_config(parsed, where);
  if (parsed.vocab_size < tokenizer.vocab_size())
    throw Error({.where = "config: vocab_size",
                 .found = std::to_string(parsed.vocab_size),
                 .expected = fmt::format("at least the tokenizer's {}", tokenizer.vocab_size()),
                 .advice = ""});
  return CausalLM(std::move(parsed), device, options.compute.dtype(),
                  static_cast<std::uint64_t>(options.trainer.seed));
}

std::unique_ptr<CausalLM> open_teacher(const LearnOptions& options, const Tokenizer& tokenizer) {
  if (open_tokenizer(options.teacher)->fingerprint() != tokenizer.fingerprint())
    throw Error({.where = "teacher",
                 .found = options.teacher + ", whose tokenizer differs from the student's",
                 .expected = "one tokenizer for both",
                 .advice = "Cut the student out of this teacher (retort shrink), or start it with the "
                           "teacher's tokenizer."});
  auto teacher = std::make_unique<CausalLM>(ModelFolder(options.teacher), options.compute.torch_device(),
                                            options.compute.dtype());
  teacher->set_requires_grad(false);
  return teacher;
}

std::shared_ptr<const TraceStore> open_traces(const LearnOptions& options, const Tokenizer& tokenizer,
                                              const ExampleStore& examples) {
  if (options.traces.empty()) return nullptr;
  auto store = std::make_shared<const TraceStore>(options.traces);
  if (store->manifest().tokenizer != tokenizer.fingerprint())
    throw Error({.where = "traces",
                 .found = options.traces + ", whose teacher has another tokenizer than the student",
                 .expected = "one tokenizer for both",
                 .advice = ""});
  if (!options.teacher.empty() && store->manifest().teacher != hash_path(options.teacher))
    throw Error({.where = "traces",
                 .found = options.traces + ", recorded of another teacher",
                 .expected = "traces of " + options.teacher,
                 .advice = "Record them with `retort trace`, or leave out one of the two."});
  std::int64_t missing = 0;
  for (std::int64_t i = 0; i < examples.size(); ++i) missing += !store->targets(trace_key(examples.get(i)));
  if (missing > 0)
    throw Error({.where = "traces",
                 .found = fmt::format("none of {} of the {} training examples", missing, examples.size()),
                 .expected = "all",
                 .advice = "Run `retort trace` with the same data, max_length and --out " + options.traces +
                           ": it records what is missing."});
  return store;
}

}  // namespace retort
