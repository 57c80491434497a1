#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/axis.h"
#include "report/html.h"

namespace retort {
namespace {

constexpr double kWidth = 560, kHeight = 270, kLeft = 56, kRight = 14, kTop = 10, kBottom = 34;
constexpr std::size_t kColors = 8;        // --c0 … --c7 in the style sheet
constexpr std::size_t kMaxBuckets = 300;  // of a line: about two a pixel column
constexpr std::size_t kMaxMarkers = 48;   // with a value shown under the pointer

struct Point {
  double x, y;
  bool drawable;
};

struct Series {
  std::string name;
  std::vector<Point> points;
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool flag(const Json& curve, const char* key) {
  return part(curve, key).is_boolean() && part(curve, key).get<bool>();
}

// `log_x`, `log_y`: values that are not positive have no place there.
std::vector<Series> read_series(const Json& curve, bool log_x, bool log_y) {
  std::vector<Series> all;
  for (const Json& item : list_part(curve, "series")) {
    Series series{text_part(item, "name"), {}};
    for (const Json& point : list_part(item, "points")) {
      if (!point.is_array() || point.size() != 2) continue;
      const std::optional<double> x = number(point[0]), y = number(point[1]);
      if (x && (!log_x || *x > 0)) series.points.push_back({*x, y.value_or(0), y && (!log_y || *y > 0)});
    }
    const bool any =
        std::any_of(series.points.begin(), series.points.end(), [](const Point& p) { return p.drawable; });
    if (any) all.push_back(std::move(series));
  }
  return all;
}

// The lowest and highest point of each stretch stand for all of it: spikes stay visible, the page stays
// small.
std::vector<Point> thin_out(const std::vector<Point>& points) {
  if (points.size() <= 2 * kMaxBuckets) return points;
  std::vector<Point> kept = {points.front()};
  for (std::size_t bucket = 0; bucket < kMaxBuckets; ++bucket) {
    const std::size_t begin = bucket * points.size() / kMaxBuckets,
                      end = (bucket + 1) * points.size() / kMaxBuckets;
    std::size_t low = begin, high = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (!points[i].drawable) continue;
      if (!points[low].drawable || points[i].y < points[low].y) low = i;
      if (!points[high].drawable || points[i].y > points[high].y) high = i;
    }
    kept.push_back(points[std::min(low, high)]);
    if (low != high) kept.push_back(points[std::max(low, high)]);
  }
  kept.push_back(points.back());
  return kept;
}

std::string path_of(const std::vector<Point>& points, const Axis& x, const Axis& y) {
  std::string path;
  bool pen_down = false;
  for (const Point& point : points) {
    if (point.drawable)
      path += fmt::format("{}{:.1f} {:.1f}", pen_down ? 'L' : 'M', x.place(point.x), y.place(point.y));
    pen_down = point.drawable;
  }
  return path;
}

std::string grid(const Axis& x, const Axis& y) {
  std::string svg;
  for (const Tick& tick : y.ticks()) {
    const double at = y.place(tick.value);
    svg += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft,
                       kWidth - kRight, at, at);
    svg += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kLeft - 8,
                       at + 4, tick.label);
  }
  for (const Tick& tick : x.ticks()) {
    const double at = x.place(tick.value), bottom = kHeight - kBottom;
    svg += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>", at, at,
                       bottom, bottom + 4);
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", at,
                       bottom + 17, tick.label);
  }
  return svg + fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", kLeft,
                           kWidth - kRight, kHeight - kBottom, kHeight - kBottom);
}

