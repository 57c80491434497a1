// retort report: one HTML page and a table out of the figures that a run's other stages left.
#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "cli/registry.h"
#include "evaluate/evaluate.h"
#include "report/table.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

// One of the figures that `retort evaluate --json` writes, as a column.
struct Column {
  const char *key, *title, *unit, *better;
  int digits;
};
constexpr Column kColumns[] = {
    {"parameters", "parameters", "M", "none", 2},
    {"file_bytes", "file", "MB", "none", 1},
    {"bleu4", "BLEU-4", "", "high", 2},
    {"rouge_l", "ROUGE-L", "", "high", 4},
    {"nats_per_char", "nats / character", "", "low", 4},
    {"tokens_per_second", "tokens / s", "", "high", 0},
    {"latency_median_ms", "latency, median", "ms", "low", 0},
    {"latency_p99_ms", "latency, 99 %", "ms", "low", 0},
    {"peak_memory_bytes", "peak memory", "MB", "low", 0},
};

double scale_of(const std::string& unit) { return unit == "M" || unit == "MB" ? 1e-6 : 1; }

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&now));
  return text;
}

class Report : public Verb {
 public:
  void visit(OptionList& list) override {
    list.add("run", run_,
             "run folder, where report.json and report.html are written (may stand without its flag)");
    list.add("title", title_, "of the page");
    list.add("language", language_, "of the headings").choices = {"en", "zh"};
    list.add("rows", rows_,
             "[{name: …, evaluation: PATH without .json/.jsonl}, …]: the table; without it report.json is "
             "rendered again");
    list.add("compare", compare_, "[[NAME, NAME], …]: rows compared by paired bootstrap");
    list.add("margin", margin_,
             "[TEACHER, COPY]: also show each row's share of the teacher's BLEU margin over copying");
    list.add("curves", curves_, "[{name: …, metrics: PATH of metrics.jsonl}, …]");
    list.add("heatmaps", heatmaps_, "files written by `retort inspect --cka --json`");
    list.add("stages", stages_, "stage records whose figures matter to the reader (training times)");
    list.add("samples", samples_, "sentences shown side by side");
  }

  std::vector<std::string> take_arguments(std::vector<std::string> arguments) override {
    if (!arguments.empty() && arguments.front()[0] != '-') {
      run_ = arguments.front();
      arguments.erase(arguments.begin());
    }
    return arguments;
  }

  std::vector<std::string> inputs() const override {
    std::vector<std::string> paths;
    for (const Json& row : rows_)
      for (const char* extension : {".json", ".jsonl"})
        paths.push_back(row.value("evaluation", "") + extension);
    for (const Json& curve : curves_) paths.push_back(curve.value("metrics", ""));
    paths.insert(paths.end(), heatmaps_.begin(), heatmaps_.end());
    for (const Json& stage : stages_) paths.push_back(stage.get<std::string>());
    return paths;
  }

  Json run() override {
    if (run_.empty())
      throw Error({.where = "retort report", .found = "no run folder", .expected = "one", .advice = ""});
    const fs::path folder = run_;
    if (!rows_.is_null())
      write_json(folder / "report.json", gather(folder));
    else if (!fs::exists(folder / "report.json"))
      throw Error({.where = (folder / "report.json").string(),
                   .found = "no such file",
                   .expected = "a run with a report stage",
                   .advice = ""});
    const Json report = read_json(folder / "report.json");
    write_file_atomically(folder / "report.html", render_report(report, language_));
    std::printf("\n%s\n", render_table(report.at("table")).c_str());
    for (const Json& comparison : report.value("comparisons", Json::array()))
      std::printf("%s\n", comparison.at("text").get<std::string>().c_str());
    for (const Json& note : report.value("notes", Json::array()))
      std::printf("%s\n", note.get<std::string>().c_str());
    std::printf("Report: %s\n", (folder / "report.html").string().c_str());
    return nullptr;
  }

