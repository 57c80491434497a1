#include "cli/compare.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli/learn_folder.h"
#include "cli/registry.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

struct Method {
  std::string name;
  Json changes;  // options of train
};

std::vector<Method> read_methods(const Json& given) {
  Json items = given;
  if (given.is_string()) {  // as the command line gives a list
    items = Json::array();
    const std::string text = given.get<std::string>();
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      items.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  std::vector<Method> methods;
  for (const Json& item : items.is_array() ? items : Json::array()) {
    Method method;
    method.changes = item.is_string() ? Json{{"adapter", item}} : item;
    if (!method.changes.is_object())
      throw Error({.where = "compare",
                   .found = item.dump(),
                   .expected = "a method's name, or its options such as {adapter: lora, learning_rate: 1e-3}",
                   .advice = ""});
    method.name = json_get_or<std::string>(
        method.changes, "name", json_get_or<std::string>(method.changes, "adapter", "full", "compare"),
        "compare");
    method.changes.erase("name");
    for (const Method& other : methods)
      if (other.name == method.name)
        throw Error({.where = "compare",
                     .found = "two methods named '" + method.name + "'",
                     .expected = "a 'name' of its own for each",
                     .advice = ""});
    methods.push_back(std::move(method));
  }
  if (methods.empty())
    throw Error(
        {.where = "compare", .found = given.dump(), .expected = "methods, e.g. full,lora", .advice = ""});
  return methods;
}

// One training, and the judging of what it made, as a recipe.
Json plan_of(LearnOptions options, const CompareOptions& compare, const Method& method, std::int64_t seed,
             const fs::path& out) {
  OptionList list;
  options.visit(list, /*distill=*/false);
  list.assign(method.changes, "compare: " + method.name);
  options.trainer.seed = seed;
  options.out = out.string();
  list.check("compare: " + method.name);
  options.check(/*distill=*/false);
  Json stages = Json::array({{{"train", list.to_json()}}});
  if (!compare.judge.empty())
    stages.push_back({{"evaluate",
                       {{"model", out.string()},
                        {"data", compare.judge},
                        {"limit", compare.judge_limit},
                        {"latency_samples", 0},
                        {"device", options.compute.device},
                        {"precision", options.compute.precision},
                        {"threads", options.compute.threads},
                        {"json", (out / "judged.json").string()},
                        {"outputs", (out / "judged.jsonl").string()}}}});
  return {{"run", out.string()}, {"stages", stages}};
}

// `retort run PLAN` in a process of its own; its exit code.
int run_apart(const fs::path& plan) {
  std::string program = "/proc/self/exe", verb = "run", file = plan.string();
  char* const arguments[] = {program.data(), verb.data(), file.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ) != 0)
    throw Error({.where = "compare",
                 .found = "no process for " + file,
                 .expected = "one for each method",
                 .advice = ""},
                ErrorKind::failure);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void print_report(const fs::path& out, const Json& rows) {
  const auto report = find_verb(verbs(), "report", "compare").make();
  OptionList list;
  report->visit(list);
  list.assign({{"run", out.string()},
               {"title", "Methods compared"},
               {"rows", rows},
               {"columns",
                {"nats_per_token", "nats_per_char", "bleu4", "rouge_l", "trainable_parameters",
                 "training_seconds", "training_peak_memory_bytes", "result_bytes"}}},
              "compare");
  report->run();
}

}  // namespace

void CompareOptions::visit(OptionList& list) {
  list.add(
      "compare", methods,
      "train by several methods, each in a process of its own, and print one table: full,lora,prefix,hybrid, "
      "or a list of options such as [full, {adapter: lora, learning_rate: 1e-3}]");
  list.add("seeds", seeds, "of compare: every method with each of these, scores averaged; none: seed alone");
  list.add("judge", judge, "of compare: also answer these pairs, for BLEU and ROUGE").path = PathRole::input;
  list.add("judge_limit", judge_limit, "of compare: at most so many pairs");
}

Json compare_methods(const LearnOptions& options, const CompareOptions& compare) {
  const fs::path out = options.out;
  const std::vector<Method> methods = read_methods(compare.methods);
  const std::vector<std::int64_t> seeds =
      compare.seeds.empty() ? std::vector{options.trainer.seed} : compare.seeds;
  struct Planned {
    const Method* method;
    std::int64_t seed;
    fs::path out;
    Json plan;
  };
  std::vector<Planned> runs;  // all are checked before the first begins
  for (const Method& method : methods)
    for (const std::int64_t seed : seeds) {
      const fs::path folder = out / fmt::format("{}-{}", method.name, seed);
      runs.push_back({&method, seed, folder, plan_of(options, compare, method, seed, folder)});
    }
  Json figures = Json::array(), rows = Json::array();
  for (const Planned& run : runs) {
    log_info("{}, seed {}", run.method->name, run.seed);
    const fs::path file = out / "plans" / (run.out.filename().string() + ".json");
    write_json(file, run.plan);
    const int code = run_apart(file);
    if (interrupt_requested() || code == 130) return nullptr;
    if (code != 0)
      throw Error({.where = "compare: " + run.method->name,
                   .found = fmt::format("exit code {}", code),
                   .expected = "a training that ends",
                   .advice = "Its own message stands above; what others have done is kept."},
                  code == 2 ? ErrorKind::user : ErrorKind::failure);
    Json figure = {
        {"method", run.method->name}, {"seed", run.seed}, {"training", read_json(run.out / kLearnResult)}};
    if (!compare.judge.empty()) figure["judged"] = read_json(run.out / "judged.json");
    figures.push_back(std::move(figure));
    if (rows.empty() || rows.back().at("name") != run.method->name)
      rows.push_back(
          {{"name", run.method->name}, {"training", Json::array()}, {"evaluation", Json::array()}});
    rows.back()["training"].push_back((run.out / kLearnResult).string());
    if (!compare.judge.empty()) rows.back()["evaluation"].push_back((run.out / "judged").string());
  }
  write_json(out / "compare.json", figures);
  print_report(out, rows);
  return figures;
}

}  // namespace retort
