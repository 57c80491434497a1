#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "report/html.h"
#include "report/report.h"
#include "report/table.h"

namespace retort {
namespace {

using testing::HasSubstr;
using testing::Not;

const char* const kHostile = "</td><script>alert('x')</script><img src=x onerror=\"y\">&amp;";

// Every place where report.json's text reaches the page.
Json hostile_report() {
  const std::string bad = kHostile;
  return {{"title", bad},
          {"date", bad},
          {"summary", bad},
          {"recipe", bad},
          {"machine", {{bad, bad}, {"list", {bad}}, {"memory_bytes", bad}, {"deep", {{bad, {bad}}}}}},
          {"table",
           {{"columns", {{{"key", bad}, {"title", bad}, {"unit", bad}, {"better", bad}}}},
            {"rows", {{{"name", bad}, {"note", bad}, {"values", {{bad, 1}}}}}}}},
          {"comparisons", {{{"text", bad}, {"low", 1}, {"high", 2}}}},
          {"curves",
           {{{"title", bad}, {"unit", bad}, {"series", {{{"name", bad}, {"points", {{0, 1}, {1, 2}}}}}}}}},
          {"samples", {{{"source", bad}, {"reference", bad}, {"outputs", {{bad, bad}}}}}},
          {"heatmaps", {{{"title", bad}, {"rows", {bad}}, {"columns", {bad}}, {"values", {{1, 2}}}}}},
          {"notes", {bad}}};
}

TEST(Page, EscapesEverything) {
  const std::string page = render_report(hostile_report(), "en");
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, Not(HasSubstr("onerror=\"")));
  // Each of the 25 places shows the text (titles of pictures twice, as label and as caption).
  std::size_t count = 0;
  for (std::size_t at = 0; (at = page.find("&lt;script&gt;alert(&#39;x&#39;)", at)) != std::string::npos;
       ++at)
    ++count;
  EXPECT_GE(count, 25u);
}

TEST(Page, LoadsNothingFromOutside) {
  const std::string page = render_report(hostile_report(), "zh");
  for (const char* outside : {"http://", "https://", "src=\"", "href=\"", "url(", "@import"})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  EXPECT_THAT(page, HasSubstr("lang=\"zh-Hans\""));
  EXPECT_THAT(page, HasSubstr("结果"));
}

TEST(Page, DrawsWhatItUnderstandsOfAMalformedReport) {
  EXPECT_THAT(render_report({{"title", "t"}}, "en"), HasSubstr("<h1>t</h1>"));
  EXPECT_NO_THROW(render_report(Json::array(), "en"));
  EXPECT_NO_THROW(render_report(nullptr, "en"));
  // Each member of a good report replaced by values of every other type, at every depth.
  const Json good = hostile_report();
  const Json leaves = good.flatten();
  for (const auto& item : leaves.items()) {
    for (const Json& wrong : {Json(nullptr), Json(true), Json(-1e308), Json("x"),
                              Json::array({1, Json::array()}), Json::object({{"a", 1}})}) {
      for (Json::json_pointer place(item.key()); !place.empty(); place.pop_back()) {
        Json report = good;
        report[place] = wrong;
        EXPECT_NO_THROW(render_report(report, "en")) << place.to_string();
        EXPECT_NO_THROW(render_table(report["table"]));
      }
    }
  }
  EXPECT_THROW(render_report(good, "fr"), Error);
}

TEST(Page, SetsOffTheBestOfAColumn) {
  const Json report = Json::parse(R"({"table": {"columns": [{"key": "a", "better": "high", "digits": 1},
      {"key": "b", "better": "low", "digits": 0}, {"key": "c", "digits": 0}],
    "rows": [{"name": "x", "values": {"a": 1.25, "b": 12345, "c": 1}, "intervals": {"a": [1, 2]}},
             {"name": "y", "values": {"a": -3, "b": null, "c": 2}}, {"name": "z", "values": {"a": 1, "b": 99999}}]}})");
  const std::string page = render_report(report, "en");
  EXPECT_THAT(page, HasSubstr("<td><b>1.2</b><small>1.0 – 2.0</small></td><td><b>12,345</b></td><td>1</td>"));
  EXPECT_THAT(page, HasSubstr("<td>\u22123.0</td><td class=\"faint\">–</td><td>2</td>"));
}

