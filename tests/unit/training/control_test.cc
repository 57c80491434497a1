// Schedules, alarms and elastic weights: their values over time against tables written by hand.
#include "training/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "base/error.h"
#include "base/interrupt.h"
#include "support/temporary_folder.h"
#include "training/alarms.h"
#include "training/entropy.h"
#include "training/term_schedules.h"
#include "training/trainer.h"
#include "training/value_schedule.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

using testing::HasSubstr;

Json parsed(const char* text) { return parse_json(text, "test"); }

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

struct Row {
  std::int64_t step;
  double epoch, value;
};

void expect_table(const char* schedule, const std::vector<Row>& rows) {
  const ValueSchedule parsed_schedule = parse_value_schedule(parsed(schedule), "temperature");
  for (const Row& row : rows)
    EXPECT_NEAR(parsed_schedule.at({.step = row.step, .steps = 101, .epoch = row.epoch}), row.value, 5e-7)
        << schedule << " at step " << row.step << ", epoch " << row.epoch;
}

TEST(ValueSchedule, FollowsItsTable) {
  expect_table(R"({"schedule": "linear", "from": 4, "to": 1})",
               {{0, 0, 4}, {25, 0, 3.25}, {50, 0, 2.5}, {100, 0, 1}});
  expect_table(R"({"schedule": "cosine", "from": 3, "to": 1})",
               {{0, 0, 3}, {25, 0, 2.7071068}, {50, 0, 2}, {100, 0, 1}});
  expect_table(R"({"schedule": "exponential", "from": 4, "rate": 0.005})",
               {{0, 0, 4}, {1, 0, 3.9800499}, {100, 0, 2.4261226}});
  expect_table(R"({"schedule": "exponential", "from": 4, "rate": 0.05, "minimum": 1})",
               {{0, 0, 4}, {10, 0, 2.4261226}, {27, 0, 1.0369610}, {28, 0, 1}, {100, 0, 1}});
  expect_table(R"({"schedule": "exponential", "from": 2, "factor": 0.98, "per": "epoch"})",
               {{0, 0, 2}, {7, 0.9, 2}, {8, 1, 1.96}, {9, 2.5, 1.9208}, {10, 3, 1.882384}});
  expect_table(R"({"schedule": "halving", "from": 3, "every": 10})",
               {{0, 0, 3}, {99, 9.9, 3}, {5, 10, 1.5}, {5, 20.5, 0.75}});
  expect_table(R"({"schedule": "halving", "from": 8, "every": 2, "per": "step", "minimum": 1.5})",
               {{0, 0, 8}, {1, 0, 8}, {2, 0, 4}, {5, 0, 2}, {6, 0, 1.5}, {60, 0, 1.5}});
}

// The end of a run alone: dropout over the last three of ten epochs, steps 70 to 100 of 101.
TEST(ValueSchedule, BeginsBeforeTheEnd) {
  const auto at = [](const char* schedule, std::int64_t step) {
    return parse_value(parsed(schedule), "dropout")
        .at({.step = step, .steps = 101, .epoch = 0.1 * static_cast<double>(step), .epochs = 10});
  };
  const char* ramp = R"({"schedule": "linear", "from": 0.1, "to": 0.3, "last": 3})";
  for (const auto& [step, value] :
       {std::pair{0, 0.1}, {69, 0.1}, {70, 0.1}, {76, 0.14}, {85, 0.2}, {94, 0.26}, {100, 0.3}})
    EXPECT_NEAR(at(ramp, step), value, 1e-9) << step;
  const char* steps = R"({"schedule": "cosine", "from": 1, "to": 0, "last": 20.2, "per": "step"})";
  for (const auto& [step, value] : {std::pair{80, 1.0}, {90, 0.5}, {95, 0.14644661}, {100, 0.0}})
    EXPECT_NEAR(at(steps, step), value, 1e-7) << step;
  // The run is shorter.
  EXPECT_NEAR(at(R"({"schedule": "linear", "from": 0, "to": 1, "last": 30})", 25), 0.25, 1e-9);
  EXPECT_NEAR(at("0.25", 33), 0.25, 0);
  EXPECT_THAT(message_of([&] { at(R"("much")", 0); }), HasSubstr("dropout"));
  EXPECT_THAT(message_of([&] { parse_value(parsed(ramp), "dropout").at({.step = 1, .steps = 9}); }),
              HasSubstr("per: step"));
}

