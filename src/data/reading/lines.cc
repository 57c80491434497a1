#include <simdjson.h>

#include <array>
#include <cstring>

#include "data/reading/units.h"

namespace retort {

namespace {
constexpr std::array<std::string_view, 9> kBlanks = {" ",  "\t",     "\n",     "\r",    "\v",
                                                     "\f", "\u3000", "\u00a0", "\ufeff"};
}

std::string_view trim(std::string_view text) {
  for (bool again = true; again && !text.empty();) {
    again = false;
    for (const std::string_view blank : kBlanks) {
      if (text.starts_with(blank)) text.remove_prefix(blank.size()), again = true;
      if (text.ends_with(blank)) text.remove_suffix(blank.size()), again = true;
    }
  }
  return text;
}

const char* encoding_problem(std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) return "not valid UTF-8";
  if (std::memchr(text.data(), 0, text.size()) != nullptr) return "a NUL byte (is the file UTF-16?)";
  return nullptr;
}

LineReader::LineReader(std::unique_ptr<ByteStream> bytes, bool give_blank)
    : bytes_(std::move(bytes)), give_blank_(give_blank) {}

bool LineReader::next_raw(std::string_view& line, bool& too_long) {
  joined_.clear();
  too_long = false;
  bool any = false;
  for (;;) {
    if (piece_.empty()) {
      piece_ = bytes_->next();
      if (piece_.empty()) break;
    }
    any = true;
    const std::size_t end = piece_.find('\n');
    const std::string_view part = piece_.substr(0, end);
    const bool whole = end != std::string_view::npos && joined_.empty() && !too_long;
    too_long = too_long || joined_.size() + part.size() > kMaxUnitBytes;
    if (!whole && !too_long) joined_.append(part);
    piece_.remove_prefix(end == std::string_view::npos ? piece_.size() : end + 1);
    if (end == std::string_view::npos) continue;
    line = too_long ? std::string_view() : whole ? part : std::string_view(joined_);
    return true;
  }
  line = too_long ? std::string_view() : std::string_view(joined_);
  return any;
}

bool LineReader::next(Unit& unit) {
  std::string_view line;
  bool too_long = false;
  while (next_raw(line, too_long)) {
    ++number_;
    if (number_ == 1 && line.starts_with("\ufeff")) line.remove_prefix(3);
    if (line.ends_with('\r')) line.remove_suffix(1);
    unit = {line, number_, too_long ? "longer than 16 MiB" : nullptr};
    if (!too_long && !give_blank_ && trim(line).empty()) continue;
    if (!too_long) unit.problem = encoding_problem(line);
    return true;
  }
  return false;
}

void LineReader::rewind() {
  bytes_->rewind();
  piece_ = {};
  number_ = 0;
}

}  // namespace retort
