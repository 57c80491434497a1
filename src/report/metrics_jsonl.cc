// metrics.jsonl: {"step": 12, "train/cross_entropy": 1.25} a line. A number that is not finite is null.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "report/append_file.h"
#include "report/report.h"

namespace retort {
namespace {

// The record of a line, or null when it is not one (the torn last line of a killed run).
Json parse_record(std::string_view line) {
  Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) return nullptr;
  return record;
}

// Calls visit(line, record) for each whole record.
template <class Visit>
void for_each_record(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (const Json record = parse_record(line); !record.is_null()) visit(line, record);
  }
}

void cut_records(const std::filesystem::path& path, std::int64_t resume_step) {
  if (!std::filesystem::exists(path)) return;
  const std::string content = read_file(path);
  std::string kept;
  for_each_record(content, [&](std::string_view line, const Json& record) {
    if (record["step"].get<std::int64_t>() < resume_step) kept.append(line).push_back('\n');
  });
  if (kept != content) write_file_atomically(path, kept);
}

class MetricsJsonl : public MetricsSink {
 public:
  explicit MetricsJsonl(const std::filesystem::path& path) : file_(path) {}

  void write(std::int64_t step, const std::vector<Metric>& metrics) override {
    Json record = {{"step", step}};
    for (const auto& [name, value] : metrics) record[name] = value;
    file_.append(record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }

 private:
  AppendFile file_;
};

}  // namespace

std::unique_ptr<MetricsSink> open_metrics_jsonl(const std::filesystem::path& path, std::int64_t resume_step) {
  cut_records(path, resume_step);
  return std::make_unique<MetricsJsonl>(path);
}

Json curves_from_metrics(const std::filesystem::path& metrics_jsonl, const std::string& series_name) {
  const MappedFile file(metrics_jsonl);
  std::vector<std::string> order;
  std::map<std::string, Json> points;
  for_each_record(file.text(), [&](std::string_view, const Json& record) {
    for (const auto& [name, value] : record.items()) {
      if (name == "step" || !value.is_number()) continue;
      const auto [at, is_new] = points.try_emplace(name, Json::array());
      if (is_new) order.push_back(name);
      at->second.push_back({record["step"], value});
    }
  });

  // "train/loss" and "validation/loss" belong into one picture, titled "loss".
  const auto leaf = [](const std::string& name) { return name.substr(name.find('/') + 1); };
  std::map<std::string, int> leaf_count;
  for (const std::string& name : order) ++leaf_count[leaf(name)];
  Json curves = Json::array();
  for (const std::string& name : order) {
    const bool shared = leaf_count[leaf(name)] > 1;
    const std::string group = name.substr(0, name.find('/'));
    Json curve = {{"title", shared ? leaf(name) : name},
                  {"series", Json::array({{{"name", shared ? series_name + " · " + group : series_name},
                                           {"points", std::move(points[name])}}})}};
    merge_curves(curves, Json::array({std::move(curve)}));
  }
  return curves;
}

void merge_curves(Json& curves, const Json& more) {
  if (!curves.is_array()) curves = Json::array();
  for (const Json& curve : more) {
    const auto same = std::find_if(curves.begin(), curves.end(),
                                   [&](const Json& c) { return c.at("title") == curve.at("title"); });
    if (same == curves.end()) {
      curves.push_back(curve);
      continue;
    }
    for (const Json& series : curve.at("series")) same->at("series").push_back(series);
  }
}

}  // namespace retort