TEST(ValueSchedule, NamesTheKeyThatIsWrong) {
  const auto error = [](const char* text) {
    return message_of([&] { parse_value_schedule(parsed(text), "terms[0]: temperature"); });
  };
  EXPECT_THAT(error(R"({"schedule": "linaer", "from": 1, "to": 2})"), HasSubstr("linear"));
  EXPECT_THAT(error(R"({"schedule": "linear", "from": 1})"), HasSubstr("to: found nothing"));
  EXPECT_THAT(error(R"({"schedule": "linear", "from": -1, "to": 2})"), HasSubstr("from: found -1"));
  EXPECT_THAT(error(R"({"schedule": "exponential", "from": 1})"), HasSubstr("rate"));
  EXPECT_THAT(error(R"({"schedule": "exponential", "from": 1, "factor": 2})"), HasSubstr("factor: found 2"));
  EXPECT_THAT(error(R"({"schedule": "halving", "from": 1, "every": 0})"), HasSubstr("every: found 0"));
  EXPECT_THAT(error(R"({"schedule": "halving", "form": 1})"), HasSubstr("from"));
}

Objective two_terms() {
  return make_objective(
      parsed(
          R"([{"name": "forward_kl", "weight": 0.7, "temperature": 2}, {"name": "cross_entropy", "weight": 0.3}])"),
      "terms");
}

TEST(TermSchedules, SetWeightsAndTemperatures) {
  Json terms = parsed(R"([
    {"name": "forward_kl", "weight": {"schedule": "linear", "from": 0.9, "to": 0.5},
     "temperature": {"schedule": "exponential", "from": 4, "factor": 0.5}},
    {"name": "cross_entropy", "weight": 0.1}])");
  const auto control = take_term_schedules(terms, "terms");
  ASSERT_TRUE(control);
  EXPECT_EQ(terms[0]["weight"], 0.9);
  EXPECT_EQ(terms[0]["temperature"], 4.0);
  Objective objective = make_objective(terms, "terms");
  control->before_step({.step = 2, .steps = 5}, objective);
  EXPECT_NEAR(*objective.get("forward_kl", "weight"), 0.7, 1e-12);
  EXPECT_NEAR(*objective.get("forward_kl", "temperature"), 1, 1e-12);
  EXPECT_EQ(objective.get("cross_entropy", "weight"), 0.1);
  EXPECT_EQ(objective.get("cross_entropy", "temperature"), std::nullopt);

  // Over the last of three epochs, and never down to 0.
  Json late = parsed(
      R"([{"name": "forward_kl", "temperature": {"schedule": "linear", "from": 4, "to": 0, "last": 1}}])");
  const auto falling = take_term_schedules(late, "terms");
  EXPECT_EQ(late[0]["temperature"], 4.0);
  Objective last = make_objective(late, "terms");
  for (const auto& [step, temperature] : {std::pair{0, 4.0}, {60, 4.0}, {75, 2.0}, {90, 0.1}}) {
    falling->before_step({.step = step, .steps = 91, .epoch = step / 30.0, .epochs = 3}, last);
    EXPECT_NEAR(*last.get("forward_kl", "temperature"), temperature, 1e-9) << step;
  }

  Json none = parsed(R"([{"name": "cross_entropy"}])");
  EXPECT_FALSE(take_term_schedules(none, "terms"));
  Json fixed = parsed(
      R"([{"name": "cross_entropy", "label_smoothing": {"schedule": "linear", "from": 0, "to": 0.1}}])");
  const auto refused = take_term_schedules(fixed, "terms");
  Objective smooth = make_objective(fixed, "terms");
  EXPECT_THAT(message_of([&] { refused->before_step({.step = 0, .steps = 2}, smooth); }),
              HasSubstr("label_smoothing"));
}

