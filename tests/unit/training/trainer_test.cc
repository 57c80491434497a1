// The loop itself, with a tiny model: what is kept, what a checkpoint holds, when it stops.
#include "training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "base/error.h"
#include "base/interrupt.h"
#include "support/temporary_folder.h"
#include "training/checkpoint.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

// Endless batches made from a counter.
class CountedBatches : public BatchSource {
 public:
  std::optional<Batch> next() override {
    ++place_;
    return make_batch({random_tokens(13, 2 * place_), random_tokens(7, 2 * place_ + 1)});
  }
  Json state() const override { return place_; }
  void restore(const Json& state) override { place_ = state.get<std::uint64_t>(); }

 private:
  std::uint64_t place_ = 0;
};

Objective cross_entropy() { return make_objective(Json::parse(R"([{"name": "cross_entropy"}])"), "terms"); }

TrainerOptions options(std::int64_t steps) {
  TrainerOptions options;
  options.steps = steps;
  options.learning_rate = 3e-3;
  options.dropout = 0.1;
  options.save_seconds = 0;
  options.log_every = 3;
  return options;
}

// What a user's Ctrl-C does.
void request_interrupt() {
  install_interrupt_handler();
  std::raise(SIGINT);
}

CausalLM tiny() { return CausalLM(tiny_llama(), at::kCPU, at::kFloat, 1); }

bool same_weights(const CausalLM& a, const CausalLM& b) {
  for (std::size_t i = 0; i < a.parameters().size(); ++i)
    if (!at::equal(a.parameters()[i].tensor, b.parameters()[i].tensor)) return false;
  return true;
}

TEST(Trainer, KeepsTheBestModelNotTheLast) {
  const TemporaryFolder folder;
  TrainerOptions with = options(9);
  with.validate_every = 3;
  CausalLM student = tiny();
  CountedBatches source;
  Objective objective = cross_entropy();
  std::vector<at::Tensor> seen;  // one weight at each validation
  TrainerCallbacks callbacks;
  callbacks.validate = [&](const CausalLM& model, std::vector<Metric>&) {
    seen.push_back(model.parameters()[2].tensor.detach().clone());
    return seen.size() == 2 ? 1.0 : 2.0;
  };
  const TrainReport report =
      Trainer(with, folder.path(), "a").run(student, nullptr, source, objective, callbacks);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(report.best_step, 6);
  EXPECT_EQ(report.best_validation, 1.0);
  EXPECT_TRUE(at::equal(student.parameters()[2].tensor, seen[1]));
  EXPECT_FALSE(at::equal(seen[2], seen[1]));
}

TEST(Trainer, StopsWhenPatienceEnds) {
  const TemporaryFolder folder;
  TrainerOptions with = options(30);
  with.validate_every = 2;
  with.patience = 3;
  CausalLM student = tiny();
  CountedBatches source;
  Objective objective = cross_entropy();
  int seen = 0;
  TrainerCallbacks callbacks;
  callbacks.validate = [&](const CausalLM&, std::vector<Metric>&) { return ++seen == 2 ? 1.0 : 2.0; };
  const TrainReport report =
      Trainer(with, folder.path(), "a").run(student, nullptr, source, objective, callbacks);
  EXPECT_EQ(report.best_step, 4);
  EXPECT_EQ(report.steps, 10);
  EXPECT_FALSE(report.stopped);
  with.validate_every = 0;
  EXPECT_THROW(Trainer(with, folder.path(), "a"), Error);
}

// Dropout that ramps, a rule of rates and a stop in between: the same bits, and the values of the table in
// the log.
TEST(Trainer, SchedulesAreResumed) {
  const TemporaryFolder folder;
  TrainerOptions with = options(10);
  with.log_every = 1;
  with.dropout =
      parse_json(R"({"schedule": "linear", "from": 0.1, "to": 0.4, "last": 4.5, "per": "step"})", "test");
  with.rates = parse_json(R"([{"parameters": "mlp", "factor": 0}])", "test");
  std::map<std::int64_t, double> dropout;
  class Log : public MetricsSink {
   public:
    explicit Log(std::map<std::int64_t, double>& values) : values_(values) {}
    void write(std::int64_t step, const std::vector<Metric>& metrics) override {
      for (const auto& [name, value] : metrics)
        if (name == "train/dropout") values_[step] = value;
    }

   private:
    std::map<std::int64_t, double>& values_;
  };
  CausalLM whole = tiny(), parts = tiny();
  const auto run = [&](CausalLM& student, const char* name, std::int64_t stop) {
    CountedBatches source;
    Objective objective = cross_entropy();
    TrainerCallbacks callbacks;
    callbacks.open_sinks = [&](std::int64_t) {
      std::vector<std::unique_ptr<MetricsSink>> sinks;
      sinks.push_back(std::make_unique<Log>(dropout));
      return sinks;
    };
    callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
      if (step == stop) request_interrupt();
    };
    Trainer(with, folder / name, "a").run(student, nullptr, source, objective, callbacks);
    clear_interrupt();
  };
  run(whole, "whole", -1);
  // Progress of step s is s / 9; the ramp begins at 0.55.
  for (const auto& [step, value] : {std::pair{1, 0.1}, {5, 0.1}, {7, 0.1777778}, {9, 0.3259259}, {10, 0.4}})
    EXPECT_NEAR(dropout.at(step), value, 1e-6) << step;
  CausalLM first = tiny();
  run(first, "parts", 7);
  run(parts, "parts", -1);
  EXPECT_TRUE(same_weights(whole, parts));
  const CausalLM fresh = tiny();
  for (std::size_t i = 0; i < fresh.parameters().size(); ++i) {
    const std::string& name = fresh.parameters()[i].name;
    EXPECT_EQ(at::equal(fresh.parameters()[i].tensor, whole.parameters()[i].tensor),
              name.find(".mlp.") != std::string::npos)
        << name;
  }
}