TEST(Page, CurvesWithHolesAreInterrupted) {
  const Json report = Json::parse(R"({"curves": [{"title": "t", "log": true, "series": [
      {"name": "s", "points": [[0, 1], [1, 10], [2, null], [3, -5], [4, 100], [5, 1000]]}, {"name": "none", "points": [[0, 0]]}]}]})");
  const std::string page = render_report(report, "en");
  const std::size_t at = page.find("d=\"M");
  ASSERT_NE(at, std::string::npos);
  const std::string path = page.substr(at, page.find('"', at + 3) - at);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 2);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 2);
  EXPECT_THAT(page, Not(HasSubstr("none <span")));
}

TEST(Page, LongCurvesAreThinnedAndKeepSpikes) {
  Json points = Json::array();
  for (int i = 0; i < 100000; ++i) points.push_back({i, i == 54321 ? 1000.0 : 1.0});
  const std::string page = render_report(
      {{"curves", {{{"title", "t"}, {"series", {{{"name", "s"}, {"points", points}}}}}}}}, "en");
  EXPECT_LT(page.size(), 60000u);
  const std::size_t at = page.find("d=\"M");
  const std::string path = page.substr(at, page.find('"', at + 3) - at);
  EXPECT_THAT(path, HasSubstr("L322.2 18.7"));  // the spike: 56 + 490 · 0.543, near the top
}

TEST(Page, ShowsTwentySamples) {
  Json samples = Json::array();
  for (int i = 0; i < 30; ++i) samples.push_back({{"source", "sample" + std::to_string(i) + "."}});
  const std::string page = render_report({{"samples", samples}}, "en");
  EXPECT_THAT(page, HasSubstr("sample19."));
  EXPECT_THAT(page, Not(HasSubstr("sample20.")));
}

TEST(Html, DropsControlCharactersAndRepairsUtf8) {
  EXPECT_EQ(escape_html("a\x01\x7f\xff\tb\n"), "a\ufffd\tb\n");
}

TEST(Html, FormatsNumbers) {
  EXPECT_EQ(format_number(1234567.891, 1), "1,234,567.9");
  EXPECT_EQ(format_number(-0.001, 2, "-"), "0.00");
  EXPECT_EQ(format_number(-2.5, 2, "-"), "-2.50");
  EXPECT_EQ(format_number(0.012345, -1), "0.01235");
  EXPECT_EQ(format_number(42, -1), "42");
  EXPECT_EQ(format_number(1e-9, -1), "1e-09");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
}

TEST(TextTable, AlignsWideCharacters) {
  const Json table = Json::parse(
      R"({"columns": [{"key": "a", "title": "分数", "unit": "0–100", "better": "high", "digits": 2},
      {"key": "b", "title": "b", "digits": 0}], "rows": [{"name": "教师", "values": {"a": 31.4, "b": 5}},
      {"name": "copy", "values": {"a": 9}}, {"name": "\u001b[31mred", "values": {}}]})");
  EXPECT_EQ(render_table(table),
            "            分数  b\n"
            "           0–100\n"
            "教师      31.40*  5\n"
            "copy       9.00   -\n"
            "\ufffd[31mred      -   -\n");
  EXPECT_EQ(render_table(nullptr), "");
}

TEST(MarkdownTable, ShowsIntervalsAndTheBest) {
  const Json table = Json::parse(
      R"({"columns": [{"key": "a", "title": "BLEU", "better": "high", "digits": 1}, {"key": "b", "title": "size", "unit": "MB", "digits": 0}],
      "rows": [{"name": "x|y", "values": {"a": 31.4, "b": 5}, "intervals": {"a": [30, 32.5]}}, {"name": "z", "values": {"a": -9}}]})");
  EXPECT_EQ(render_markdown(table),
            "| | BLEU | size, MB |\n"
            "|---|---:|---:|\n"
            "| x\\|y | **31.4** [30.0, 32.5] | 5 |\n"
            "| z | -9.0 |  |\n");
  EXPECT_EQ(render_markdown(nullptr), "");
}

}  // namespace
}  // namespace retort