TEST(TermSchedules, HoldTheTeachersEntropyInItsBand) {
  Json terms = parsed(R"([{"name": "forward_kl", "temperature":
    {"schedule": "entropy", "from": 1, "low": 3.5, "high": 3.8, "minimum": 1, "maximum": 5}}])");
  const auto control = take_term_schedules(terms, "terms");
  ASSERT_TRUE(control->wants_logits());
  Objective objective = make_objective(terms, "terms");
  torch::manual_seed(1);
  const at::Tensor teacher = at::randn({32, 100}) * 4;
  EXPECT_LT(mean_entropy(teacher, 1).item<double>(), 2);
  for (int step = 0; step < 200; ++step) {
    control->before_step({.step = step, .steps = 200}, objective);
    control->see_logits(teacher, teacher);
  }
  const double tau = *objective.get("forward_kl", "temperature");
  EXPECT_NEAR(mean_entropy(teacher, tau).item<double>(), 3.65, 0.16);
  // Resumed, it goes on from where it was.
  Json again = parsed(R"([{"name": "forward_kl", "temperature": {"schedule": "entropy"}}])");
  const auto other = take_term_schedules(again, "terms");
  other->restore(control->state());
  other->before_step({}, objective);
  EXPECT_NEAR(*objective.get("forward_kl", "temperature"), tau, 0.03 * tau);
}

TEST(MeanEntropy, IsTheFormula) {
  const at::Tensor even = at::zeros({3, 64});
  EXPECT_NEAR(mean_entropy(even, 2).item<double>(), std::log(64), 1e-6);
  const at::Tensor two = at::full({1, 5}, -1e9);
  two[0][1] = std::log(0.25);
  two[0][3] = std::log(0.75);
  EXPECT_NEAR(mean_entropy(two, 1).item<double>(), 0.5623351446, 1e-6);
}

TEST(Alarms, GoOffActAndRest) {
  Objective objective = two_terms();
  const auto alarms = make_alarms(parsed(R"([
    {"when": "gradient_norm_above", "value": 100, "action": "cut_rate", "factor": 0.25, "rest": 3},
    {"when": "gradient_norm_below", "value": 1e-5, "action": "scale_temperature", "term": "forward_kl", "factor": 4},
    {"when": "loss_above", "value": 8, "action": "set_weight", "term": "cross_entropy", "to": 0.8},
    {"when": "loss_not_finite", "action": "roll_back"}])"),
                                  "alarms", {&objective});
  EXPECT_TRUE(alarms->may_roll_back());
  const auto after = [&](std::int64_t step, double loss, double norm) {
    return alarms->after_step({.step = step, .steps = 100},
                              {.loss = loss, .gradient_norm = norm, .terms = {}}, objective);
  };
  EXPECT_EQ(after(0, 3, 1).rate_factor, 1);
  EXPECT_EQ(after(1, 3, 101).rate_factor, 0.25);
  EXPECT_EQ(after(2, 3, 101).rate_factor, 1);  // rests
  EXPECT_EQ(after(4, 3, 101).rate_factor, 0.25);
  EXPECT_TRUE(after(5, NAN, 1).roll_back);
  after(6, 9, 1);
  after(7, 3, 1e-6);
  alarms->before_step({}, objective);
  EXPECT_EQ(objective.get("cross_entropy", "weight"), 0.8);
  EXPECT_EQ(objective.get("forward_kl", "temperature"), 5);  // 2 · 4, at most 5
  // A checkpoint keeps what they have set.
  const auto resumed =
      make_alarms(parsed(R"([{"when": "loss_not_finite", "action": "none"}])"), "alarms", {});
  resumed->restore(alarms->state());
  Objective fresh = two_terms();
  resumed->before_step({}, fresh);
  EXPECT_EQ(fresh.get("cross_entropy", "weight"), 0.8);
}

TEST(Alarms, SeeALossThatDiverges) {
  const auto alarms =
      make_alarms(parsed(R"([{"when": "loss_diverges", "value": 0.3, "action": "cut_rate"}])"), "alarms", {});
  Objective objective = two_terms();
  int first = -1;
  for (int step = 0; step < 200; ++step) {
    const double loss = step < 150 ? 2 : 4;
    const StepAction action = alarms->after_step({.step = step, .steps = 200},
                                                 {.loss = loss, .gradient_norm = 1, .terms = {}}, objective);
    if (action.rate_factor != 1 && first < 0) first = step;
  }
  // After the jump the averages are 4 - 2·0.9^n and 4 - 2·0.99^n: their ratio passes 1.3 at n = 5.
  EXPECT_EQ(first, 154);
}

