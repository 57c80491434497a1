#include "base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"

namespace retort {
namespace {
using testing::HasSubstr;

struct Sample {
  bool flag = false;
  std::int64_t steps = 10;
  double rate = 0.1;
  std::string out, kind = "cosine";
  std::vector<std::int64_t> sizes;
  std::vector<std::string> files;
  Json terms;

  OptionList list() {
    OptionList list;
    list.add("flag", flag, "a switch");
    list.add("steps", steps, "how many");
    list.add("rate", rate, "how fast");
    list.add("out", out, "where to").required = true;
    list.add("kind", kind, "which").choices = {"cosine", "linear"};
    list.add("sizes", sizes, "how large");
    list.add("files", files, "from where");
    list.add("terms", terms, "what");
    return list;
  }
};

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Options, AssignSetsEveryKind) {
  Sample sample;
  sample.list().assign(
      Json::parse(
          R"({"flag":true,"steps":5,"rate":1,"out":2024,"sizes":[1,2],"files":"one","terms":[{"a":1}]})"),
      "r");
  EXPECT_TRUE(sample.flag);
  EXPECT_EQ(sample.steps, 5);
  EXPECT_EQ(sample.rate, 1.0);
  EXPECT_EQ(sample.out, "2024");
  EXPECT_EQ(sample.sizes, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(sample.files, (std::vector<std::string>{"one"}));
  EXPECT_EQ(sample.terms[0]["a"], 1);
  EXPECT_NO_THROW(sample.list().check("r"));
  Sample copy;
  copy.list().assign(sample.list().to_json(), "r");
  EXPECT_EQ(copy.list().to_json(), sample.list().to_json());
}

TEST(Options, MistakesAreNamed) {
  Sample sample;
  EXPECT_THAT(message([&] {
                sample.list().assign({{"step", 1}}, "r");
              }),
              HasSubstr("unknown key 'step'. Did you mean 'steps'?"));
  EXPECT_THAT(message([&] {
                sample.list().assign({{"steps", "many"}}, "r");
              }),
              HasSubstr("r: steps: found \"many\", expected a whole number"));
  EXPECT_THAT(message([&] { sample.list().assign(3, "r"); }), HasSubstr("keys with values"));
  EXPECT_THAT(message([&] { sample.list().check("r"); }), HasSubstr("r: out: found nothing"));
  sample.out = "x";
  sample.kind = "cosin";
  EXPECT_THAT(message([&] { sample.list().check("r"); }), HasSubstr("Did you mean 'cosine'?"));
  std::vector<std::string> metrics = {"bleu", "rogue"};
  OptionList list;
  list.add("metrics", metrics, "").choices = {"bleu", "rouge"};
  EXPECT_THAT(message([&] { list.check("r"); }), HasSubstr("found 'rogue'. Did you mean 'rouge'?"));
  metrics.pop_back();
  EXPECT_NO_THROW(list.check("r"));
}

TEST(Options, NearestName) {
  EXPECT_EQ(nearest_name("hiden_size", {"hidden_size", "head_dim"}), "hidden_size");
  EXPECT_EQ(nearest_name("xyz", {"hidden_size", "head_dim"}), "");
  EXPECT_EQ(suggest("xyz", {"hidden_size", "head_dim"}), "There are: hidden_size head_dim");
}

TEST(Yaml, CoreSchemaAndQuotedText) {
  const Json json = parse_yaml(
      "a: 1\nb: 1.5\nc: '1'\nd: true\ne: ~\nf: [x, 2e3]\ng: {h: \"no\"}\ni: no\nj: -4\nk: 1.2.3\n", "y");
  EXPECT_EQ(
      json,
      Json::parse(
          R"({"a":1,"b":1.5,"c":"1","d":true,"e":null,"f":["x",2000.0],"g":{"h":"no"},"i":"no","j":-4,"k":"1.2.3"})"));
  EXPECT_TRUE(json["a"].is_number_integer());
}

TEST(Yaml, MistakesHaveALine) {
  EXPECT_THAT(message([] { parse_yaml("a: 1\nb: [1, 2\n", "y"); }), HasSubstr("y: line "));
  EXPECT_THAT(message([] { parse_yaml("a: 1\na: 2\n", "y"); }),
              HasSubstr("y: line 2: found the key 'a' twice"));
}

}  // namespace
}  // namespace retort