TEST(Trainer, GoesOnAfterCtrlCToTheSameBits) {
  const TemporaryFolder folder;
  CausalLM whole = tiny(), parts = tiny();
  {
    CountedBatches source;
    Objective objective = cross_entropy();
    Trainer(options(10), folder / "whole", "a").run(whole, nullptr, source, objective, {});
  }
  for (const bool first : {true, false}) {
    CausalLM fresh = tiny();
    CausalLM& student = first ? fresh : parts;
    CountedBatches source;
    Objective objective = cross_entropy();
    TrainerCallbacks callbacks;
    callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
      if (first && step == 4) request_interrupt();
    };
    const TrainReport report =
        Trainer(options(10), folder / "parts", "a").run(student, nullptr, source, objective, callbacks);
    clear_interrupt();
    EXPECT_EQ(report.stopped, first);
    EXPECT_EQ(report.steps, first ? 4 : 10);
  }
  EXPECT_TRUE(same_weights(whole, parts));
}

// The stopped run's sums and its best validation are no numbers.
TEST(Trainer, GoesOnAfterALossThatIsNoNumber) {
  const TemporaryFolder folder;
  TrainerOptions with = options(6);
  with.log_every = 6;  // the stopped run saves sums that hold the loss
  for (const bool first : {true, false}) {
    CausalLM student = tiny();
    CountedBatches source;
    Objective objective = cross_entropy();
    TrainerCallbacks callbacks;
    callbacks.validate = [&](const CausalLM&, std::vector<Metric>&) { return first ? NAN : 2.0; };
    with.validate_every = 2;
    callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
      if (first && step == 1) objective.set("cross_entropy", "weight", NAN);
      if (first && step == 2) objective.set("cross_entropy", "weight", 1);
      if (first && step == 3) request_interrupt();
    };
    const TrainReport report =
        Trainer(with, folder.path(), "a").run(student, nullptr, source, objective, callbacks);
    clear_interrupt();
    EXPECT_EQ(report.stopped, first);
    if (!first) {
      EXPECT_EQ(report.best_validation, 2);  // a validation that is no number is not the best
      EXPECT_EQ(report.skipped_steps, 1);
    }
  }
}

TEST(Trainer, NamesACheckpointThatIsDamaged) {
  const TemporaryFolder folder;
  const auto run = [&](bool stop) {
    CausalLM student = tiny();
    CountedBatches source;
    Objective objective = cross_entropy();
    TrainerCallbacks callbacks;
    callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
      if (stop && step == 1) request_interrupt();
    };
    Trainer(options(3), folder.path(), "a").run(student, nullptr, source, objective, callbacks);
    clear_interrupt();
  };
  run(true);
  const auto file = Checkpoint::newest(folder.path())->path() / "state.json";
  Json state = read_json(file);
  state["tokens"] = "many";
  write_json(file, state);
  try {
    run(false);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("state.json"), std::string::npos) << error.what();
  }
}

TEST(Trainer, StartsAnewWhenTheCheckpointIsAnotherRuns) {
  const TemporaryFolder folder;
  TrainerOptions with = options(3);
  for (const char* fingerprint : {"a", "b"}) {
    CausalLM student = tiny();
    CountedBatches source;
    Objective objective = cross_entropy();
    std::int64_t first_step = -1;
    TrainerCallbacks callbacks;
    callbacks.open_sinks = [&](std::int64_t step) {
      first_step = step;
      return std::vector<std::unique_ptr<MetricsSink>>();
    };
    callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
      if (step == 2) request_interrupt();
    };
    Trainer(with, folder.path(), fingerprint).run(student, nullptr, source, objective, callbacks);
    clear_interrupt();
    EXPECT_EQ(first_step, 0) << fingerprint;
  }
}

