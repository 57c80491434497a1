#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "report/chart.h"
#include "report/html.h"

namespace retort {
namespace {

constexpr double kLabelWidth = 44, kLabelHeight = 22, kMapWidth = 500;
constexpr std::size_t kMaxCells = 128;       // a side
constexpr std::size_t kMaxWithNumbers = 12;  // columns whose cells have room for a number
constexpr std::size_t kMaxLabels = 16;

// Names come as strings or as numbers (layers).
std::string label(const Json& labels, std::size_t i) {
  if (i >= labels.size()) return std::to_string(i);
  return escape_html(labels[i].is_string() ? labels[i].get<std::string>()
                                           : labels[i].dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string render_heatmap(const Json& heatmap) {
  const Json &rows = list_part(heatmap, "rows"), &columns = list_part(heatmap, "columns"),
             &values = list_part(heatmap, "values");
  std::size_t width = 0;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Json& row : values) {
    if (!row.is_array()) continue;
    width = std::max(width, row.size());
    for (const Json& value : row) {
      if (const std::optional<double> v = number(value)) low = std::min(low, *v), high = std::max(high, *v);
    }
  }
  width = std::min(width, kMaxCells);
  const std::size_t height = std::min(values.size(), kMaxCells);
  if (width == 0 || low > high) return "";

  const double cell = kMapWidth / static_cast<double>(std::max<std::size_t>(width, 6)),
               cell_height = std::min(cell, 34.0);
  std::string svg;
  const std::size_t every_row = height / kMaxLabels + 1, every_column = width / kMaxLabels + 1;
  for (std::size_t r = 0; r < height; ++r) {
    const double y = kLabelHeight + static_cast<double>(r) * cell_height;
    if (r % every_row == 0)
      svg += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
                         kLabelWidth - 6, y + cell_height / 2 + 4, label(rows, r));
    for (std::size_t c = 0; values[r].is_array() && c < std::min(values[r].size(), width); ++c) {
      const std::optional<double> v = number(values[r][c]);
      if (!v) continue;
      const double x = kLabelWidth + static_cast<double>(c) * cell,
                   share = high > low ? (*v - low) / (high - low) : 1;
      svg += fmt::format(
          "<rect class=\"cell\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
          "fill-opacity=\"{:.3f}\">"
          "<title>{} × {}: {}</title></rect>",
          x, y, cell - 1, cell_height - 1, 0.04 + 0.96 * share, label(rows, r), label(columns, c),
          format_number(*v, -1));
      if (width <= kMaxWithNumbers)
        svg += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                           share > 0.55 ? "on" : "off", x + cell / 2, y + cell_height / 2 + 4,
                           format_number(*v, 2));
    }
  }
  for (std::size_t c = 0; c < width; c += every_column)
    svg +=
        fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    kLabelWidth + (static_cast<double>(c) + 0.5) * cell, kLabelHeight - 7, label(columns, c));
  const std::string title = escape_html(text_part(heatmap, "title"));
  return fmt::format(
      "<figure class=\"chart heat\"><figcaption>{0}<span class=\"faint\"> {1} … {2}</span></figcaption>"
      "<svg viewBox=\"0 0 {3} {4:.1f}\" role=\"img\" aria-label=\"{0}\">{5}</svg></figure>\n",
      title, format_number(low, -1), format_number(high, -1), kLabelWidth + kMapWidth,
      kLabelHeight + static_cast<double>(height) * cell_height, svg);
}

}  // namespace retort
