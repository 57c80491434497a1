#include "cli/learn_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/trace_key.h"
#include "model/blocks/encoded_weight.h"
#include "training/validation.h"

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

// In options.teacher_encoding where that keeps its distribution. A single teacher may have a tokenizer of its
// own: see open_reading.
std::shared_ptr<CausalLM> open_teacher(const LearnOptions& options, const std::string& folder,
                                       const std::string& where, const Tokenizer& tokenizer, bool single,
                                       const std::function<std::vector<Batch>()>& sample) {
  const bool compared = options.teacher_encoding != "none";
  if ((!single || compared) && open_tokenizer(folder)->fingerprint() != tokenizer.fingerprint())
    throw Error({.where = where,
                 .found = folder + ", whose tokenizer differs from the student's",
                 .expected = compared ? "one tokenizer for both, to compare the encoded teacher"
                                      : "one tokenizer for all: only a single teacher may have its own",
                 .advice = ""});
  const ModelFolder files(folder);
  const at::Device device = options.compute.torch_device();
  auto teacher = std::make_shared<CausalLM>(files, device, options.compute.dtype());
  teacher->set_requires_grad(false);
  if (!compared) return teacher;
  const FrozenBase base{.encoding = &find_weight_encoding(options.teacher_encoding, "teacher_encoding")};
  auto encoded = std::make_shared<CausalLM>(files, device, options.compute.dtype(), base);
  encoded->set_requires_grad(false);
  const double kl = mean_kl(*encoded, *teacher, sample());
  const bool close = kl <= options.teacher_kl_limit;
  log_info(
      "{} in {}: {:.2g} nats per token from itself in the run's precision{}.", folder,
      options.teacher_encoding, kl,
      close ? "" : fmt::format(", above teacher_kl_limit {}: it is used as it is", options.teacher_kl_limit));
  return close ? encoded : teacher;
}

struct TeacherItem {
  std::string model;
  std::vector<double> weights = {1};
  double average = 0;
  std::optional<double> up_to;
};

TeacherItem read_teacher(const Json& json, const std::string& where) {
  TeacherItem item;
  Json weight = 1, up_to;
  OptionList list;
  list.add("model", item.model, "");
  list.add("weight", weight, "");
  list.add("average", item.average, "");
  list.add("up_to", up_to, "");
  list.assign(json, where);
  if (item.model.empty() == (item.average == 0))
    throw Error({.where = where,
                 .found = item.model.empty() ? "no model" : "a model and an average",
                 .expected = "a model's folder, or the average of the student (0.999)",
                 .advice = ""});
  if (!(item.average >= 0 && item.average < 1))
    throw Error({.where = where + ": average",
                 .found = Json(item.average).dump(),
                 .expected = "above 0 and below 1",
                 .advice = ""});
  item.weights.clear();
  for (const Json& value : weight.is_array() ? weight : Json::array({weight})) {
    if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>()))
      throw Error({.where = where + ": weight",
                   .found = weight.dump(),
                   .expected = "a number of at least 0, or a list of them, one for each data file",
                   .advice = ""});
    item.weights.push_back(value.get<double>());
  }
  if (up_to.is_number()) item.up_to = up_to.get<double>();
  return item;
}

double required_up_to(const TeacherItem& item, const std::string& where) {
  if (!item.up_to)
    throw Error({.where = where + ": up_to",
                 .found = "nothing",
                 .expected = "the greatest difficulty of what this teacher gets, for all but the last",
                 .advice = ""});
  return *item.up_to;
}

