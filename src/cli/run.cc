// retort run: the stages of a recipe in order. A stage is skipped when its verb, options and inputs' contents
// are those of the last time and its outputs are there; a killed stage goes on from its own checkpoint.
#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli/recipe.h"
#include "cli/registry.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> paths(const OptionList& list, PathRole role) {
  std::vector<std::string> found;
  for (const Option& option : list.options()) {
    if (option.path != role) continue;
    if (const auto* text = std::get_if<std::string*>(&option.value);
        text && !(*text)->empty() && **text != "-")
      found.push_back(**text);
    if (const auto* texts = std::get_if<std::vector<std::string>*>(&option.value))
      found.insert(found.end(), (*texts)->begin(), (*texts)->end());
  }
  return found;
}

std::string stage_hash(const Stage& stage, const Verb& verb, const OptionList& list) {
  std::string text = std::string(stage.verb->name) + "\n" + list.to_json().dump();
  std::vector<std::string> inputs = paths(list, PathRole::input);
  for (std::string& path : verb.inputs()) inputs.push_back(std::move(path));
  for (const std::string& path : inputs)
    if (fs::exists(path)) text += "\n" + hash_path(path);
  return hash_text(text);
}

bool finished(const fs::path& record, const std::string& hash, const OptionList& list) {
  if (!fs::exists(record) || read_json(record).value("hash", "") != hash) return false;
  for (const std::string& path : paths(list, PathRole::output))
    if (!fs::exists(path)) return false;
  return true;
}

class Run : public Verb {
 public:
  void visit(OptionList& list) override {
    list.add("recipe", recipe_, "the recipe's file (may stand without its flag)").path = PathRole::input;
  }

  std::vector<std::string> take_arguments(std::vector<std::string> arguments) override {
    if (!arguments.empty() && arguments.front()[0] != '-') {
      recipe_ = arguments.front();
      arguments.erase(arguments.begin());
    }
    overrides_ = std::move(arguments);
    return {};
  }

  Json run() override {
    if (recipe_.empty())
      throw Error({.where = "retort run",
                   .found = "no recipe",
                   .expected = "a YAML file",
                   .advice = "Try recipes/quickstart.yaml."});
    const Recipe recipe = load_recipe(recipe_, overrides_);
    const fs::path folder = recipe.run_folder;
    write_json(folder / "recipe.json", recipe.resolved);
    Json results = Json::object();
    for (std::size_t i = 0; i < recipe.stages.size() && !interrupt_requested(); ++i) {
      const Stage& stage = recipe.stages[i];
      log_info("[{}/{}] {}{}", i + 1, recipe.stages.size(), stage.name,
               stage.name == stage.verb->name ? "" : fmt::format(" ({})", stage.verb->name));
      results[stage.name] = run_stage(stage, folder / "stages" / (stage.name + ".json"));
    }
    return results;
  }

 private:
  static Json run_stage(const Stage& stage, const fs::path& record) {
    const auto verb = stage.verb->make();
    OptionList list;
    verb->visit(list);
    list.assign(stage.options, stage.name);
    const std::string hash = stage_hash(stage, *verb, list);
    if (finished(record, hash, list)) {
      log_info("done before, nothing has changed");
      return read_json(record).at("result");
    }
    clear_stale_outputs(stage, list, record);
    const Json result = verb->run();
    if (!interrupt_requested())
      write_json(record, {{"verb", stage.verb->name}, {"hash", hash}, {"result", result}});
    return result;
  }

  // A stage whose record exists has made its outputs itself: it may make them anew. What it did not make, a
  // verb refuses to overwrite.
  static void clear_stale_outputs(const Stage& stage, const OptionList& list, const fs::path& record) {
    if (!fs::exists(record)) return;
    for (const std::string& path : paths(list, PathRole::output)) {
      log_info("{}: options or inputs changed, making {} anew", stage.name, path);
      remove_tree(path);
    }
    fs::remove(record);
  }

  std::string recipe_;
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_run() { return std::make_unique<Run>(); }

}  // namespace retort
