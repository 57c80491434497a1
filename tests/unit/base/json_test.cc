#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/file.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
using testing::HasSubstr;

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, KeepsTheOrderOfKeysAndUtf8) {
  const TemporaryFolder folder;
  write_json(folder / "a.json", parse_json(R"({"z":1,"a":"蒸馏","m":[1.5,null]})", "x"));
  EXPECT_EQ(read_file(folder / "a.json"),
            "{\n  \"z\": 1,\n  \"a\": \"蒸馏\",\n  \"m\": [\n    1.5,\n    null\n  ]\n}\n");
  EXPECT_EQ(read_json(folder / "a.json")["a"], "蒸馏");
}

TEST(Json, RefusesWhatIsNotJson) {
  EXPECT_THAT(message([] { parse_json("{\"a\":1,}", "f.json"); }),
              HasSubstr("f.json: found JSON that cannot be parsed at byte 8"));
  EXPECT_THAT(message([] { parse_json(std::string(300, '[') + std::string(300, ']'), "f"); }),
              HasSubstr("deeper than 256"));
  EXPECT_NO_THROW(parse_json("\"" + std::string(300, '[') + "\"", "f"));
  EXPECT_THAT(message([] { parse_json("[1e999]", "f"); }), HasSubstr("f: found a number too large"));
  EXPECT_THAT(message([] { parse_sorted_json("[1e999]", "f"); }), HasSubstr("f: found a number too large"));
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  EXPECT_THAT(message([&] { parse_sorted_json(deep, "f"); }), HasSubstr("deeper than 256"));
}

TEST(Json, GetChecksTypesAndNamesTheKey) {
  const Json json =
      parse_json(R"({"n":3,"whole":1e6,"x":0.5,"s":"t","list":[1,2],"none":null,"flag":true})", "x");
  EXPECT_EQ(json_get<std::int64_t>(json, "n", "w"), 3);
  EXPECT_EQ(json_get<std::int64_t>(json, "whole", "w"), 1'000'000);
  EXPECT_EQ(json_get<double>(json, "n", "w"), 3.0);
  EXPECT_EQ(json_get<std::vector<std::int64_t>>(json, "list", "w"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(json_get_or<double>(json, "none", 7.5, "w"), 7.5);
  EXPECT_EQ(json_get_or<bool>(json, "missing", true, "w"), true);
  EXPECT_THAT(message([&] { json_get<std::int64_t>(json, "x", "w"); }),
              HasSubstr("w: x: found 0.5, expected a whole number"));
  EXPECT_THAT(message([&] { json_get<bool>(json, "n", "w"); }), HasSubstr("true or false"));
  EXPECT_THAT(message([&] { json_get<std::string>(json, "missing", "w"); }),
              HasSubstr("found nothing, expected a string"));
  EXPECT_THAT(message([&] { json_get<std::vector<std::string>>(json, "list", "w"); }),
              HasSubstr("expected a list"));
  EXPECT_THAT(message([&] { json_get_or<double>(json, "s", 1, "w"); }), HasSubstr("expected a number"));
}

}  // namespace
}  // namespace retort
