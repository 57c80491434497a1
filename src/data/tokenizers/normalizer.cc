#include "data/tokenizers/normalizer.h"

#include <vector>

#include "base/error.h"
#include "data/tokenizers/regex.h"
#include "data/tokenizers/replace.h"
#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

class Form : public Normalizer {
 public:
  explicit Form(UnicodeForm form) : form_(form) {}
  std::string apply(std::string text) const override { return normalize_unicode(text, form_); }

 private:
  UnicodeForm form_;
};

class Lowercase : public Normalizer {
 public:
  std::string apply(std::string text) const override { return lowercase(text); }
};

class NormalizeReplace : public Normalizer {
 public:
  NormalizeReplace(const Json& json, const std::string& where) : replacer_(json, where) {}
  std::string apply(std::string text) const override { return replacer_.apply(text); }

 private:
  Replacer replacer_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string text) const override { return text.empty() ? text : prefix_ + text; }

 private:
  std::string prefix_;
};

class NormalizeStrip : public Normalizer {
 public:
  NormalizeStrip(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string text) const override {
    std::size_t begin = 0, end = 0, at = 0;  // end: behind the last character that stays
    bool started = false;
    while (at < text.size()) {
      const CodePoint point = code_point_at(text, at);
      const bool space = is_white_space(point.value);
      if (!space && !started) begin = at, started = true;
      at += static_cast<std::size_t>(point.length);
      if (!space) end = at;
    }
    if (!started) return left_ || right_ ? "" : text;
    if (!left_) begin = 0;
    if (!right_) end = text.size();
    return text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

class NormalizeSequence : public Normalizer {
 public:
  std::vector<std::unique_ptr<Normalizer>> parts;
  std::string apply(std::string text) const override {
    for (const auto& part : parts) text = part->apply(std::move(text));
    return text;
  }
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = json_get<std::string>(json, "type", where);
  if (type == "NFC") return std::make_unique<Form>(UnicodeForm::nfc);
  if (type == "NFD") return std::make_unique<Form>(UnicodeForm::nfd);
  if (type == "NFKC") return std::make_unique<Form>(UnicodeForm::nfkc);
  if (type == "NFKD") return std::make_unique<Form>(UnicodeForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Replace") return std::make_unique<NormalizeReplace>(json, where);
  if (type == "Prepend") return std::make_unique<Prepend>(json_get<std::string>(json, "prepend", where));
  if (type == "Strip")
    return std::make_unique<NormalizeStrip>(json_get_or<bool>(json, "strip_left", true, where),
                                            json_get_or<bool>(json, "strip_right", true, where));
  if (type == "Sequence") {
    auto sequence = std::make_unique<NormalizeSequence>();
    for (const Json& part : json.value("normalizers", Json::array()))
      if (auto made = make_normalizer(part, where)) sequence->parts.push_back(std::move(made));
    return sequence;
  }
  throw Error({.where = where,
               .found = "normalizer '" + type + "'",
               .expected = "one of NFC NFD NFKC NFKD Lowercase Replace Prepend Strip Sequence",
               .advice = ""});
}

}  // namespace retort
