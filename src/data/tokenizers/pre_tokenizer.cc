#include "data/tokenizers/pre_tokenizer.h"

#include <functional>

#include "base/error.h"
#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/replace.h"
#include "data/tokenizers/splitter.h"
#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior parse_behavior(const std::string& name, const std::string& where) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  throw Error({.where = where, .found = "split behavior '" + name + "'", .expected = "", .advice = ""});
}

struct Span {
  std::size_t begin, end;
  bool match;
};

// Spans that cover the text, matches and what lies between them.
std::vector<Span> spans_of_regex(const Regex& regex, std::string_view text) {
  std::vector<Span> spans;
  std::size_t at = 0, begin = 0, end = 0;
  for (std::size_t from = 0; from <= text.size() && regex.find(text, from, begin, end);) {
    from = behind_match(text, begin, end);
    if (end == begin) continue;  // an empty match cuts nothing
    if (begin > at) spans.push_back({at, begin, false});
    spans.push_back({begin, end, true});
    at = end;
  }
  if (at < text.size()) spans.push_back({at, text.size(), false});
  return spans;
}

std::vector<Span> spans_of_splitter(const Splitter& splitter, std::string_view text) {
  std::vector<Span> spans;
  for (std::size_t at = 0; at < text.size(); at = spans.back().end)
    spans.push_back({at, splitter.end_of_piece(text, at), true});
  return spans;
}

std::vector<Span> spans_of_characters(const std::function<bool(char32_t)>& is_match, std::string_view text) {
  std::vector<Span> spans;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const std::size_t end = at + static_cast<std::size_t>(point.length);
    const bool match = is_match(point.value);
    if (!match && !spans.empty() && !spans.back().match)
      spans.back().end = end;
    else
      spans.push_back({at, end, match});
    at = end;
  }
  return spans;
}

std::vector<Span> apply_behavior(const std::vector<Span>& spans, Behavior behavior) {
  std::vector<Span> result;
  bool previous_match = false;
  switch (behavior) {
    case Behavior::isolated:
      return spans;
    case Behavior::removed:
      for (const Span& span : spans)
        if (!span.match) result.push_back(span);
      return result;
    case Behavior::contiguous:
      for (const Span& span : spans) {
        if (!result.empty() && result.back().match == span.match)
          result.back().end = span.end;
        else
          result.push_back(span);
      }
      return result;
    case Behavior::merged_with_previous:
      for (const Span& span : spans) {
        if (span.match && !previous_match && !result.empty())
          result.back().end = span.end;
        else
          result.push_back(span);
        previous_match = span.match;
      }
      return result;
    case Behavior::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->match && !previous_match && !result.empty())
          result.back().begin = span->begin;
        else
          result.push_back(*span);
        previous_match = span->match;
      }
      return {result.rbegin(), result.rend()};
  }
  return result;
}

std::vector<TextPiece> cut(std::vector<TextPiece> pieces,
                           const std::function<std::vector<Span>(std::string_view)>& find,
                           Behavior behavior) {
  std::vector<TextPiece> result;
  for (TextPiece& piece : pieces)
    for (const Span& span : apply_behavior(find(piece.text), behavior))
      if (span.end > span.begin)
        result.push_back(
            {piece.text.substr(span.begin, span.end - span.begin), piece.at_start && span.begin == 0});
  return result;
}

class Split : public PreTokenizer {
 public:
  Split(Regex regex, Behavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    return cut(
        std::move(pieces),
        [&](std::string_view text) {
          std::vector<Span> spans = spans_of_regex(regex_, text);
          if (invert_)
            for (Span& span : spans) span.match = !span.match;
          return spans;
        },
        behavior_);
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

// A pattern known by heart.
class SplitByHand : public PreTokenizer {
 public:
  SplitByHand(Splitter splitter, Behavior behavior, bool invert)
      : splitter_(splitter), behavior_(behavior), invert_(invert) {}
  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    return cut(
        std::move(pieces),
        [&](std::string_view text) {
          std::vector<Span> spans = spans_of_splitter(splitter_, text);
          if (invert_)
            for (Span& span : spans) span.match = false;
          return spans;
        },
        behavior_);
  }

 private:
  Splitter splitter_;
  Behavior behavior_;
  bool invert_;
};

class SplitCharacters : public PreTokenizer {
 public:
  SplitCharacters(bool (*is_match)(char32_t), Behavior behavior) : is_match_(is_match), behavior_(behavior) {}
  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    return cut(
        std::move(pieces), [&](std::string_view text) { return spans_of_characters(is_match_, text); },
        behavior_);
  }

