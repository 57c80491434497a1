// Stages of a run: which one trains at a step, what it changes, and that a kill changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/error.h"
#include "base/interrupt.h"
#include "objective/registry.h"
#include "support/temporary_folder.h"
#include "training/term_schedules.h"
#include "training/trainer.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

using testing::HasSubstr;

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// "stage begin end before" of each visit.
std::string table(const StagePlan& plan) {
  std::string text;
  for (const auto& v : plan.visits())
    text += std::to_string(v.stage) + " " + std::to_string(v.begin) + " " + std::to_string(v.end) + " " +
            std::to_string(v.before) + "\n";
  return text;
}

TEST(StagePlan, EqualsTablesWrittenByHand) {
  EXPECT_EQ(table(StagePlan({{"a", 0.3, 0}, {"b", 0.3, 0}, {"c", 0.4, 0}}, 10, 1, "stages")),
            "0 0 3 0\n1 3 6 0\n2 6 10 0\n");
  // Shares that do not divide the run: ends are rounded, nothing is lost.
  EXPECT_EQ(table(StagePlan({{"a", 1. / 3, 0}, {"b", 1. / 3, 0}, {"c", 1. / 3, 0}}, 10, 1, "stages")),
            "0 0 3 0\n1 3 7 0\n2 7 10 0\n");
  EXPECT_EQ(table(StagePlan({{"a", 0, 4}, {"b", 0, 1}}, 0, 1, "stages")), "0 0 4 0\n1 4 5 0\n");
  EXPECT_EQ(table(StagePlan({{"a", 0, 4}, {"b", 0, 1}}, 15, 3, "stages")),
            "0 0 4 0\n1 4 5 0\n0 5 9 4\n1 9 10 1\n0 10 14 8\n1 14 15 2\n");
  EXPECT_EQ(table(StagePlan({{"a", 0, 0}, {"b", 0, 0}}, 7, 2, "stages")),
            "0 0 2 0\n1 2 4 0\n0 4 5 2\n1 5 7 2\n");
}

TEST(StagePlan, SaysHowFarAStageHasCome) {
  const StagePlan plan({{"a", 0, 2}, {"b", 0, 1}}, 0, 3, "stages");
  const std::vector<std::pair<std::size_t, std::int64_t>> expected = {{0, 0}, {0, 1}, {1, 0}, {0, 2}, {0, 3},
                                                                      {1, 1}, {0, 4}, {0, 5}, {1, 2}};
  ASSERT_EQ(plan.steps(), 9);
  for (std::int64_t step = 0; step < 9; ++step) {
    EXPECT_EQ(plan.at(step).stage, expected[static_cast<std::size_t>(step)].first) << step;
    const StepPlace place = plan.place(step);
    EXPECT_EQ(place.step, expected[static_cast<std::size_t>(step)].second) << step;
    EXPECT_EQ(place.steps, plan.at(step).stage == 0 ? 6 : 3) << step;
  }
}

TEST(StagePlan, NamesLengthsThatDoNotAddUp) {
  const auto error = [](std::vector<StageLength> lengths, std::int64_t steps, std::int64_t rounds = 1) {
    return error_of([&] { StagePlan(lengths, steps, rounds, "stages"); });
  };
  EXPECT_THAT(error({{"a", 0.3, 0}, {"b", 0.3, 0}}, 10), HasSubstr("sum to 0.6"));
  EXPECT_THAT(error({{"a", 0.3, 0}, {"b", 0, 5}}, 10), HasSubstr("1 with a share, 1 with steps"));
  EXPECT_THAT(error({{"a", 0, 3}, {"b", 0, 5}}, 10), HasSubstr("8 steps in all stages, and 10 in the run"));
  EXPECT_THAT(error({{"a", 0.01, 0}, {"b", 0.99, 0}}, 10), HasSubstr("no step for stage 'a'"));
  EXPECT_THAT(error({{"a", -0.5, 0}, {"b", 1, 0}}, 10), HasSubstr("'a'"));
  EXPECT_THAT(error({}, 10), HasSubstr("at least one"));
  EXPECT_THAT(error({{"a", 1, 0}}, 10, 0), HasSubstr("rounds"));
}

// Endless batches made from a counter.
class CountedText : public BatchSource {
 public:
  explicit CountedText(std::uint64_t seed) : seed_(seed) {}
  std::optional<Batch> next() override {
    ++place_;
    return make_batch({random_tokens(13, seed_ + 2 * place_), random_tokens(7, seed_ + 2 * place_ + 1)});
  }
  Json state() const override { return place_; }
  void restore(const Json& state) override { place_ = state.get<std::uint64_t>(); }
  std::uint64_t taken() const { return place_; }

