#include "data/tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace retort {
namespace {

constexpr const char* kWhiteSpace =
    "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";

// \s and \S with Unicode's White_Space, inside and outside of classes.
std::string spell_out_spaces(const std::string& pattern) {
  std::string result;
  int class_depth = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's')
        result += class_depth > 0 ? std::string(kWhiteSpace) : "[" + std::string(kWhiteSpace) + "]";
      else if (next == 'S' && class_depth == 0)
        result += "[^" + std::string(kWhiteSpace) + "]";
      else
        result += {c, next};
      continue;
    }
    if (c == '[') ++class_depth;
    if (c == ']' && class_depth > 0) --class_depth;
    result += c;
  }
  return result;
}

// One match block a thread, big enough for the whole match: patterns here use no captures.
pcre2_match_data* match_data() {
  struct Owner {
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    ~Owner() { pcre2_match_data_free(data); }
  };
  thread_local Owner owner;
  return owner.data;
}

}  // namespace

struct Regex::Code {
  pcre2_code* compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

Regex::Regex(std::string pattern, const std::string& where) : code_(std::make_unique<Code>()) {
  const std::string translated = spell_out_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code_->compiled == nullptr) {
    PCRE2_UCHAR message[120];
    pcre2_get_error_message(error, message, sizeof message);
    throw Error({.where = where,
                 .found = "pattern '" + pattern + "': " + reinterpret_cast<const char*>(message),
                 .expected = "a regular expression",
                 .advice = ""});
  }
  // Where it cannot, the interpreter matches the same.
  pcre2_jit_compile(code_->compiled, PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

bool Regex::find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
  pcre2_match_data* data = match_data();
  const auto match = [&](std::uint32_t options) {
    return pcre2_match(code_->compiled, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, data, nullptr);
  };
  int count = match(0);
  // The interpreter keeps its stack on the heap.
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0)
    throw Error({.where = "tokenizer pattern",
                 .found = "a text that exhausts the matcher (PCRE2 error " + std::to_string(count) + ")",
                 .expected = "",
                 .advice = ""});
  const PCRE2_SIZE* place = pcre2_get_ovector_pointer(data);
  begin = place[0];
  end = place[1];
  return begin >= from && begin <= end;  // \K can set them anywhere
}

std::string Regex::escape(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace retort
