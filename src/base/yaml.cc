// YAML to Json. yaml-cpp leaves every scalar a string; the core schema is applied here.
#include <yaml-cpp/yaml.h>

#include <cctype>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "base/options.h"

namespace retort {
namespace {

constexpr int kMaxDepth = 64;

Json plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true" || text == "True") return true;
  if (text == "false" || text == "False") return false;
  const char* begin = text.data() + (text[0] == '+');
  const char* end = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto r = std::from_chars(begin, end, whole); r.ec == std::errc() && r.ptr == end) return whole;
  double number = 0;
  const bool digits_first =
      std::isdigit(static_cast<unsigned char>(*begin)) || *begin == '-' || *begin == '.';
  if (const auto r = std::from_chars(begin, end, number); digits_first && r.ec == std::errc() && r.ptr == end)
    return number;
  return text;
}

Json convert(const YAML::Node& node, const std::string& where, int depth) {
  if (depth > kMaxDepth)
    throw Error({.where = where, .found = "YAML nested too deeply", .expected = "", .advice = ""});
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return node.Tag() == "!" ? Json(node.Scalar()) : plain_scalar(node.Scalar());  // "!" marks quoted text
    case YAML::NodeType::Sequence: {
      Json list = Json::array();
      for (const YAML::Node& item : node) list.push_back(convert(item, where, depth + 1));
      return list;
    }
    case YAML::NodeType::Map: {
      Json object = Json::object();
      for (const auto& item : node) {
        const std::string key = item.first.Scalar();
        if (object.contains(key))
          throw Error({.where = where + ": line " + std::to_string(item.first.Mark().line + 1),
                       .found = "the key '" + key + "' twice",
                       .expected = "",
                       .advice = ""});
        object[key] = convert(item.second, where, depth + 1);
      }
      return object;
    }
    default:
      return nullptr;
  }
}

}  // namespace

Json parse_yaml(const std::string& text, const std::string& where) {
  try {
    return convert(YAML::Load(text), where, 0);
  } catch (const YAML::Exception& error) {
    throw Error({.where = where + ": line " + std::to_string(error.mark.line + 1) + ", column " +
                          std::to_string(error.mark.column + 1),
                 .found = error.msg,
                 .expected = "YAML",
                 .advice = ""});
  }
}

Json read_yaml(const std::filesystem::path& path) { return parse_yaml(read_file(path), path.string()); }

}  // namespace retort