 private:
  std::uint64_t seed_, place_ = 0;
};

class Keep : public MetricsSink {
 public:
  explicit Keep(std::vector<std::map<std::string, double>>& records) : records_(records) {}
  void write(std::int64_t, const std::vector<Metric>& metrics) override {
    records_.emplace_back(metrics.begin(), metrics.end());
  }

 private:
  std::vector<std::map<std::string, double>>& records_;
};

// Three stages with a teacher of another width: features (with a projection), task without a teacher,
// features again under the same label.
struct ThreeStages {
  CausalLM student{tiny_llama(), at::kCPU, at::kFloat, 1};
  CausalLM teacher{wide(), at::kCPU, at::kFloat, 2};
  CountedText text{100}, other{900};
  std::vector<Objective> objectives;
  std::vector<std::unique_ptr<StepControl>> controls;
  std::vector<TrainStage> stages;

  static ModelConfig wide() {
    ModelConfig config = tiny_llama();
    config.hidden_size = 40;
    return config;
  }

  ThreeStages() {
    student.set_requires_grad(true);
    teacher.set_requires_grad(false);
    TermContext context{.student = &student.config(), .teacher = &teacher.config()};
    context.parameters = std::make_shared<std::map<std::string, at::Tensor>>();
    for (
        const char* text_of_terms :
        {R"([{"name": "hidden_mse", "layers": [[1, 1]], "weight": {"schedule": "linear", "from": 1, "to": 0.5}}])",
         R"([{"name": "cross_entropy"}])",
         R"([{"name": "hidden_mse", "layers": [[1, 1]]}, {"name": "forward_kl", "temperature": 2}])"}) {
      Json terms = parse_json(text_of_terms, "test");
      controls.push_back(take_term_schedules(terms, "terms"));
      objectives.push_back(make_objective(terms, "terms", context));
    }
    stages = {{.name = "features", .source = &text, .train = {"mlp", "embed_tokens"}},
              {.name = "task", .source = &other, .train = {"self_attn", "lm_head"}},
              {.name = "both", .source = &text, .train = {}}};
    for (std::size_t i = 0; i < 3; ++i) {
      stages[i].objective = &objectives[i];
      if (controls[i]) stages[i].controls = {controls[i].get()};
    }
  }
  at::Tensor projection() { return objectives[0].parameters().front().tensor; }
};

TrainerOptions nine_steps() {
  TrainerOptions options;
  options.steps = 9;
  options.learning_rate = 3e-3;
  options.save_seconds = 0;
  options.log_every = 1;
  return options;
}

const std::vector<StageLength> kTwoThreeFour = {{"features", 0, 2}, {"task", 0, 3}, {"both", 0, 4}};

TEST(Stages, TrainWhatTheTableSays) {
  struct Row {
    std::vector<std::string> terms;  // logged
    std::vector<std::string> moves;  // parts of the student
    bool projection, teacher;
    double feature_weight;
  };
  const Row features{{"hidden_mse"}, {"mlp", "embed_tokens"}, true, true, 0},
      task{{"cross_entropy"}, {"self_attn", "lm_head"}, false, false, 0},
      both{{"hidden_mse", "forward_kl"},
           {"mlp", "embed_tokens", "self_attn", "lm_head", "norm"},
           true,
           true,
           0};
  const std::vector<Row> expected = {features, features, task, task, task, both, both, both, both};

  ThreeStages run;
  ASSERT_EQ(run.objectives[0].parameters().front().tensor.unsafeGetTensorImpl(),
            run.objectives[2].parameters().front().tensor.unsafeGetTensorImpl());
  std::vector<std::map<std::string, double>> records;
  std::vector<at::Tensor> before;
  const auto remember = [&] {
    before.clear();
    for (const Parameter& p : run.student.parameters()) before.push_back(p.tensor.detach().clone());
    before.push_back(run.projection().detach().clone());
  };
  remember();
  TrainerCallbacks callbacks;
  callbacks.open_sinks = [&](std::int64_t) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(std::make_unique<Keep>(records));
    return sinks;
  };
  callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
    const Row& row = expected[static_cast<std::size_t>(step - 1)];
    const auto& record = records.back();
    for (const char* term : {"hidden_mse", "cross_entropy", "forward_kl"})
      EXPECT_EQ(record.contains(std::string("train/") + term),
                std::find(row.terms.begin(), row.terms.end(), term) != row.terms.end())
          << term << " at step " << step;
    EXPECT_EQ(record.contains("train/teacher_entropy"), row.teacher) << step;
    for (std::size_t i = 0; i < run.student.parameters().size(); ++i) {
      const Parameter& p = run.student.parameters()[i];
      // The last layer's MLP and what comes after it lie behind the layer that the feature term looks at.
      if (step <= 2 && p.name.find("layers.2") != std::string::npos) continue;
      const bool moves = std::any_of(row.moves.begin(), row.moves.end(), [&](const std::string& part) {
        return p.name.find(part) != std::string::npos;
      });
      EXPECT_EQ(!at::equal(p.tensor, before[i]), moves) << p.name << " at step " << step;
    }
    EXPECT_EQ(!at::equal(run.projection(), before.back()), row.projection) << step;
    remember();
  };
  Teachers teachers = Teachers::of(run.teacher);
  const TemporaryFolder folder;
  Trainer(nine_steps(), folder.path(), "a")
      .run(run.student, &teachers, run.stages, StagePlan(kTwoThreeFour, 0, 1, "stages"), callbacks);
  EXPECT_EQ(run.text.taken(), 6u);
  EXPECT_EQ(run.other.taken(), 3u);
  EXPECT_EQ(records[0].at("train/hidden_mse_weight"), 1);  // the schedule runs over the stage
  EXPECT_EQ(records[1].at("train/hidden_mse_weight"), 0.5);
}

