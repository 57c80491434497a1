#include "cli/recipe.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/error.h"
#include "cli/recipe_values.h"
#include "cli/registry.h"

namespace retort {
namespace {

struct Override {
  std::string stage, key;  // stage empty: a key of the recipe itself
  Json value;
};

Override parse_override(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (argument.rfind("--", 0) != 0 || equals == std::string::npos)
    throw Error({.where = "command line",
                 .found = "'" + argument + "'",
                 .expected = "--STAGE.KEY=VALUE",
                 .advice = ""});
  Override result;
  result.key = argument.substr(2, equals - 2);
  if (const std::size_t dot = result.key.find('.'); dot != std::string::npos) {
    result.stage = result.key.substr(0, dot);
    result.key = result.key.substr(dot + 1);
  }
  std::replace(result.key.begin(), result.key.end(), '-', '_');
  result.value = parse_yaml(argument.substr(equals + 1), argument);
  return result;
}

Stage parse_stage(const Json& item, std::size_t index, const std::string& where) {
  const std::string place = where + ": stage " + std::to_string(index + 1);
  if (!item.is_object() || item.size() != 1)
    throw Error({.where = place,
                 .found = item.dump(),
                 .expected = "one verb with its options, like '- shrink: {model: …}'",
                 .advice = ""});
  Stage stage;
  const std::string verb = item.begin().key();
  stage.verb = &find_verb(verbs(), verb, place);
  stage.options = item.begin().value();
  if (stage.options.is_null()) stage.options = Json::object();
  stage.name =
      stage.options.is_object() ? json_get_or<std::string>(stage.options, "name", verb, place) : verb;
  if (stage.options.is_object()) stage.options.erase("name");
  return stage;
}

// `with`: an object of options, or a list of them, that several stages share; later ones win, and what the
// stage says itself wins over all.
void merge_shared_options(Json& options, const std::string& where) {
  if (!options.contains("with")) return;
  Json shared = options["with"], merged = Json::object();
  options.erase("with");
  if (!shared.is_array()) shared = Json::array({shared});
  for (const Json& part : shared) {
    if (!part.is_object())
      throw Error({.where = where + ": with",
                   .found = part.dump(),
                   .expected = "options, or a list of such",
                   .advice = ""});
    merged.update(part);
  }
  merged.update(options);
  options = std::move(merged);
}

// Assigns the options to a fresh verb, so that a typo in the last stage is found before the first one has run
// for an hour.
void check_stage(const Stage& stage, const std::string& where) {
  const auto verb = stage.verb->make();
  OptionList list;
  verb->visit(list);
  list.assign(stage.options, where + ": " + stage.name);
  list.check(where + ": " + stage.name);
}

}  // namespace

Recipe load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  const std::string where = path.string();
  Json document = read_yaml(path);
  if (!document.is_object() || !document.contains("stages") || !document["stages"].is_array() ||
      document["stages"].empty())
    throw Error({.where = where,
                 .found = "no stages",
                 .expected = "a list 'stages' of verbs with options",
                 .advice = ""});
  std::vector<Override> parsed;
  for (const std::string& argument : overrides) parsed.push_back(parse_override(argument));

  Json variables = document;
  variables.erase("stages");
  for (const Override& o : parsed) {
    if (!o.stage.empty()) continue;
    if (!variables.contains(o.key)) {
      std::vector<std::string> names;
      for (const auto& [name, unused] : variables.items()) names.push_back(name);
      throw Error({.where = where,
                   .found = "no key '" + o.key + "' to override",
                   .expected = "",
                   .advice = suggest(o.key, names)});
    }
    variables[o.key] = o.value;
  }
  if (!variables.contains("run")) variables["run"] = "runs/" + path.stem().string();

  expand_loops(document["stages"], variables, where);
  Recipe recipe;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < document["stages"].size(); ++i) {
    Stage stage = parse_stage(document["stages"][i], i, where);
    if (std::find(names.begin(), names.end(), stage.name) != names.end())
      throw Error({.where = where,
                   .found = "two stages named '" + stage.name + "'",
                   .expected = "a 'name' of its own for each",
                   .advice = ""});
    names.push_back(stage.name);
    recipe.stages.push_back(std::move(stage));
  }
  for (const Override& o : parsed) {
    if (o.stage.empty()) continue;
    bool found = false;
    for (Stage& stage : recipe.stages)
      if (fnmatch(o.stage.c_str(), stage.name.c_str(), 0) == 0) {
        stage.options[o.key] = o.value;
        found = true;
      }
    if (!found)
      throw Error({.where = where,
                   .found = "no stage '" + o.stage + "'",
                   .expected = "",
                   .advice = suggest(o.stage, names)});
  }
  recipe.resolved = variables;
  recipe.resolved["stages"] = Json::array();
  for (Stage& stage : recipe.stages) {
    substitute(stage.options, variables, where + ": " + stage.name);
    merge_shared_options(stage.options, where + ": " + stage.name);
    substitute(stage.options, variables, where + ": " + stage.name);  // what came with them
    check_stage(stage, where);
    Json options = {{"name", stage.name}};
    options.update(stage.options);
    recipe.resolved["stages"].push_back({{std::string(stage.verb->name), options}});
  }
  recipe.run_folder = json_get<std::string>(variables, "run", where);
  return recipe;
}

}  // namespace retort