// Points that tell their value under the pointer; all are visible when there are few.
std::string markers(const Series& series, const Axis& x, const Axis& y, const std::string& x_title,
                    const std::string& unit) {
  std::vector<Point> points;
  std::copy_if(series.points.begin(), series.points.end(), std::back_inserter(points),
               [](const Point& p) { return p.drawable; });
  const std::size_t count = std::min(points.size(), kMaxMarkers);
  std::string svg;
  for (std::size_t k = 0; k < count; ++k) {
    const Point& point = points[count == 1 ? 0 : k * (points.size() - 1) / (count - 1)];
    svg += fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{} · {} {}: {}{}</title></circle>",
        points.size() <= 12 ? "dot" : "dot quiet", x.place(point.x), y.place(point.y),
        points.size() <= 12 ? 3 : 4, escape_html(series.name), x_title, format_number(point.x, -1),
        format_number(point.y, -1), unit);
  }
  return svg;
}

}  // namespace

std::string render_chart(const Json& curve, const Words& words) {
  const bool logarithmic = flag(curve, "log"), log_x = flag(curve, "log_x");
  const std::vector<Series> all = read_series(curve, log_x, logarithmic);
  if (all.empty()) return "";
  Range steps, values;
  for (const Series& series : all) {
    for (const Point& point : series.points) {
      steps.include(point.x);
      if (point.drawable) values.include(point.y);
    }
  }
  if (logarithmic) {
    const double margin = std::pow(values.high / values.low, 0.03);
    values.low /= margin;
    values.high *= margin;
  } else {
    const double margin = 0.04 * (values.high - values.low);
    // A curve that comes near zero starts there.
    values.low = values.low >= 0 && values.low < 0.2 * values.high ? 0 : values.low - margin;
    values.high += margin;
  }
  const Axis x(steps.low, steps.high, kLeft, kWidth - kRight, log_x);
  const Axis y(values.low, values.high, kHeight - kBottom, kTop, logarithmic);

  const std::string title = escape_html(text_part(curve, "title"));
  const std::string x_title = text_part(curve, "x").empty() ? words.step : escape_html(text_part(curve, "x"));
  const std::string unit =
      text_part(curve, "unit").empty() ? "" : " " + escape_html(text_part(curve, "unit"));
  std::string legend, lines;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Series& series = all[i];
    // Beyond the palette the colours come again, dashed.
    const std::string look = fmt::format("s{}{}", i % kColors, i >= kColors ? " again" : "");
    const auto last =
        std::find_if(series.points.rbegin(), series.points.rend(), [](const Point& p) { return p.drawable; });
    legend += fmt::format("<li class=\"{}\"><i></i>{} <span class=\"faint\">{}</span></li>", look,
                          escape_html(series.name), format_number(last->y, -1));
    lines += fmt::format("<g class=\"{}\"><path class=\"line\" d=\"{}\"/>{}</g>", look,
                         path_of(thin_out(series.points), x, y), markers(series, x, y, x_title, unit));
  }
  return fmt::format(
      "<figure class=\"chart\"><figcaption>{0}<span class=\"faint\">{1}{2}</span></figcaption><ul "
      "class=\"legend\">{3}</ul>"
      "<svg viewBox=\"0 0 {4} {5}\" role=\"img\" aria-label=\"{0}\">{6}{7}"
      "<text class=\"tick\" x=\"{8}\" y=\"{9}\" text-anchor=\"end\">{10}</text></svg></figure>\n",
      title, unit, logarithmic ? " · log" : "", legend, kWidth, kHeight, grid(x, y), lines, kWidth - kRight,
      kHeight - 3, x_title);
}

std::string render_interval(double low, double high) {
  constexpr double kMiddle = 70, kHalf = 60;
  const double scale = std::max({std::fabs(low), std::fabs(high), 1e-300});
  const double from = kMiddle + kHalf * low / scale, to = kMiddle + kHalf * high / scale;
  return fmt::format(
      "<svg class=\"interval {}\" viewBox=\"0 0 140 18\" width=\"140\" height=\"18\" "
      "aria-hidden=\"true\"><line class=\"axis\" "
      "x1=\"70\" x2=\"70\" y1=\"1\" y2=\"17\"/><line class=\"bar\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"9\" "
      "y2=\"9\"/></svg>",
      low > 0 || high < 0 ? "clear" : "unclear", from, to);
}

}  // namespace retort
