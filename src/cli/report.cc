// retort report: one HTML page and a table out of the figures that a run's other stages left.
#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "cli/registry.h"
#include "cli/report_rows.h"
#include "report/table.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

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
    list.add(
        "rows", rows_,
        "[{name: …, evaluation: PATH without .json/.jsonl}, …]: the table; several paths are runs of one "
        "thing (seeds), training: their train.json files, general: evaluations of a task that may be "
        "forgotten; without rows report.json is rendered again");
    list.add("columns", columns_,
             "keys of the columns to show, e.g. bleu4,nats_per_char; none: all that have figures");
    list.add("general_before", general_before_, "evaluation of that task before training");
    list.add("plots", plots_,
             "pictures of one column against another, e.g. [{x: trainable_parameters, y: rouge_l, log_x: "
             "true}]; rows "
             "with the same series share a line");
    list.add("compare", compare_, "[[NAME, NAME], …]: rows compared by paired bootstrap");
    list.add("margin", margin_,
             "[TEACHER, COPY]: also show each row's share of the teacher's BLEU margin over copying");
    list.add("baseline", baseline_,
             "name of a row: also show each row's difference from it, with paired bootstrap intervals");
    list.add("markdown", markdown_, "file for the table and what stands below it, as Markdown").path =
        PathRole::output;
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
    for (const Json& row : rows_) {
      const std::vector<std::string> read = report_row_inputs(row);
      paths.insert(paths.end(), read.begin(), read.end());
    }
    if (!general_before_.empty())
      for (const char* extension : {".json", ".jsonl"}) paths.push_back(general_before_ + extension);
    for (const Json& curve : curves_) paths.push_back(curve.value("metrics", ""));
    paths.insert(paths.end(), heatmaps_.begin(), heatmaps_.end());
    for (const Json& stage : stages_) paths.push_back(stage.get<std::string>());
    return paths;
  }

  bool heeds_interrupts() const override { return false; }

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
    if (!markdown_.empty()) write_file_atomically(markdown_, markdown_page(report));
    std::printf("\n%s\n", render_table(report.at("table")).c_str());
    for (const Json& comparison : report.value("comparisons", Json::array()))
      std::printf("%s\n", comparison.at("text").get<std::string>().c_str());
    for (const Json& note : report.value("notes", Json::array()))
      std::printf("%s\n", note.get<std::string>().c_str());
    std::printf("Report: %s\n", (folder / "report.html").string().c_str());
    return nullptr;
  }

 private:
  Json gather(const fs::path& folder) {
    std::optional<Evaluation> before;
    if (!general_before_.empty()) before = read_evaluation(general_before_);
    std::vector<ReportRow> rows;
    for (const Json& item : rows_) rows.push_back(read_report_row(item, before, "report: rows"));
    Json report = {{"title", title_.empty() ? folder.filename().string() : title_},
                   {"date", today()},
                   {"machine", machine().to_json()}};
    if (fs::exists(folder / "recipe.json")) report["recipe"] = read_file(folder / "recipe.json");
    report["table"] = make_table(rows);
    report["plots"] = make_plots(rows, report["table"]);
    report["comparisons"] = make_comparisons(rows);
    report["curves"] = make_curves();
    report["heatmaps"] = make_heatmaps();
    report["samples"] = make_samples(rows);
    report["notes"] = make_notes(rows);
    return report;
  }

  // Columns that were asked for, or all; those without a figure in any row are left out.
  std::vector<ReportColumn> chosen_columns(const std::vector<ReportRow>& rows) const {
    std::vector<std::string> known;
    for (const ReportColumn& column : report_columns()) known.push_back(column.key);
    for (const std::string& key : columns_)
      if (std::find(known.begin(), known.end(), key) == known.end())
        throw Error({.where = "report: columns",
                     .found = "'" + key + "'",
                     .expected = "",
                     .advice = suggest(key, known)});
    std::vector<ReportColumn> chosen;
    for (const ReportColumn& column : report_columns()) {
      const bool asked = columns_.empty()
                             ? !column.on_request
                             : std::find(columns_.begin(), columns_.end(), column.key) != columns_.end();
      if (asked && std::any_of(rows.begin(), rows.end(),
                               [&](const ReportRow& row) { return figure(row, column).is_number(); }))
        chosen.push_back(column);
    }
    return chosen;
  }

  // In the column's unit. A zero was not measured, except where it is a score.
  static Json figure(const ReportRow& row, const ReportColumn& column) {
    const Json value = row.figures.value(column.key, Json());
    const std::string key = column.key;
    const bool score = key == "bleu4" || key == "rouge_l" || key == "forgotten";
    if (!value.is_number() || (value.get<double>() == 0 && !score)) return nullptr;
    return value.get<double>() * column.scale();
  }

  static std::string markdown_page(const Json& report) {
    std::string text =
        "# " + report.at("title").get<std::string>() + "\n\n" + render_markdown(report.at("table"));
    for (const char* part : {"comparisons", "notes"}) {
      if (!report.at(part).empty()) text += "\n";
      for (const Json& item : report.at(part))
        text += "- " + (item.is_string() ? item : item.at("text")).get<std::string>() + "\n";
    }
    return text;
  }

  Json make_table(const std::vector<ReportRow>& rows) const {
    Json columns = Json::array(), lines = Json::array();
    const std::vector<ReportColumn> chosen = chosen_columns(rows);
    for (const ReportColumn& c : chosen)
      columns.push_back(
          {{"key", c.key}, {"title", c.title}, {"unit", c.unit}, {"better", c.better}, {"digits", c.digits}});
    const ReportRow* teacher = margin_.size() == 2 ? &find(rows, margin_[0].get<std::string>()) : nullptr;
    const ReportRow* copy = margin_.size() == 2 ? &find(rows, margin_[1].get<std::string>()) : nullptr;
    if (teacher)
      columns.push_back({{"key", "margin"},
                         {"title", "share of the teacher's margin"},
                         {"unit", "%"},
                         {"better", "high"},
                         {"digits", 1}});
    const ReportRow* baseline = baseline_.empty() ? nullptr : &find(rows, baseline_);
    if (baseline)
      for (const auto& [key, title, digits] :
           {std::tuple{"nats_difference", "nats / character, difference", 4},
            {"bleu_difference", "BLEU-4, difference", 2}})
        columns.push_back(
            {{"key", key}, {"title", title}, {"unit", ""}, {"better", "none"}, {"digits", digits}});
    for (const ReportRow& row : rows) {
      Json values = Json::object(), intervals = Json::object();
      if (baseline && &row != baseline) {
        const Comparison difference = compare(row.evaluation, baseline->evaluation);
        const auto add = [&](const char* key, const Interval& interval) {
          values[key] = interval.mean;
          intervals[key] = {interval.low, interval.high};
        };
        if (row.evaluation.has_likelihood && baseline->evaluation.has_likelihood)
          add("nats_difference", difference.nats_per_char);
        if (row.evaluation.has_answers && baseline->evaluation.has_answers)
          add("bleu_difference", difference.bleu4);
      }
      for (const ReportColumn& c : chosen) {
        values[c.key] = figure(row, c);
        const Json interval = row.figures.value(std::string(c.key) + "_interval", Json());
        if (interval.is_array()) intervals[c.key] = interval;
      }
      if (teacher && &row != copy && teacher->evaluation.bleu4 > copy->evaluation.bleu4)
        values["margin"] = 100 * (row.evaluation.bleu4 - copy->evaluation.bleu4) /
                           (teacher->evaluation.bleu4 - copy->evaluation.bleu4);
      lines.push_back({{"name", row.name}, {"values", values}, {"intervals", intervals}, {"note", row.note}});
    }
    return {{"columns", columns}, {"rows", lines}};
  }

  // Points of the table's rows, a line for each series in the order of its rows.
  Json make_plots(const std::vector<ReportRow>& rows, const Json& table) const {
    const auto title_of = [&](const std::string& key) -> std::string {
      std::vector<std::string> keys;
      for (const Json& column : table.at("columns")) {
        if (column.at("key") == key) return column.at("title");
        keys.push_back(column.at("key"));
      }
      throw Error({.where = "report: plots",
                   .found = "no column '" + key + "' in the table",
                   .expected = "",
                   .advice = suggest(key, keys)});
    };
    Json plots = Json::array();
    for (const Json& plot : plots_) {
      const auto x = json_get<std::string>(plot, "x", "report: plots"),
                 y = json_get<std::string>(plot, "y", "report: plots");
      const std::string title = title_of(y), x_title = title_of(x);
      Json series = Json::array();
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const Json& values = table.at("rows")[i].at("values");
        if (rows[i].series.empty() || !values.at(x).is_number() || !values.at(y).is_number()) continue;
        const auto same = std::find_if(series.begin(), series.end(),
                                       [&](const Json& s) { return s.at("name") == rows[i].series; });
        Json& line = same != series.end()
                         ? *same
                         : series.emplace_back(Json{{"name", rows[i].series}, {"points", Json::array()}});
        line["points"].push_back({values.at(x), values.at(y)});
      }
      for (Json& line : series) std::sort(line["points"].begin(), line["points"].end());
      plots.push_back(
          {{"title", title}, {"x", x_title}, {"log_x", plot.value("log_x", false)}, {"series", series}});
    }
    return plots;
  }

  static const ReportRow& find(const std::vector<ReportRow>& rows, const std::string& name) {
    std::vector<std::string> names;
    for (const ReportRow& row : rows) {
      if (row.name == name) return row;
      names.push_back(row.name);
    }
    throw Error({.where = "report",
                 .found = "no row '" + name + "'",
                 .expected = "",
                 .advice = suggest(name, names)});
  }

  Json make_comparisons(const std::vector<ReportRow>& rows) const {
    Json list = Json::array();
    for (const Json& pair : compare_) {
      const ReportRow& a = find(rows, pair.at(0).get<std::string>());
      const ReportRow& b = find(rows, pair.at(1).get<std::string>());
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

  Json make_samples(const std::vector<ReportRow>& rows) const {
    Json list = Json::array();
    if (rows.empty()) return list;
    const std::size_t total = rows.front().evaluation.pairs.size();
    const std::size_t count = std::min<std::size_t>(total, static_cast<std::size_t>(samples_));
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t index = i * total / count;  // evenly over the list, chosen before any output was seen
      const JudgedPair& pair = rows.front().evaluation.pairs[index];
      Json outputs = Json::object();
      for (const ReportRow& row : rows) outputs[row.name] = row.evaluation.pairs[index].hypothesis;
      list.push_back({{"source", pair.source}, {"reference", pair.reference}, {"outputs", outputs}});
    }
    return list;
  }

  Json make_notes(const std::vector<ReportRow>& rows) const {
    Json notes = Json::array();
    if (!rows.empty() && !rows.front().evaluation.pairs.empty())
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

  std::string baseline_, markdown_, run_, title_, language_ = "en", general_before_;
  std::vector<std::string> columns_;
  Json rows_, plots_ = Json::array(), compare_ = Json::array(), margin_ = Json::array(),
              curves_ = Json::array(), stages_ = Json::array();
  std::vector<std::string> heatmaps_;
  std::int64_t samples_ = 20;
};

}  // namespace

std::unique_ptr<Verb> make_report() { return std::make_unique<Report>(); }

}  // namespace retort
