// Ratios over time against tables written by hand.
#include "training/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace retort {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Mixture mixture(const char* options, std::vector<std::int64_t> sizes) {
  MixtureOptions parsed;
  OptionList list;
  parsed.visit(list);
  list.assign(parse_json(options, "test"), "test");
  return Mixture(parsed, std::move(sizes));
}

void expect_ratios(const Mixture& mixture, std::int64_t step, const std::vector<double>& expected) {
  const std::vector<double> found =
      mixture.ratios({.step = step, .steps = 101, .epoch = 0.1 * static_cast<double>(step), .epochs = 10});
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-7) << "step " << step << ", file " << i;
}

TEST(Mixture, EqualsHandWrittenTables) {
  // n^(1/T) of 8100 and 100: 81 : 1, 9 : 1 at T = 2, 3 : 1 at T = 4.
  expect_ratios(mixture(R"({"mixture_temperature": 1})", {8100, 100}), 0, {0.98780488, 0.01219512});
  expect_ratios(mixture(R"({"mixture_temperature": 2})", {8100, 100}), 50, {0.9, 0.1});
  expect_ratios(mixture(R"({"mixture_temperature": 4})", {8100, 100}), 100, {0.75, 0.25});
  expect_ratios(mixture(R"({"mixture_temperature": 2, "mixture": [1, 9]})", {8100, 100}), 0, {0.5, 0.5});
  expect_ratios(mixture(R"({"mixture": [3, 1]})", {8100, 100}), 7, {0.75, 0.25});
  expect_ratios(mixture(R"({"mixture": [3, 1, 4]})", {8100, 100, 0}), 7, {0.75, 0.25, 0});
  expect_ratios(mixture(R"({"mixture_adapt": 1})", {75, 25}), 7, {0.75, 0.25});
  // From the general to the domain's data.
  const Mixture moving = mixture(
      R"({"mixture": [{"schedule": "linear", "from": 1, "to": 0}, {"schedule": "linear", "from": 0, "to": 1}]})",
      {10, 10});
  for (const auto& [step, share] : {std::pair{0, 1.0}, {25, 0.75}, {50, 0.5}, {100, 0.0}})
    expect_ratios(moving, step, {share, 1 - share});
  // T = 1 + 4 · (1 − progress): 5 … 1; 3125^(1/5) = 5, 3125^(1/1).
  const Mixture cooling =
      mixture(R"({"mixture_temperature": {"schedule": "linear", "from": 5, "to": 1}})", {3125, 1});
  expect_ratios(cooling, 0, {5.0 / 6, 1.0 / 6});
  expect_ratios(cooling, 100, {3125.0 / 3126, 1.0 / 3126});
}

TEST(Mixture, NamesTheKeyThatIsWrong) {
  const auto error = [](const char* options) -> std::string {
    try {
      mixture(options, {5, 5, 0});
    } catch (const Error& found) {
      return found.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(R"({"mixture": [1, 2]})"), HasSubstr("mixture: found [1,2]"));
  EXPECT_THAT(error(R"({"mixture": [1, -2, 0]})"), HasSubstr("mixture[1]"));
  EXPECT_THAT(error(R"({"mixture": [0, 0, 3]})"), HasSubstr("above 0"));
  EXPECT_THAT(error(R"({"mixture": [1, "x", 3]})"), HasSubstr("mixture[1]"));
  EXPECT_THAT(error(R"({"mixture": [1, {"schedule": "linaer"}, 3]})"), HasSubstr("linear"));
  EXPECT_THAT(error(R"({"mixture_temperature": 0})"), HasSubstr("mixture_temperature"));
  EXPECT_THAT(error(R"({"mixture_adapt": -1})"), HasSubstr("mixture_adapt"));
}

class Weighed : public BatchSource {
 public:
  std::optional<Batch> next() override { return std::nullopt; }
  Json state() const override { return nullptr; }
  void restore(const Json&) override {}
  void reweigh(std::span<const double> given) override { factors.assign(given.begin(), given.end()); }
  std::vector<double> factors;
};

TEST(AdaptiveMixture, MovesTowardsWhatFallsBehind) {
  Weighed source;
  AdaptiveMixture adaptive(2, {&source});
  adaptive.see_validation({4, 2, 0});
  EXPECT_THAT(source.factors, ElementsAre(1, 1, 1));
  adaptive.see_validation({2, 2, 0});
  EXPECT_THAT(source.factors, ElementsAre(0.25, 1, 1));
  // A resumed run remembers where it began.
  AdaptiveMixture resumed(2, {&source});
  resumed.restore(adaptive.state());
  resumed.see_validation({1, 3, 0});
  EXPECT_THAT(source.factors, ElementsAre(0.0625, 2.25, 1));
}

}  // namespace
}  // namespace retort
