#include "data/jinja/text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/jinja/runtime.h"
#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort::jinja {
namespace {

// repr(float): the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[40];
  const double size = std::fabs(value);
  const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  const auto end = std::to_chars(digits, digits + sizeof digits, value,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed)
                       .ptr;
  std::string text(digits, end);
  if (!exponent && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string quoted_repr(std::string_view text) {
  const char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const std::string_view c : characters(text)) {
    const char32_t value = code_point_at(c, 0).value;
    const Category kind = category(value);
    const bool printable = value == ' ' || !(kind <= Category::Co || kind >= Category::Zs);
    if (c == "\\" || c[0] == quote)
      result.append("\\").append(c);
    else if (c == "\n")
      result += "\\n";
    else if (c == "\r")
      result += "\\r";
    else if (c == "\t")
      result += "\\t";
    else if (printable)
      result += c;
    else if (value < 0x100)
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(value));
    else
      result += value < 0x10000 ? fmt::format("\\u{:04x}", static_cast<unsigned>(value))
                                : fmt::format("\\U{:08x}", static_cast<unsigned>(value));
  }
  return result + quote;
}

void append_repr(Runtime& runtime, const Value& value, std::string& out) {
  runtime.spend(1);
  const std::size_t before = out.size();
  if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (const bool* truth = value.boolean()) {
    out += *truth ? "True" : "False";
  } else if (const std::int64_t* number = value.integer()) {
    out += std::to_string(*number);
  } else if (const double* real = value.real()) {
    out += real_text(*real);
  } else if (const std::string* text = value.text()) {
    out += quoted_repr(*text);
  } else if (const List* list = value.list()) {
    out += value.is_tuple() ? '(' : '[';
    for (const Value& item : *list) {
      if (&item != &list->front()) out += ", ";
      append_repr(runtime, item, out);
    }
    if (value.is_tuple() && list->size() == 1) out += ',';
    out += value.is_tuple() ? ')' : ']';
  } else if (const Dict* dict = value.dict()) {
    out += '{';
    for (const auto& entry : *dict) {
      if (&entry != &dict->front()) out += ", ";
      append_repr(runtime, entry.first, out);
      out += ": ";
      append_repr(runtime, entry.second, out);
    }
    out += '}';
  } else if (const Loop* loop = value.loop()) {
    out += fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items.list()->size());
  } else {
    out += fmt::format("<{}>", value.type_name());
  }
  if (value.text() != nullptr) runtime.spend_bytes(out.size() - before);
}

void append_json_text(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const std::string_view c = text.substr(at, static_cast<std::size_t>(point.length));
    at += c.size();
    const char32_t value = point.value;
    const auto escape = [&](char32_t unit) { out += fmt::format("\\u{:04x}", static_cast<unsigned>(unit)); };
    if (value == '"' || value == '\\')
      out += '\\', out += c;
    else if (value == '\n')
      out += "\\n";
    else if (value == '\r')
      out += "\\r";
    else if (value == '\t')
      out += "\\t";
    else if (value == '\b')
      out += "\\b";
    else if (value == '\f')
      out += "\\f";
    else if (value < 0x20 || (ensure_ascii && value > 0x7E && value < 0x10000))
      escape(value);
    else if (ensure_ascii && value >= 0x10000)
      escape(0xD7C0 + (value >> 10)), escape(0xDC00 + (value & 0x3FF));
    else
      out += c;
  }
  out += '"';
}

std::string json_key(Runtime& runtime, const Value& key) {
  if (key.text() != nullptr) return *key.text();
  if (key.is_none()) return "null";
  if (key.boolean() != nullptr) return *key.boolean() ? "true" : "false";
  if (!key.is_number()) runtime.fail(fmt::format("a {} as a key", key.type_name()), "a text for tojson");
  return to_text(runtime, key);
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonOptions& options) : runtime_(runtime), options_(options) {}

  void write(const Value& value, int depth) {
    runtime_.spend(1);
    if (value.is_none()) {
      out += "null";
    } else if (const bool* truth = value.boolean()) {
      out += *truth ? "true" : "false";
    } else if (const double* real = value.real()) {
      out += std::isnan(*real)   ? "NaN"
             : std::isinf(*real) ? (*real > 0 ? "Infinity" : "-Infinity")
                                 : real_text(*real);
    } else if (value.integer() != nullptr) {
      out += std::to_string(*value.integer());
    } else if (const std::string* text = value.text()) {
      runtime_.spend_bytes(text->size());
      append_json_text(*text, options_.ensure_ascii, out);
    } else if (const List* list = value.list()) {
      write_items('[', *list, ']', depth, [&](const Value& item) { write(item, depth + 1); });
    } else if (value.dict() != nullptr) {
      write_dict(*value.dict(), depth);
    } else {
      runtime_.fail(fmt::format("a value of type {}", value.type_name()), "one that has a JSON form");
    }
  }

  std::string out;

 private:
  void new_line(int depth) {
    if (!options_.indent) return;
    runtime_.spend_bytes(options_.indent->size() * static_cast<std::size_t>(depth));
    out += '\n';
    for (int i = 0; i < depth; ++i) out += *options_.indent;
  }

  template <class Items, class Write>
  void write_items(char open, const Items& items, char close, int depth, Write write_one) {
    out += open;
    bool first = true;
    for (const auto& item : items) {
      if (!first) out += options_.item_separator;
      first = false;
      new_line(depth + 1);
      write_one(item);
    }
    if (!items.empty()) new_line(depth);
    out += close;
  }

  void write_dict(const Dict& dict, int depth) {
    std::vector<std::pair<std::string, Value>> entries;
    for (const auto& [key, item] : dict) entries.emplace_back(json_key(runtime_, key), item);
    if (options_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    write_items('{', entries, '}', depth, [&](const auto& entry) {
      append_json_text(entry.first, options_.ensure_ascii, out);
      out += options_.key_separator;
      write(entry.second, depth + 1);
    });
  }

  Runtime& runtime_;
  const JsonOptions& options_;
};