 private:
  struct Row {
    std::string name;
    Json figures;
    Evaluation evaluation;
  };

  Json gather(const fs::path& folder) {
    std::vector<Row> rows;
    for (const Json& item : rows_) {
      const std::string where = "report: rows";
      Row row{json_get<std::string>(item, "name", where), {}, {}};
      const std::string path = json_get<std::string>(item, "evaluation", where);
      row.figures = read_json(path + ".json");
      EvaluateOptions options;
      options.bleu_tokenize = row.figures.value("bleu_tokenize", options.bleu_tokenize);
      row.evaluation = read_outputs(path + ".jsonl", options);
      rows.push_back(std::move(row));
    }
    Json report = {{"title", title_.empty() ? folder.filename().string() : title_},
                   {"date", today()},
                   {"machine", machine().to_json()}};
    if (fs::exists(folder / "recipe.json")) report["recipe"] = read_file(folder / "recipe.json");
    report["table"] = make_table(rows);
    report["comparisons"] = make_comparisons(rows);
    report["curves"] = make_curves();
    report["heatmaps"] = make_heatmaps();
    report["samples"] = make_samples(rows);
    report["notes"] = make_notes(rows);
    return report;
  }

  Json make_table(const std::vector<Row>& rows) const {
    Json columns = Json::array(), lines = Json::array();
    for (const Column& c : kColumns)
      columns.push_back(
          {{"key", c.key}, {"title", c.title}, {"unit", c.unit}, {"better", c.better}, {"digits", c.digits}});
    const Row* teacher = margin_.size() == 2 ? &find(rows, margin_[0].get<std::string>()) : nullptr;
    const Row* copy = margin_.size() == 2 ? &find(rows, margin_[1].get<std::string>()) : nullptr;
    if (teacher)
      columns.push_back({{"key", "margin"},
                         {"title", "share of the teacher's margin"},
                         {"unit", "%"},
                         {"better", "high"},
                         {"digits", 1}});
    for (const Row& row : rows) {
      Json values = Json::object(), intervals = Json::object();
      for (const Column& c : kColumns) {
        const Json value = row.figures.value(c.key, Json());
        const bool missing =
            !value.is_number() || (value.get<double>() == 0 && std::string(c.key) != "bleu4");
        values[c.key] = missing ? Json() : Json(value.get<double>() * scale_of(c.unit));
        const Json interval = row.figures.value(std::string(c.key) + "_interval", Json());
        if (interval.is_array()) intervals[c.key] = interval;
      }
      if (teacher && &row != copy && teacher->evaluation.bleu4 > copy->evaluation.bleu4)
        values["margin"] = 100 * (row.evaluation.bleu4 - copy->evaluation.bleu4) /
                           (teacher->evaluation.bleu4 - copy->evaluation.bleu4);
      lines.push_back({{"name", row.name}, {"values", values}, {"intervals", intervals}, {"note", ""}});
    }
    return {{"columns", columns}, {"rows", lines}};
  }

  static const Row& find(const std::vector<Row>& rows, const std::string& name) {
    std::vector<std::string> names;
    for (const Row& row : rows) {
      if (row.name == name) return row;
      names.push_back(row.name);
    }
    throw Error({.where = "report",
                 .found = "no row '" + name + "'",
                 .expected = "",
                 .advice = suggest(name, names)});
  }

  Json make_comparisons(const std::vector<Row>& rows) const {
    Json list = Json::array();
    for (const Json& pair : compare_) {
      const Row& a = find(rows, pair.at(0).get<std::string>());
      const Row& b = find(rows, pair.at(1).get<std::string>());
      const Comparison difference = compare(a.evaluation, b.evaluation);
      const std::size_t most = std::max(a.evaluation.pairs.size(), b.evaluation.pairs.size());
      const std::string partial =
          difference.pairs == most ? "" : fmt::format(", {} of {} pairs", difference.pairs, most);
      const auto add = [&](const std::string& what, const Interval& interval, int digits) {
        list.push_back({{"text", fmt::format("{} − {}: {} {:+.{}f} (95 % interval {:+.{}f} … {:+.{}f}){}",
                                             a.name, b.name, what, interval.mean, digits, interval.low,
                                             digits, interval.high, digits, partial)},
                        {"low", interval.low},
                        {"high", interval.high}});
      };
      add("BLEU-4", difference.bleu4, 2);
      if (a.evaluation.nats_per_char > 0 && b.evaluation.nats_per_char > 0)
        add("nats per character", difference.nats_per_char, 4);
    }
    return list;
  }

