// Who is who among records: identity, train or validation, and what counts as the same text.
#include <utf8proc.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "data/reading/units.h"
#include "data/record_source.h"

namespace retort {
namespace {

// utf8proc_map, with memory freed; "" for text that is not UTF-8.
std::string map_utf8(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(options));
  if (size < 0) return "";
  std::string result(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);
  return result;
}

bool is_ascii(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

// Line ends, outer white space and Unicode's composed or decomposed spelling are how a text was saved, not
// what it says.
std::string canonical(std::string_view text) {
  text = trim(text);
  std::string lines;
  lines.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') lines += text[i];
  if (is_ascii(lines)) return lines;
  std::string composed = map_utf8(lines, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  return composed.empty() ? lines : composed;
}

void append_sized(std::string& to, std::string_view text) {
  const std::uint64_t size = text.size();
  for (int shift = 0; shift < 64; shift += 8) to += static_cast<char>(size >> shift);
  to += text;
}

bool is_letter_or_digit(utf8proc_int32_t codepoint) {
  const utf8proc_category_t category = utf8proc_category(codepoint);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

}  // namespace

std::uint64_t Record::id() const {
  std::string content;
  for (const Message& message : messages) {
    append_sized(content, message.role);
    append_sized(content, canonical(message.content));
  }
  if (messages.empty()) append_sized(content, canonical(text));
  return hash64(content);
}

bool in_validation(std::uint64_t record_id, double validation_share) {
  constexpr std::uint64_t kBuckets = 1'000'000;
  // Hashed anew: other users of the id (shards, buckets of a trace file) then do not cut along the same line.
  const std::uint64_t bucket =
      hash64({reinterpret_cast<const char*>(&record_id), sizeof record_id}, /*seed=*/0x5eed) % kBuckets;
  return static_cast<double>(bucket) < validation_share * static_cast<double>(kBuckets);
}

std::string normalized_for_overlap(std::string_view text) {
  const std::string folded =
      map_utf8(text, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
  std::string result;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(folded.data());
  for (std::size_t at = 0; at < folded.size();) {
    utf8proc_int32_t codepoint = 0;
    const utf8proc_ssize_t size =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(folded.size() - at), &codepoint);
    if (size <= 0) break;
    if (is_letter_or_digit(codepoint)) result.append(folded, at, static_cast<std::size_t>(size));
    at += static_cast<std::size_t>(size);
  }
  return result;
}

}  // namespace retort
