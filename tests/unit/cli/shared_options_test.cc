// Options that stages of a recipe share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/recipe.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {

TEST(Recipe, SharedOptionsGiveWayToTheStagesOwn) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "r.yaml", R"(
run: runs/x
cut: {model: "${run}/teacher", num_layers: 4}
less: {num_layers: 3}
stages:
  - shrink: {name: a, with: ["${cut}", "${less}"], out: "${run}/a"}
  - shrink: {name: b, with: "${cut}", num_layers: 2, out: "${run}/b"}
  - shrink: {name: c, with: "${cut}", out: "${run}/c"}
)");
  const Recipe recipe = load_recipe(folder / "r.yaml", {"--c.num_layers=1"});
  const auto expected = {3, 2, 1};
  auto wanted = expected.begin();
  for (const Stage& stage : recipe.stages) {
    EXPECT_EQ(stage.options.at("num_layers"), *wanted++);
    EXPECT_EQ(stage.options.at("model"), "runs/x/teacher");
    EXPECT_FALSE(stage.options.contains("with"));
  }
}

TEST(Recipe, NamesWhatIsNoOptions) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "r.yaml", "run: x\nstages:\n  - shrink: {with: [3], out: y}\n");
  try {
    load_recipe(folder / "r.yaml", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("shrink: with: found 3"));
  }
}

}  // namespace
}  // namespace retort