TEST(Alarms, NameTheKeyThatIsWrong) {
  Objective objective = two_terms();
  const auto error = [&](const char* text) {
    return message_of([&] { make_alarms(parsed(text), "alarms", {&objective}); });
  };
  EXPECT_THAT(error(R"([{"when": "loss_above", "action": "none"}])"), HasSubstr("alarms[0]: value"));
  EXPECT_THAT(error(R"([{"when": "loss_not_finite", "action": "set_weight", "to": 1}])"), HasSubstr("term"));
  EXPECT_THAT(error(R"([{"when": "loss_not_finite", "action": "clip"}])"), HasSubstr("to"));
  EXPECT_THAT(error(R"([{"when": "loss", "action": "none"}])"), HasSubstr("loss_"));
  EXPECT_THAT(error(R"([{"when": "loss_not_finite", "action": "set_weight", "term": "uld", "to": 1}])"),
              HasSubstr("alarms[0]: term: found 'uld'"));
  EXPECT_THAT(error(R"({"when": "loss_not_finite"})"), HasSubstr("a list"));
}

TEST(ElasticMix, FollowsDisagreementAndLoss) {
  const auto mix = make_elastic_mix(parsed(R"({"low": 0.4, "high": 0.8, "smoothing": 0.5})"), "elastic");
  Objective objective = two_terms();
  mix->before_step({}, objective);
  EXPECT_NEAR(*objective.get("forward_kl", "weight"), 0.8, 1e-12);
  const auto step = [&](double kl, double ce, double expected) {
    mix->after_step({}, {.loss = 0, .gradient_norm = 0, .terms = {{"forward_kl", kl}, {"cross_entropy", ce}}},
                    objective);
    mix->before_step({}, objective);
    EXPECT_NEAR(*objective.get("forward_kl", "weight"), expected, 1e-12);
    EXPECT_NEAR(*objective.get("cross_entropy", "weight"), 1 - expected, 1e-12);
  };
  step(1, 3, 0.5);            // averages 1 and 3: 0.4 + 0.4 / 4
  step(0, 3, 0.4 + 0.4 / 7);  // 0.5 and 3
  EXPECT_THAT(message_of([] { make_elastic_mix(parsed(R"({"low": 0.9, "high": 0.8})"), "elastic"); }),
              HasSubstr("low ≤ high"));
}

class CountedBatches2 : public BatchSource {
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

// Asks for a roll-back after step 60.
class GoBack : public StepControl {
 public:
  bool wants_figures() const override { return true; }
  bool may_roll_back() const override { return true; }
  StepAction after_step(const StepPlace& place, const StepFigures&, Objective&) override {
    return {.rate_factor = place.step == 60 ? 0.5 : 1, .clip = 0, .roll_back = place.step == 60};
  }
};

// A run that rolls back and changes its temperature, in one go and killed twice: the same bits.
TEST(Trainer, ControlsSurviveAKill) {
  const TemporaryFolder folder;
  TrainerOptions options;
  options.steps = 80;
  options.learning_rate = 3e-3;
  options.save_seconds = 0;
  const auto run = [&](const std::filesystem::path& where, std::vector<std::int64_t> stops) {
    stops.push_back(-1);
    CausalLM teacher(tiny_llama(), at::kCPU, at::kFloat, 9);
    std::vector<at::Tensor> weights;
    for (const std::int64_t stop : stops) {
      CausalLM student(tiny_llama(), at::kCPU, at::kFloat, 1);
      student.set_requires_grad(true);
      CountedBatches2 source;
      Json terms = parsed(R"([
        {"name": "forward_kl", "weight": 0.9, "temperature": {"schedule": "entropy", "from": 2, "low": 3, "high": 3.1}},
        {"name": "cross_entropy", "weight": 0.1}])");
      const auto schedules = take_term_schedules(terms, "terms");
      const auto elastic = make_elastic_mix(Json::object(), "elastic");
      GoBack go_back;
      Objective objective = make_objective(terms, "terms");
      TrainerCallbacks callbacks;
      callbacks.controls = {schedules.get(), elastic.get(), &go_back};
      callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
        if (step == stop) {
          install_interrupt_handler();
          std::raise(SIGINT);
        }
      };
      Trainer(options, where, "a").run(student, &teacher, source, objective, callbacks);
      clear_interrupt();
      weights.clear();
      for (const Parameter& p : student.parameters()) weights.push_back(p.tensor.detach().clone());
    }
    return weights;
  };
  const auto whole = run(folder / "whole", {}), parts = run(folder / "parts", {30, 66});
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(at::equal(whole[i], parts[i])) << i;
}

}  // namespace
}  // namespace retort
