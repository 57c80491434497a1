// A run folder as one self-contained HTML page. Knows nothing of models: it draws what the stages left in
// report.json and metrics.jsonl.
//
// report.json (written by `retort run`); every part may be missing, and a part of another type than this is
// left out:
//   {"title": …, "date": …, "summary": "a sentence or two", "machine": {…}, "recipe": "yaml text",
//    "table": {"columns": [{"key", "title", "unit", "better": "high|low|none", "digits"}],
//              "rows": [{"name", "values": {key: number|null}, "intervals": {key: [low, high]}, "note"}]},
//    "plots": […],  as curves; of a number against another: {"x": what stands below, "log_x": bool}
//    "comparisons": [{"text", "low", "high"}],
//    "curves": [{"title", "unit", "log": bool, "series": [{"name", "points": [[step, value], …]}]}],
//    "samples": [{"source", "reference", "outputs": {row name: text}}],
//    "notes": ["…"], "heatmaps": [{"title", "rows": […], "columns": […], "values": [[…]]}]}
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/metrics_sink.h"

namespace retort {

// The page, with inline SVG and style, no script needed to read it; `language` "en" or "zh" for headings. At
// most twenty samples are shown. Throws Error for another language.
std::string render_report(const Json& report, const std::string& language);

// Curves out of a metrics.jsonl, one per metric; those that differ only in the part before the first '/'
// ("train/loss", "validation/loss") share one, under what follows it.
Json curves_from_metrics(const std::filesystem::path& metrics_jsonl, const std::string& series_name);
// Adds curves; series of curves with the same title come together (two runs in one picture).
void merge_curves(Json& curves, const Json& more);

// One JSON object a line: {"step": …, name: value …}. Appends; records at or past `resume_step` are cut off
// first, so that a resumed run repeats none.
std::unique_ptr<MetricsSink> open_metrics_jsonl(const std::filesystem::path& path,
                                                std::int64_t resume_step = 0);
// TensorBoard event files: TFRecord framing with masked CRC-32C, scalar summaries
// (tensorflow/core/util/event.proto). A new file each time; readers then drop earlier files' records at or
// past `resume_step`.
std::unique_ptr<MetricsSink> open_tensorboard(const std::filesystem::path& folder,
                                              std::int64_t resume_step = 0);

}  // namespace retort