TEST(Stages, NeedNoTeacherWhereNoTermDoes) {
  ThreeStages run;
  EXPECT_TRUE(run.objectives[0].needs_teacher());
  EXPECT_FALSE(run.objectives[1].needs_teacher());
  EXPECT_TRUE(run.objectives[1].student_taps().empty());
}

// Stopped within a stage and exactly between two, and gone on with: the same bits, and a projection that
// learns in two stages goes on.
TEST(Stages, GoOnAfterCtrlCToTheSameBits) {
  const TemporaryFolder folder;
  const auto weights_of = [&](const std::filesystem::path& where, std::vector<std::int64_t> stops) {
    stops.push_back(-1);
    std::vector<at::Tensor> weights;
    for (const std::int64_t stop : stops) {
      ThreeStages run;
      TrainerCallbacks callbacks;
      callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
        if (step != stop) return;
        install_interrupt_handler();
        std::raise(SIGINT);
      };
      Teachers teachers = Teachers::of(run.teacher);
      const TrainReport report =
          Trainer(nine_steps(), where, "a")
              .run(run.student, &teachers, run.stages, StagePlan(kTwoThreeFour, 0, 1, "stages"), callbacks);
      clear_interrupt();
      EXPECT_EQ(report.steps, stop == -1 ? 9 : stop);
      weights.clear();
      for (const Parameter& p : run.student.parameters()) weights.push_back(p.tensor.detach().clone());
      weights.push_back(run.projection().detach().clone());
    }
    return weights;
  };
  const auto whole = weights_of(folder / "whole", {}), parts = weights_of(folder / "parts", {1, 2, 5, 7});
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(at::equal(whole[i], parts[i])) << i;
}

// By epochs too: the third stage has seen none when it begins.
TEST(Stages, HaveSchedulesOfTheirOwnEpochs) {
  ThreeStages run;
  Json terms = parse_json(
      R"([{"name": "forward_kl", "temperature": {"schedule": "halving", "from": 4, "every": 1}}])", "test");
  const auto halving = take_term_schedules(terms, "terms");
  Objective objective =
      make_objective(terms, "terms", {.student = &run.student.config(), .teacher = &run.teacher.config()});
  run.stages[2].objective = &objective;
  run.stages[2].controls = {halving.get()};
  run.stages[2].epoch_tokens = 40;  // two batches
  std::vector<std::map<std::string, double>> records;
  TrainerCallbacks callbacks;
  callbacks.epoch_tokens = 20;
  callbacks.open_sinks = [&](std::int64_t) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(std::make_unique<Keep>(records));
    return sinks;
  };
  Teachers teachers = Teachers::of(run.teacher);
  const TemporaryFolder folder;
  Trainer(nine_steps(), folder.path(), "a")
      .run(run.student, &teachers, run.stages, StagePlan(kTwoThreeFour, 0, 1, "stages"), callbacks);
  const std::vector<double> expected = {4, 4, 2, 2};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(records[5 + i].at("train/forward_kl_temperature"), expected[i]) << i;
}

// Also of a later stage, before the first step.
TEST(Stages, NameAPatternThatMatchesNothing) {
  ThreeStages run;
  run.stages[2].train = {"atention"};
  Teachers teachers = Teachers::of(run.teacher);
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] {
                Trainer(nine_steps(), folder.path(), "a")
                    .run(run.student, &teachers, run.stages, StagePlan(kTwoThreeFour, 0, 1, "stages"), {});
              }),
              HasSubstr("stage 'both': train: found 'atention', which matches no parameter"));
  EXPECT_EQ(run.text.taken(), 0u);
}

}  // namespace
}  // namespace retort
