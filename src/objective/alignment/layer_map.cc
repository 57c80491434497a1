#include "objective/alignment/layer_map.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>

#include "base/error.h"

namespace retort {
namespace {

[[noreturn]] void refuse_map(const Json& map, const std::string& where) {
  throw Error({.where = where,
               .found = map.dump(),
               .expected = "uniform, last: 3, 6-9, [4, 7, 10] (the teacher's layers) or [[0, 4], [1, 7]] "
                           "(the student's and the teacher's)",
               .advice = ""});
}

int checked(std::int64_t layer, int count, int lowest, const char* whose, const std::string& where) {
  if (layer < lowest || layer >= count)
    throw Error({.where = where,
                 .found = "layer " + std::to_string(layer) + " of the " + whose,
                 .expected = std::to_string(lowest) + " … " + std::to_string(count - 1) +
                             (lowest < 0 ? " (-1: the input embedding)" : ""),
                 .advice = ""});
  return static_cast<int>(layer);
}

// The layer of `to` that ends where layer `i` of `from` does.
int same_depth(int i, int from, int to) {
  const double share = static_cast<double>(i + 1) / from;
  return std::clamp(static_cast<int>(std::lround(share * to)) - 1, 0, to - 1);
}

std::vector<LayerPair> of_teacher(const std::vector<std::int64_t>& layers, LayerCounts counts,
                                  const std::string& where) {
  std::vector<LayerPair> pairs;
  for (const std::int64_t layer : layers) {
    const int teacher = checked(layer, counts.teacher, 0, "teacher", where);
    pairs.push_back({same_depth(teacher, counts.teacher, counts.student), teacher});
  }
  return pairs;
}

std::vector<LayerPair> last_layers(std::int64_t number, LayerCounts counts, const std::string& where) {
  const int most = std::min(counts.student, counts.teacher);
  if (number < 1 || number > most)
    throw Error({.where = where,
                 .found = "the last " + std::to_string(number) + " layers",
                 .expected = "1 … " + std::to_string(most),
                 .advice = ""});
  std::vector<LayerPair> pairs;
  for (int i = static_cast<int>(number); i > 0; --i)
    pairs.push_back({counts.student - i, counts.teacher - i});
  return pairs;
}

std::vector<LayerPair> read_text(const std::string& text, LayerCounts counts, const std::string& where) {
  std::smatch found;
  if (text == "uniform") {
    std::vector<LayerPair> pairs;
    for (int i = 0; i < counts.student; ++i)
      pairs.push_back({i, same_depth(i, counts.student, counts.teacher)});
    return pairs;
  }
  if (std::regex_match(text, found, std::regex(R"(last\s*:?\s*(\d{1,6}))")))
    return last_layers(std::stoll(found[1]), counts, where);
  if (std::regex_match(text, found, std::regex(R"((\d{1,6})\s*(?:-|–)\s*(\d{1,6}))"))) {
    const std::int64_t first = checked(std::stoll(found[1]), counts.teacher, 0, "teacher", where),
                       last = checked(std::stoll(found[2]), counts.teacher, 0, "teacher", where);
    if (first > last) refuse_map(text, where);
    std::vector<std::int64_t> layers;
    for (std::int64_t layer = first; layer <= last; ++layer) layers.push_back(layer);
    return of_teacher(layers, counts, where);
  }
  if (std::regex_match(text, std::regex(R"(\d{1,6})"))) return of_teacher({std::stoll(text)}, counts, where);
  refuse_map(text, where);
}

}  // namespace

std::vector<LayerPair> read_layer_map(const Json& map, LayerCounts counts, int lowest,
                                      const std::string& where) {
  if (map.is_null()) return read_text("uniform", counts, where);
  if (map.is_string()) return read_text(map.get<std::string>(), counts, where);
  if (map.is_number_integer()) return of_teacher({map.get<std::int64_t>()}, counts, where);
  if (map.is_object() && map.size() == 1 && map.contains("last") && map["last"].is_number_integer())
    return last_layers(map["last"].get<std::int64_t>(), counts, where);
  if (!map.is_array() || map.empty()) refuse_map(map, where);
  const auto whole = [](const Json& item) { return item.is_number_integer(); };
  if (std::all_of(map.begin(), map.end(), whole))
    return of_teacher(map.get<std::vector<std::int64_t>>(), counts, where);
  std::vector<LayerPair> pairs;
  for (const Json& item : map) {
    if (!item.is_array() || item.size() != 2 || !whole(item[0]) || !whole(item[1])) refuse_map(map, where);
    const LayerPair pair{checked(item[0].get<std::int64_t>(), counts.student, lowest, "student", where),
                         checked(item[1].get<std::int64_t>(), counts.teacher, lowest, "teacher", where)};
    if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end())
      throw Error({.where = where,
                   .found = item.dump() + " a second time",
                   .expected = "each pair once",
                   .advice = ""});
    pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace retort