char32_t simple_case(char32_t value, utf8proc_int32_t (*map)(utf8proc_int32_t)) {
  return static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(value)));
}

void append_upper(std::string& out, char32_t value, bool title_case) {
  if (value == 0xDF)
    out += title_case ? "Ss" : "SS";
  else
    append_utf8(out, simple_case(value, title_case ? utf8proc_totitle : utf8proc_toupper));
}

}  // namespace

std::string to_text(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return "";
  if (const std::string* text = value.text()) return *text;
  return repr(runtime, value);
}

std::string repr(Runtime& runtime, const Value& value) {
  std::string out;
  append_repr(runtime, value, out);
  return out;
}

std::string to_json(Runtime& runtime, const Value& value, const JsonOptions& options) {
  JsonWriter writer(runtime, options);
  writer.write(value, 0);
  return std::move(writer.out);
}

std::size_t length(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> result;
  for (std::size_t at = 0; at < text.size();) {
    const auto size = static_cast<std::size_t>(code_point_at(text, at).length);
    result.push_back(text.substr(at, size));
    at += size;
  }
  return result;
}

bool is_space(char32_t value) { return is_white_space(value) || (value >= 0x1C && value <= 0x1F); }

std::string_view strip(std::string_view text, const std::string* set, bool left, bool right) {
  const std::vector<std::string_view> strippable =
      set == nullptr ? std::vector<std::string_view>() : characters(*set);
  const auto drops = [&](std::string_view c) {
    return set == nullptr ? is_space(code_point_at(c, 0).value)
                          : std::find(strippable.begin(), strippable.end(), c) != strippable.end();
  };
  while (left && !text.empty()) {
    const auto size = static_cast<std::size_t>(code_point_at(text, 0).length);
    if (!drops(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (right && !text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!drops(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::vector<std::string_view> split(std::string_view text, const std::string* separator, std::int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator != nullptr) {
    std::size_t at = 0;
    for (std::size_t hit; limit != 0 && (hit = text.find(*separator, at)) != std::string_view::npos;
         --limit) {
      parts.push_back(text.substr(at, hit - at));
      at = hit + separator->size();
    }
    parts.push_back(text.substr(at));
    return parts;
  }
  // Runs of white space; none at the ends.
  text = strip(text, nullptr, true, false);
  while (!text.empty()) {
    if (limit-- == 0) {
      parts.push_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      const CodePoint point = code_point_at(text, end);
      if (is_space(point.value)) break;
      end += static_cast<std::size_t>(point.length);
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), nullptr, true, false);
  }
  return parts;
}

std::vector<std::string_view> split_from_right(std::string_view text, const std::string* separator,
                                               std::int64_t limit) {
  if (limit < 0) return split(text, separator, limit);
  std::vector<std::string_view> parts;
  if (separator == nullptr) {
    for (text = strip(text, nullptr, false, true); !text.empty(); text = strip(text, nullptr, false, true)) {
      if (limit-- == 0) {
        parts.push_back(text);
        break;
      }
      const std::vector<std::string_view> all = split(text, nullptr, -1);
      parts.push_back(all.back());
      text.remove_suffix(all.back().size());
    }
  } else {
    for (std::size_t hit; limit != 0 && (hit = text.rfind(*separator)) != std::string_view::npos; --limit) {
      parts.push_back(text.substr(hit + separator->size()));
      text = text.substr(0, hit);
    }
    parts.push_back(text);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
  };
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const std::size_t end = at;
    at += static_cast<std::size_t>(point.length);
    if (!ends_line(point.value)) continue;
    if (point.value == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit) {
  std::string result;
  if (from.empty()) {  // between all characters
    for (const std::string_view c : characters(text)) {
      if (limit-- != 0)
        result += to;
      else
        limit = 0;
      result += c;
    }
    if (limit != 0) result += to;
    return result;
  }
  std::size_t at = 0;
  for (std::size_t hit; limit != 0 && (hit = text.find(from, at)) != std::string_view::npos; --limit) {
    result.append(text.substr(at, hit - at)).append(to);
    at = hit + from.size();
  }
  return result.append(text.substr(at));
}

std::string upper(std::string_view text) {
  std::string result;
  for (const std::string_view c : characters(text)) append_upper(result, code_point_at(c, 0).value, false);
  return result;
}

std::string lower(std::string_view text) { return lowercase(text); }

std::string title(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (const std::string_view c : characters(text)) {
    const char32_t value = code_point_at(c, 0).value;
    const Category kind = category(value);
    const bool cased = kind == Category::Lu || kind == Category::Ll || kind == Category::Lt;
    if (cased && !in_word)
      append_upper(result, value, true);
    else
      result += lowercase(c);
    in_word = cased;
  }
  return result;
}

std::string capitalize(std::string_view text) {
  std::string result;
  if (text.empty()) return result;
  const CodePoint first = code_point_at(text, 0);
  append_upper(result, first.value, true);
  return result + lowercase(text.substr(static_cast<std::size_t>(first.length)));
}

}  // namespace retort::jinja