TEST(Trainer, SaysWhenTheDataEndsOrHoldsNoTarget) {
  class Ends : public CountedBatches {
    std::optional<Batch> next() override { return ++count_ > 2 ? std::nullopt : CountedBatches::next(); }
    int count_ = 0;
  } ends;
  class NoTargets : public CountedBatches {
    std::optional<Batch> next() override { return make_batch({random_tokens(1, 1), random_tokens(1, 2)}); }
  } no_targets;
  const TemporaryFolder folder;
  for (BatchSource* source : std::initializer_list<BatchSource*>{&ends, &no_targets}) {
    CausalLM student = tiny();
    Objective objective = cross_entropy();
    EXPECT_THROW(Trainer(options(5), folder.path(), "a").run(student, nullptr, *source, objective, {}),
                 Error);
  }
}

TEST(Trainer, TakesItsLengthFromStepsTokensOrEpochs) {
  TrainerOptions with;
  with.batch_tokens = 100;
  with.accumulation = 2;
  EXPECT_THROW(resolve_steps(with, 1000), Error);
  with.epochs = 1.5;
  EXPECT_EQ(resolve_steps(with, 1000), 8);
  with.tokens = 1000;
  EXPECT_EQ(resolve_steps(with, 1000), 5);
  with.steps = 3;
  EXPECT_EQ(resolve_steps(with, 1000), 3);
}

TEST(Checkpoint, IsTheNewestWholeOneAndOneAtATime) {
  const TemporaryFolder folder;
  EXPECT_FALSE(Checkpoint::newest(folder.path()));
  const NamedTensors tensors = {{"x", at::arange(5, at::kFloat)}, {"y", at::ones({2, 3}, at::kBFloat16)}};
  write_checkpoint(folder.path(), 1, {{"step", 1}}, {{"state", tensors}});
  write_checkpoint(folder.path(), 2, {{"step", 2}}, {{"state", tensors}, {"best", tensors}});
  EXPECT_FALSE(std::filesystem::exists(folder / "checkpoints/step-1"));
  // Left by a kill while it was written, or torn by a disk: neither is a checkpoint.
  std::filesystem::create_directories(folder / "checkpoints/.step-9.partial");
  std::filesystem::create_directories(folder / "checkpoints/step-8");
  const auto checkpoint = Checkpoint::newest(folder.path());
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->step(), 2);
  EXPECT_TRUE(checkpoint->has("best"));
  const NamedTensors read = checkpoint->read("state");
  ASSERT_EQ(read.size(), 2u);
  for (const auto& [name, tensor] : read)
    EXPECT_TRUE(at::equal(tensor, name == "x" ? tensors[0].second : tensors[1].second));
  delete_checkpoints(folder.path());
  EXPECT_FALSE(Checkpoint::newest(folder.path()));
}

TEST(Trainer, NamesAnOptionOutOfItsRange) {
  const auto expect_refused = [](const char* name, auto field, auto value) {
    TrainerOptions with = options(3);
    with.*field = value;
    try {
      Trainer(with, "", "a");
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.parts().where, name);
    }
  };
  expect_refused("log_every", &TrainerOptions::log_every, 0);
  expect_refused("accumulation", &TrainerOptions::accumulation, 0);
  expect_refused("batch_tokens", &TrainerOptions::batch_tokens, -1);
  expect_refused("dropout", &TrainerOptions::dropout, 1.0);
  expect_refused("learning_rate", &TrainerOptions::learning_rate, std::nan(""));
  expect_refused("beta2", &TrainerOptions::beta2, 1.0);
  expect_refused("patience", &TrainerOptions::patience, 3);  // of validations that never come
  expect_refused("rates", &TrainerOptions::rates, Json(3));
  expect_refused("rates[0]: factor", &TrainerOptions::rates,
                 parse_json(R"([{"parameters": "mlp", "factor": -1}])", "test"));
  expect_refused("dropout", &TrainerOptions::dropout,
                 parse_json(R"({"schedule": "linear", "from": 0.1, "to": 1})", "test"));
}

TEST(Checkpoint, RefusesTornTensors) {
  const TemporaryFolder folder;
  write_checkpoint(folder.path(), 1, {{"step", 1}}, {{"state", {{"x", at::arange(1000, at::kFloat)}}}});
  std::filesystem::resize_file(folder / "checkpoints/step-1/state.safetensors", 2000);
  const auto checkpoint = Checkpoint::newest(folder.path());
  ASSERT_TRUE(checkpoint);
  EXPECT_THROW(checkpoint->read("state"), Error);
  std::filesystem::resize_file(folder / "checkpoints/step-1/state.json", 3);
  EXPECT_THROW(Checkpoint::newest(folder.path()), Error);
}

}  // namespace
}  // namespace retort