// Every data file must have a teacher.
void check_weights(const std::vector<Teacher>& teachers) {
  std::size_t files = 1;
  for (const Teacher& teacher : teachers) files = std::max(files, teacher.weights.size());
  for (std::size_t file = 0; file < files; ++file) {
    double sum = 0;
    for (const Teacher& teacher : teachers)
      sum += teacher.weights.size() == 1     ? teacher.weights.front()
             : file < teacher.weights.size() ? teacher.weights[file]
                                             : 0;
    if (!(sum > 0))
      throw Error({.where = "teachers: weight",
                   .found = fmt::format("weights that sum to {} for data file {}", sum, file + 1),
                   .expected = "more than 0",
                   .advice = ""});
  }
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

std::unique_ptr<Teachers> open_teachers(const LearnOptions& options, const Tokenizer& tokenizer,
                                        const std::function<std::vector<Batch>()>& sample) {
  if (!options.teacher.empty())
    return std::make_unique<Teachers>(std::vector<Teacher>{
        {.model = open_teacher(options, options.teacher, "teacher", tokenizer, /*single=*/true, sample)}});
  if (options.teachers.is_null()) return nullptr;
  if (!options.teachers.is_array() || options.teachers.empty())
    throw Error({.where = "teachers",
                 .found = options.teachers.is_array() ? "an empty list" : options.teachers.dump(),
                 .expected = "a list such as [{model: DIR, weight: 0.7}, {model: DIR, weight: 0.3}]",
                 .advice = ""});
  const bool chosen = options.teachers_by == "prompt_length" || options.teachers_by == "student_loss";
  std::vector<Teacher> teachers;
  for (std::size_t i = 0; i < options.teachers.size(); ++i) {
    const std::string where = fmt::format("teachers[{}]", i);
    const TeacherItem item = read_teacher(options.teachers[i], where);
    Teacher teacher{.model = nullptr, .weights = item.weights, .average = item.average};
    if (chosen && i + 1 < options.teachers.size()) teacher.up_to = required_up_to(item, where);
    if (item.average > 0) {
      auto copy = std::make_shared<CausalLM>(make_student(options, tokenizer));
      options.adapter.apply(*copy, static_cast<std::uint64_t>(options.trainer.seed));
      copy->set_requires_grad(false);
      teacher.model = std::move(copy);
    } else {
      teacher.model =
          open_teacher(options, item.model, where + ": model", tokenizer, /*single=*/false, sample);
    }
    teachers.push_back(std::move(teacher));
  }
  check_weights(teachers);
  static const std::map<std::string, TeacherChoice> choices = {
      {"weight", TeacherChoice::weight},
      {"confidence", TeacherChoice::confidence},
      {"entropy", TeacherChoice::entropy},
      {"prompt_length", TeacherChoice::prompt_length},
      {"student_loss", TeacherChoice::student_loss}};
  return std::make_unique<Teachers>(std::move(teachers), choices.at(options.teachers_by));
}

void require_traces(const TraceStore& store, const ExampleStore& examples, const std::string& where) {
  std::int64_t missing = 0;
  for (std::int64_t i = 0; i < examples.size(); ++i) missing += !store.targets(trace_key(examples.get(i)));
  if (missing == 0) return;
  throw Error({.where = where,
               .found = fmt::format("no traces of {} of the {} training examples", missing, examples.size()),
               .expected = "all",
               .advice = "Run `retort trace` with the same data, max_length and --out " +
                         store.folder().string() + ": it records what is missing."});
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
  require_traces(*store, examples, "traces");
  return store;
}

std::shared_ptr<TeacherReading> open_reading(const LearnOptions& options, const Tokenizer& tokenizer,
                                             const CausalLM& student, const CausalLM& teacher,
                                             const ExampleStore& examples) {
  const auto own = open_tokenizer(options.teacher);
  if (own->fingerprint() == tokenizer.fingerprint()) return nullptr;
  const auto chat_template = open_chat_template(options.teacher);
  const auto& ends = teacher.config().eos_token_ids;
  DatasetOptions data = options.data;
  data.max_length = teacher.config().max_position_embeddings;
  for (const std::string& file : options.stage_files())
    if (std::find(data.data.begin(), data.data.end(), file) == data.data.end()) data.data.push_back(file);
  const auto texts = [](const Tokenizer& of, const CausalLM& model) {
    if (of.vocab_size() > model.config().vocab_size)
      throw Error({.where = "teacher and student: vocab_size",
                   .found = std::to_string(model.config().vocab_size),
                   .expected = fmt::format("at least the tokenizer's {}", of.vocab_size()),
                   .advice = ""});
    return token_texts(of, model.config().eos_token_ids);
  };
  auto reading = std::make_shared<TeacherReading>(
      teacher, texts(tokenizer, student), texts(*own, teacher),
      load_dataset(data, *own, chat_template.get(),
                   ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()))
          .train);
  const std::int64_t aligned = reading->aligned(examples);
  log_info(
      "The teacher reads with a tokenizer of its own: {} of {} tokens are in both vocabularies, {} of {} "
      "examples have the same answers to both.",
      reading->shared().size(), reading->student_vocab(), aligned, examples.size());
  if (aligned == 0)
    throw Error({.where = "teacher",
                 .found = fmt::format("none of {} examples with the same answers to it", examples.size()),
                 .expected = "answers that both models' chat templates write",
                 .advice = ""});
  return reading;
}

}  // namespace retort