  Json make_heatmaps() const {
    Json maps = Json::array();
    for (const std::string& path : heatmaps_) {
      const Json found = read_json(path).value("heatmaps", Json());
      if (!found.is_array())
        throw Error({.where = "report: heatmaps",
                     .found = path + ", which has none",
                     .expected = "a file written by `retort inspect --cka --json`",
                     .advice = ""});
      maps.insert(maps.end(), found.begin(), found.end());
    }
    return maps;
  }

  // One picture per kind of figure, with a line per run.
  Json make_curves() const {
    Json merged = Json::array();
    for (const Json& item : curves_) {
      for (const Json& curve : curves_from_metrics(json_get<std::string>(item, "metrics", "report: curves"),
                                                   json_get<std::string>(item, "name", "report: curves"))) {
        Json* same = nullptr;
        for (Json& other : merged)
          if (other.at("title") == curve.at("title")) same = &other;
        if (same == nullptr)
          merged.push_back(curve);
        else
          for (const Json& series : curve.at("series")) (*same)["series"].push_back(series);
      }
    }
    return merged;
  }

  Json make_samples(const std::vector<Row>& rows) const {
    Json list = Json::array();
    if (rows.empty()) return list;
    const std::size_t total = rows.front().evaluation.pairs.size();
    const std::size_t count = std::min<std::size_t>(total, static_cast<std::size_t>(samples_));
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t index = i * total / count;  // evenly over the list, chosen before any output was seen
      const JudgedPair& pair = rows.front().evaluation.pairs[index];
      Json outputs = Json::object();
      for (const Row& row : rows) outputs[row.name] = row.evaluation.pairs[index].hypothesis;
      list.push_back({{"source", pair.source}, {"reference", pair.reference}, {"outputs", outputs}});
    }
    return list;
  }

  Json make_notes(const std::vector<Row>& rows) const {
    Json notes = Json::array();
    if (!rows.empty())
      notes.push_back(fmt::format(
          "{} pairs that no model was trained on; BLEU signature {}; brackets are 95 % bootstrap intervals.",
          rows.front().evaluation.pairs.size(), rows.front().figures.value("bleu_signature", "")));
    for (const Json& item : stages_) {
      const Json result = read_json(item.get<std::string>());
      if (result.contains("seconds"))
        notes.push_back(fmt::format("{}: {} tokens in {:.0f} s ({:.0f} tokens/s, {}, {} threads).",
                                    fs::path(item.get<std::string>()).parent_path().filename().string(),
                                    result.value("tokens", std::int64_t{0}), result.value("seconds", 0.0),
                                    result.value("tokens_per_second", 0.0),
                                    result.at("compute").value("precision", ""),
                                    result.at("compute").value("threads", 0)));
      if (result.value("shortened_for_slow_cpu", false))
        notes.push_back(
            "This CPU does not multiply bf16 in hardware: the token budget was shortened, and the scores are "
            "lower for it.");
    }
    return notes;
  }

  std::string run_, title_, language_ = "en";
  Json rows_, compare_ = Json::array(), margin_ = Json::array(), curves_ = Json::array(),
              stages_ = Json::array();
  std::vector<std::string> heatmaps_;
  std::int64_t samples_ = 20;
};

}  // namespace

std::unique_ptr<Verb> make_report() { return std::make_unique<Report>(); }

}  // namespace retort
