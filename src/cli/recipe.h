// A recipe: YAML with a run folder and a list of stages, each a verb with its options.
//
//   run: runs/quickstart               # ${run} in any text below
//   stages:
//     - shrink: {model: assets/teacher, num_layers: 4, out: "${run}/cut"}
//     # name: default is the verb
//     - distill: {name: again, teacher: assets/teacher, student: "${run}/cut", …}
//     - train: {with: "${common}", …}  # options that stages share: an object, or a list
//     - for_each: {seed: [1, 2, 3]}    # cli/recipe_values.h
//       do: {train: {name: "seed-${seed}", seed: "${seed}", …}}
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli_edge/verb.h"

namespace retort {

struct Stage {
  std::string name;  // for overrides and records; unique
  const VerbRow* verb = nullptr;
  Json options;
};

struct Recipe {
  std::string run_folder;
  std::vector<Stage> stages;
  Json resolved;  // after overrides and substitution, as written to the run folder
};

// `overrides`: "--STAGE.KEY=VALUE", where '*' in STAGE is any text, and "--KEY=VALUE" for the recipe's own
// keys. Unknown stages, keys and verbs are Errors with the nearest name; all stages' options are checked
// before the first one runs.
Recipe load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace retort