 private:
  bool (*is_match_)(char32_t);
  Behavior behavior_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(const Json& json, const std::string& where)
      : add_prefix_space_(json_get_or<bool>(json, "add_prefix_space", true, where)),
        use_regex_(json_get_or<bool>(json, "use_regex", true, where)) {}

  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    if (add_prefix_space_)
      for (TextPiece& piece : pieces)
        if (piece.text.empty() || piece.text[0] != ' ') piece.text.insert(0, " ");
    if (use_regex_)
      pieces = cut(
          std::move(pieces), [&](std::string_view text) { return spans_of_splitter(splitter_, text); },
          Behavior::isolated);
    for (TextPiece& piece : pieces) {
      std::string mapped;
      mapped.reserve(piece.text.size() * 2);
      for (const char c : piece.text) mapped += byte_characters()[static_cast<unsigned char>(c)];
      piece.text = std::move(mapped);
    }
    return pieces;
  }

 private:
  bool add_prefix_space_, use_regex_;
  Splitter splitter_ = *Splitter::for_pattern(kGpt2Pattern);
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(const Json& json, const std::string& where)
      : replacement_(json_get_or<std::string>(json, "replacement", "▁", where)),
        split_(json_get_or<bool>(json, "split", true, where)) {
    // Older files say add_prefix_space instead of prepend_scheme.
    const bool legacy = json_get_or<bool>(json, "add_prefix_space", true, where);
    scheme_ = json_get_or<std::string>(json, "prepend_scheme", legacy ? "always" : "never", where);
  }

  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    for (TextPiece& piece : pieces) {
      std::string text;
      for (const char c : piece.text) {
        check_grown(text.size());
        if (c == ' ')
          text += replacement_;
        else
          text += c;
      }
      const bool wanted = scheme_ == "always" || (scheme_ == "first" && piece.at_start);
      piece.text = wanted && text.rfind(replacement_, 0) != 0 ? replacement_ + text : text;
    }
    if (!split_) return pieces;
    const char32_t mark = code_point_at(replacement_, 0).value;
    return cut(
        std::move(pieces),
        [&](std::string_view text) {
          return spans_of_characters([mark](char32_t c) { return c == mark; }, text);
        },
        Behavior::merged_with_next);
  }

 private:
  std::string replacement_, scheme_;
  bool split_;
};

class Sequence : public PreTokenizer {
 public:
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  std::vector<TextPiece> split(std::vector<TextPiece> pieces) const override {
    for (const auto& part : parts) {
      pieces = part->split(std::move(pieces));
      std::size_t bytes = 0;
      for (const TextPiece& piece : pieces) bytes += piece.text.size();
      check_grown(bytes);
    }
    return pieces;
  }
};

std::unique_ptr<PreTokenizer> make_split(const Json& json, const std::string& where) {
  const Json pattern = json.value("pattern", Json());
  const Behavior behavior = parse_behavior(json_get<std::string>(json, "behavior", where), where);
  const bool invert = json_get_or<bool>(json, "invert", false, where);
  if (pattern.is_object() && pattern.contains("Regex"))
    if (const auto known = Splitter::for_pattern(json_get<std::string>(pattern, "Regex", where)))
      return std::make_unique<SplitByHand>(*known, behavior, invert);
  return std::make_unique<Split>(make_pattern(pattern, where), behavior, invert);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = json_get<std::string>(json, "type", where);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json, where);
  if (type == "Metaspace") return std::make_unique<Metaspace>(json, where);
  if (type == "Split") return make_split(json, where);
  if (type == "Digits")
    return std::make_unique<SplitCharacters>(
        is_numeric, json_get_or<bool>(json, "individual_digits", false, where) ? Behavior::isolated
                                                                               : Behavior::contiguous);
  if (type == "Punctuation")
    return std::make_unique<SplitCharacters>(
        is_punctuation, parse_behavior(json_get_or<std::string>(json, "behavior", "Isolated", where), where));
  if (type == "WhitespaceSplit") return std::make_unique<SplitCharacters>(is_white_space, Behavior::removed);
  if (type == "Whitespace")
    return std::make_unique<Split>(Regex(R"(\w+|[^\w\s]+)", where), Behavior::removed, /*invert=*/true);
  if (type == "Sequence") {
    auto sequence = std::make_unique<Sequence>();
    for (const Json& part : json.value("pretokenizers", Json::array()))
      if (auto made = make_pre_tokenizer(part, where)) sequence->parts.push_back(std::move(made));
    return sequence;
  }
  throw Error(
      {.where = where,
       .found = "pre-tokenizer '" + type + "'",
       .expected = "one of ByteLevel Split Metaspace Digits Whitespace WhitespaceSplit Punctuation Sequence",
       .advice = ""});
}

}  // namespace retort
