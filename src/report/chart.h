// Pictures in inline SVG, coloured by the page's style sheet so that they follow light and dark.
#pragma once

#include <string>

#include "base/json.h"
#include "report/words.h"

namespace retort {

// One of report.json's curves as a <figure>; "" when no series has a point. Values that cannot be drawn (not
// finite, or not positive on a logarithmic axis) interrupt their line.
std::string render_chart(const Json& curve, const Words& words);
// One of report.json's heatmaps as a <figure>; "" when it has no values.
std::string render_heatmap(const Json& heatmap);
// An interval against zero, as a small bar.
std::string render_interval(double low, double high);

}  // namespace retort
