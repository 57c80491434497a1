#include "report/html.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr double kLargest = 1e100;  // differences and ratios of smaller numbers do not overflow

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t used = std::max<utf8proc_ssize_t>(utf8proc_iterate(at, left, &c), 1);
    if (c < 0)
      out += "\ufffd";
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
      out.append(reinterpret_cast<const char*>(at), static_cast<std::size_t>(used));
    at += used;
    left -= used;
  }
  return out;
}

const Json& part(const Json& object, const char* key) {
  static const Json nothing;
  if (!object.is_object()) return nothing;
  const auto at = object.find(key);
  return at == object.end() ? nothing : *at;
}

std::string text_part(const Json& object, const char* key) {
  const Json& value = part(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

std::optional<double> number(const Json& value) {
  if (!value.is_number() || !(std::fabs(value.get<double>()) <= kLargest)) return std::nullopt;
  return value.get<double>();
}

const Json& list_part(const Json& object, const char* key) {
  static const Json empty = Json::array();
  const Json& value = part(object, key);
  return value.is_array() ? value : empty;
}

std::string format_number(double value, std::int64_t digits, std::string_view minus) {
  const double size = std::fabs(value);
  if (digits < 0) {
    const int magnitude = size > 0 ? static_cast<int>(std::floor(std::log10(size))) : 0;
    if (magnitude < -4 || magnitude > 11) return fmt::format("{}{:.3g}", value < 0 ? minus : "", size);
    digits = size == std::floor(size) ? 0 : std::clamp(3 - magnitude, 0, 7);
  }
  const std::string plain = fmt::format("{:.{}f}", size, std::min<std::int64_t>(digits, 12));
  const std::size_t whole = std::min(plain.find('.'), plain.size());
  std::string text;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (i > 0 && i < whole && (whole - i) % 3 == 0) text += ',';
    text += plain[i];
  }
  const bool is_zero = text.find_first_not_of("0.,") == std::string::npos;
  return (value < 0 && !is_zero ? std::string(minus) : "") + text;
}

std::string format_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return fmt::format("{} {}", format_number(bytes, unit == 0 || bytes >= 100 ? 0 : 1), kUnits[unit]);
}

}  // namespace retort
