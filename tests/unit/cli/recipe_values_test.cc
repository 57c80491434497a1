// Variables and loops of recipes.
#include "cli/recipe_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace retort {
namespace {

using testing::HasSubstr;

Json parsed(const char* text) { return parse_json(text, "test"); }

Json expanded(const char* list, const char* variables = "{}") {
  Json value = parsed(list);
  expand_loops(value, parsed(variables), "recipe");
  return value;
}

TEST(RecipeValues, VariablesKeepTheirTypeAndHaveParts) {
  Json value = parsed(
      R"(["${run}/cut", "${size}", "${size.limit}", "${size.name}-${size.limit}", {"a": ["${list}"]}])");
  substitute(value, parsed(R"({"run": "runs/x", "size": {"name": "small", "limit": 500}, "list": [1, 2]})"),
             "recipe");
  EXPECT_EQ(value,
            parsed(R"(["runs/x/cut", {"name": "small", "limit": 500}, 500, "small-500", {"a": [[1, 2]]}])"));
}

TEST(RecipeValues, LoopsTakeEveryCombinationInOrder) {
  EXPECT_EQ(
      expanded(
          R"([1, {"for_each": {"m": ["a", "b"], "s": [1, 2]}, "do": {"name": "${m}-${s}", "seed": "${s}"}}, 2])"),
      parsed(R"([1, {"name": "a-1", "seed": 1}, {"name": "a-2", "seed": 2}, {"name": "b-1", "seed": 1},
                       {"name": "b-2", "seed": 2}, 2])"));
}

TEST(RecipeValues, LoopsNestAndSeeOuterVariables) {
  EXPECT_EQ(
      expanded(R"({"rows": [{"for_each": {"m": "${methods}"},
                                   "do": [{"name": "${m.name}", "of": [{"for_each": {"s": "${seeds}"}, "do": "${run}/${m.name}-${s}"}]}]}]})",
               R"({"run": "r", "seeds": [7, 8], "methods": [{"name": "x"}, {"name": "y"}]})"),
      parsed(
          R"({"rows": [{"name": "x", "of": ["r/x-7", "r/x-8"]}, {"name": "y", "of": ["r/y-7", "r/y-8"]}]})"));
}

TEST(RecipeValues, ErrorsNameTheLoopOrTheNearestName) {
  const auto error = [](const char* list, const char* variables = "{}") -> std::string {
    try {
      expanded(list, variables);
    } catch (const Error& found) {
      return found.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(R"([{"for_each": {"m": []}, "do": 1}])"), HasSubstr("for_each: m"));
  EXPECT_THAT(error(R"([{"for_each": {"m": 3}, "do": 1}])"), HasSubstr("for_each: m"));
  EXPECT_THAT(error(R"([{"for_each": {"m": [1]}}])"), HasSubstr("do: the items"));
  EXPECT_THAT(error(R"([{"for_each": {"m": [1]}, "do": 1, "name": 2}])"), HasSubstr("do: the items"));
  EXPECT_THAT(error(R"([{"for_each": ["m"], "do": 1}])"), HasSubstr("for_each"));
  EXPECT_THAT(error(R"([{"for_each": {"size": [{"limit": 1}]}, "do": "${size.limt}"}])"),
              HasSubstr("'limit'"));
  EXPECT_THAT(error(R"([{"for_each": {"seed": "${seed}"}, "do": 1}])", R"({"seeds": [1]})"),
              HasSubstr("'seeds'"));
}

}  // namespace
}  // namespace retort
