#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/chart.h"
#include "report/html.h"
#include "report/report.h"
#include "report/results.h"
#include "report/style.h"

namespace retort {
namespace {

constexpr std::size_t kMaxSamples = 20;

std::string section(const char* title, const std::string& body) {
  return body.empty() ? "" : fmt::format("<section><h2>{}</h2>\n{}</section>\n", title, body);
}

std::string cell_html(const ResultCell& cell, std::int64_t digits) {
  if (!cell.value) return "<td class=\"faint\">–</td>";
  const std::string value = format_number(*cell.value, digits);
  std::string html = cell.best ? "<b>" + value + "</b>" : value;
  if (cell.interval)
    html += fmt::format("<small>{} – {}</small>", format_number(cell.interval->first, digits),
                        format_number(cell.interval->second, digits));
  return "<td>" + html + "</td>";
}

std::string results_html(const Json& table, const Words& words) {
  const Results results = read_results(table);
  if (results.rows.empty() || results.columns.empty()) return "";
  std::string html = fmt::format("<div class=\"panel scroll\"><table><thead><tr><th>{}</th>", words.name);
  for (const ResultColumn& column : results.columns) {
    const bool high = column.better == ResultColumn::Better::high,
               none = column.better == ResultColumn::Better::none;
    const std::string arrow =
        none ? ""
             : fmt::format(" <span class=\"faint\" title=\"{}\">{}</span>",
                           high ? words.higher_is_better : words.lower_is_better, high ? "↑" : "↓");
    html += fmt::format("<th>{}{}<small>{}</small></th>", escape_html(column.title), arrow,
                        escape_html(column.unit));
  }
  html += "</tr></thead><tbody>\n";
  for (const ResultRow& row : results.rows) {
    html += "<tr><th>" + escape_html(row.name);
    if (!row.note.empty()) html += "<small>" + escape_html(row.note) + "</small>";
    html += "</th>";
    for (std::size_t i = 0; i < row.cells.size(); ++i)
      html += cell_html(row.cells[i], results.columns[i].digits);
    html += "</tr>\n";
  }
  return html + fmt::format("</tbody></table></div><p class=\"aside\">{}</p>", words.best_note);
}

std::string comparisons_html(const Json& comparisons, const Words& words) {
  std::string rows;
  for (const Json& comparison : comparisons) {
    const std::optional<double> low = number(part(comparison, "low")),
                                high = number(part(comparison, "high"));
    if (!low || !high) continue;
    // Both ends with the decimals that the larger one needs for three digits.
    const double size = std::max({std::fabs(*low), std::fabs(*high), 1e-9});
    const auto digits =
        std::clamp<std::int64_t>(2 - static_cast<std::int64_t>(std::floor(std::log10(size))), 0, 9);
    const bool clear = *low > 0 || *high < 0;
    rows += fmt::format(
        "<tr><td class=\"text\">{}</td><td>{} … {}</td><td>{}</td><td class=\"text {}\">{}</td></tr>\n",
        escape_html(text_part(comparison, "text")), format_number(*low, digits), format_number(*high, digits),
        render_interval(*low, *high), clear ? "clear-mark" : "faint",
        clear ? words.significant : words.not_significant);
  }
  if (rows.empty()) return "";
  return fmt::format(
      "<div class=\"panel "
      "scroll\"><table><thead><tr><th>{}</th><th>{}</th><th></th><th></th></tr></thead><tbody>\n{}</tbody></"
      "table>"
      "</div><p class=\"aside\">{}</p>",
      words.difference, words.interval, rows, words.interval_note);
}

template <class Render>
std::string charts_html(const Json& items, const Render& render) {
  std::string charts;
  for (const Json& item : items) charts += render(item);
  return charts.empty() ? "" : "<div class=\"charts\">" + charts + "</div>";
}

// dir=auto: text of each direction stands by itself, so that one sample cannot turn its neighbours around.
std::string sample_part(const char* kind, const std::string& title, const std::string& text,
                        const Words& words) {
  return fmt::format(
      "<section class=\"{}\"><h3>{}</h3><p dir=\"auto\">{}</p></section>", kind, title,
      text.empty() ? fmt::format("<span class=\"faint\">{}</span>", words.no_output) : escape_html(text));
}

std::string samples_html(const Json& samples, const Words& words) {
  std::string html;
  for (std::size_t i = 0; i < std::min(samples.size(), kMaxSamples); ++i) {
    const Json& sample = samples[i];
    std::string given, outputs;
    for (const auto& [key, title] : {std::pair{"source", words.source}, {"reference", words.reference}})
      if (const std::string text = text_part(sample, key); !text.empty())
        given += sample_part("given", title, text, words);
    if (const Json& texts = part(sample, "outputs"); texts.is_object()) {
      for (const auto& [name, text] : texts.items())
        outputs +=
            sample_part("output", escape_html(name), text.is_string() ? text.get<std::string>() : "", words);
    }
    html +=
        fmt::format("<article class=\"panel sample\"><div>{}</div><div>{}</div></article>\n", given, outputs);
  }
  return html;
}

std::string machine_html(const Json& machine) {
  if (!machine.is_object()) return "";
  std::string rows;
  for (const auto& [key, value] : machine.items()) {
    std::string name = key, text;
    const bool bytes = name.size() > 6 && name.compare(name.size() - 6, 6, "_bytes") == 0;
    if (bytes) name.resize(name.size() - 6);
    std::replace(name.begin(), name.end(), '_', ' ');
    if (bytes && number(value))
      text = format_bytes(*number(value));
    else if (value.is_string())
      text = value.get<std::string>();
    else if (value.is_array())
      for (const Json& item : value)
        text += (text.empty() ? "" : " ") + (item.is_string() ? item.get<std::string>() : item.dump());
    else
      text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    rows += fmt::format("<dt>{}</dt><dd>{}</dd>", escape_html(name), escape_html(text));
  }
  return rows.empty() ? "" : "<dl class=\"panel\">" + rows + "</dl>";
}

std::string recipe_html(const std::string& recipe, const Words& words) {
  if (recipe.empty()) return "";
  const bool is_short = std::count(recipe.begin(), recipe.end(), '\n') <= 40;
  return fmt::format("<details class=\"panel\"{}><summary>{}</summary><pre>{}</pre></details>",
                     is_short ? " open" : "", words.show_recipe, escape_html(recipe));
}

std::string notes_html(const Json& notes) {
  std::string items;
  for (const Json& note : notes)
    if (note.is_string()) items += "<li>" + escape_html(note.get<std::string>()) + "</li>";
  return items.empty() ? "" : "<ul class=\"notes\">" + items + "</ul>";
}

}  // namespace

std::string render_report(const Json& report, const std::string& language) {
  const Words& words = words_for(language);
  const std::string title =
      escape_html(text_part(report, "title").empty() ? "Retort" : text_part(report, "title"));
  const std::string date = escape_html(text_part(report, "date")),
                    summary = escape_html(text_part(report, "summary"));
  // The policy is a second lock behind the escaping: nothing is loaded and nothing runs, whatever a sample
  // holds.
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\"><title>{}</title>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<style>{}</style></head><body>\n"
      "<header><h1>{}</h1>",
      words.html_language, title, kReportStyle, title);
  if (!date.empty()) page += "<p class=\"date\">" + date + "</p>";
  if (!summary.empty()) page += "<p class=\"summary\">" + summary + "</p>";
  page += "</header>\n<main>\n";
  const auto charts = [&](const char* key) {
    return charts_html(list_part(report, key), [&](const Json& c) { return render_chart(c, words); });
  };
  page += section(words.results, results_html(part(report, "table"), words) + charts("plots"));
  page += section(words.comparisons, comparisons_html(list_part(report, "comparisons"), words));
  page += section(words.curves, charts("curves"));
  page += section(words.heatmaps, charts_html(list_part(report, "heatmaps"), render_heatmap));
  page += section(words.samples, samples_html(list_part(report, "samples"), words));
  page += section(words.notes, notes_html(list_part(report, "notes")));
  page += section(words.configuration, recipe_html(text_part(report, "recipe"), words));
  page += section(words.machine, machine_html(part(report, "machine")));
  return page +
         fmt::format("</main>\n<footer>{} {}</footer>\n</body></html>\n", words.made_by, RETORT_VERSION);
}

}  // namespace retort
