// Short training runs for the parity test: `training_tool FOLDER TEACHER|- REQUEST.json OUT.json` trains a
// model folder in fp32 on the request's batches (lists of sequences with their prompt's length) with its
// options and terms, and writes what every step logged. With "adapter" in the request only that folder's
// adapter learns; it is written to adapter/ beside OUT, the model to after/.
#include <fmt/format.h>

#include <cstdio>

#include "base/file.h"
#include "model/adapters/adapter.h"
#include "training/trainer.h"

namespace {

using namespace retort;

class GivenBatches : public BatchSource {
 public:
  explicit GivenBatches(const Json& batches) {
    for (const Json& sequences : batches) {
      Batch batch;
      for (const Json& sequence : sequences) {
        Example example;
        example.tokens = sequence.at("tokens").get<std::vector<TokenId>>();
        for (std::size_t i = 0; i < example.tokens.size(); ++i)
          example.is_target.push_back(i >= sequence.at("prompt").get<std::size_t>());
        example.weight = sequence.value("weight", 1.f);
        batch.append(example);
      }
      batches_.push_back(std::move(batch));
    }
  }
  std::optional<Batch> next() override { return batches_.at(place_++); }
  Json state() const override { return place_; }
  void restore(const Json& state) override { place_ = state.get<std::size_t>(); }

 private:
  std::vector<Batch> batches_;
  std::size_t place_ = 0;
};

class Log : public MetricsSink {
 public:
  explicit Log(Json& records) : records_(records) {}
  void write(std::int64_t step, const std::vector<Metric>& metrics) override {
    Json record = {{"step", step}};
    for (const auto& [name, value] : metrics) record[name] = value;
    records_.push_back(record);
  }

 private:
  Json& records_;
};

void run(const std::string& folder, const std::string& teacher_folder, const Json& request,
         const std::string& out) {
  CausalLM student(ModelFolder(folder), at::kCPU, at::kFloat);
  std::unique_ptr<CausalLM> teacher;
  if (teacher_folder != "-") {
    teacher = std::make_unique<CausalLM>(ModelFolder(teacher_folder), at::kCPU, at::kFloat);
    teacher->set_requires_grad(false);
  }
  const std::string adapter = request.value("adapter", "");
  std::optional<AdapterFolder> start;
  if (!adapter.empty()) {
    start.emplace(adapter);
    add_adapter(student, *start, 1, /*trainable=*/true);
  }
  GivenBatches source(request.at("batches"));
  Objective objective =
      make_objective(request.at("terms"), "terms",
                     {.student = &student.config(), .teacher = teacher ? &teacher->config() : nullptr});
  TrainerOptions options;
  OptionList list;
  options.visit(list);
  list.assign(request.at("options"), "options");
  options.save_seconds = 0;
  options.log_every = 1;
  Json records = Json::array();
  TrainerCallbacks callbacks;
  callbacks.open_sinks = [&](std::int64_t) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(std::make_unique<Log>(records));
    return sinks;
  };
  Trainer(options, std::filesystem::path(out).parent_path() / "run", "")
      .run(student, teacher.get(), source, objective, callbacks);
  write_json(out, records);
  if (!start) return;
  save_adapter(student, start->config, std::filesystem::path(out).parent_path() / "adapter");
  SaveModelOptions save;
  save.dtype = DType::f32;
  save_causal_lm(student, std::filesystem::path(out).parent_path() / "after", save);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: training_tool FOLDER TEACHER|- REQUEST.json OUT.json\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], retort::read_json(argv[3]), argv[4]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
