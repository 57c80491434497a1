// Record files: a contract for every row of the registry, the layouts that people have, and hostile files.
#include "data/sources/formats.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "unit/data/temporary_folder.h"

namespace retort {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Record> read_all(RecordSource& source) {
  std::vector<Record> records;
  while (std::optional<Record> record = source.next()) records.push_back(std::move(*record));
  return records;
}

std::string shown(const Record& record) {
  std::string text = record.text;
  for (const Message& message : record.messages) text += "[" + message.role + "]" + message.content;
  return text;
}

std::vector<std::string> read_shown(const std::filesystem::path& path) {
  std::vector<std::string> result;
  const auto source = open_records(path);
  for (const Record& record : read_all(*source)) result.push_back(shown(record));
  return result;
}

std::string error_of(const std::filesystem::path& path) {
  try {
    const auto source = open_records(path);
    read_all(*source);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class FormatContract : public ::testing::TestWithParam<const RecordFormat*> {
 protected:
  std::string name(const std::string& stem) const { return stem + std::string(GetParam()->extension); }
  TemporaryFolder folder_;
};

TEST_P(FormatContract, SampleReadsTheSamePlainCompressedAndAgain) {
  const std::string sample(GetParam()->sample);
  const auto plain = read_shown(folder_.write(name("a"), sample));
  ASSERT_FALSE(plain.empty());
  EXPECT_EQ(read_shown(folder_.write(name("b") + ".zst", compress(sample))), plain);

  const auto source = open_records(folder_.write(name("c"), sample));
  const auto first = read_all(*source);
  source->rewind();
  const auto second = read_all(*source);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].id(), second[i].id());
  EXPECT_EQ(source->skipped().count, 0);
}

TEST_P(FormatContract, ByteOrderMarkWindowsLineEndsAndNoLastNewlineDoNotMatter) {
  std::string sample(GetParam()->sample);
  const auto plain = read_shown(folder_.write(name("a"), sample));
  std::string windows = "\xef\xbb\xbf";
  for (const char c : sample) windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(read_shown(folder_.write(name("b"), windows)), plain);
  while (!sample.empty() && sample.back() == '\n') sample.pop_back();
  EXPECT_EQ(read_shown(folder_.write(name("c"), sample)), plain);
}

TEST_P(FormatContract, EmptyBlankAndUselessFilesAreErrors) {
  EXPECT_THAT(error_of(folder_.write(name("empty"), "")), HasSubstr("an empty file"));
  EXPECT_THAT(error_of(folder_.write(name("blank"), "\n \r\n\t\n")), HasSubstr("an empty file"));
  EXPECT_THAT(error_of(folder_.write(name("empty") + ".zst", "")), HasSubstr("an empty file"));
  EXPECT_THAT(error_of(folder_.write(name("nothing") + ".zst", compress(""))), HasSubstr("an empty file"));
  EXPECT_THAT(error_of(folder_.write(name("binary"), "\xff\xfe\xff\n\xc0\x80\n")),
              HasSubstr("not valid UTF-8"));
  EXPECT_THAT(error_of("/nonexistent/" + name("x")), HasSubstr("/nonexistent/"));
}

TEST_P(FormatContract, DamagedCompressionIsAnError) {
  std::string content;
  while (content.size() < 1'000'000) content += GetParam()->sample;
  const std::string packed = compress(content);
  EXPECT_THAT(error_of(folder_.write(name("short") + ".zst", packed.substr(0, packed.size() - 3))),
              HasSubstr("ends in the middle"));
  EXPECT_THAT(error_of(folder_.write(name("tail") + ".zst", packed + "tail")), HasSubstr("zstd"));
  EXPECT_THAT(error_of(folder_.write(name("plain") + ".zst", content)), HasSubstr("zstd"));
}

TEST_P(FormatContract, MutatedFilesGiveRecordsOrErrorsAndNeverCrash) {
  Random random(7);
  for (int round = 0; round < 400; ++round) {
    std::string content(GetParam()->sample);
    content += content;
    for (std::uint64_t edits = 1 + random.below(6); edits > 0; --edits) {
      const std::size_t at = random.below(content.size());
      switch (random.below(4)) {
        case 0:
          content[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          content.erase(at, 1 + random.below(4));
          break;
        case 2:
          content.insert(at, 1, "\t\n\r\"\\{}[],:\xff\0"[random.below(13)]);
          break;
        default:
          content.insert(at, content.substr(random.below(content.size()), random.below(12)));
      }
      if (content.empty()) content = "x";
    }
    const bool packed = round % 4 == 0;
    std::string bytes = packed ? compress(content) : content;
    if (packed && round % 8 == 0)
      bytes[random.below(bytes.size())] ^= static_cast<char>(1 + random.below(255));
    try {
      const auto source = open_records(folder_.write(name("m") + (packed ? ".zst" : ""), bytes));
      for (const Record& record : read_all(*source)) {
        EXPECT_EQ(encoding_problem(shown(record)), nullptr);
        EXPECT_FALSE(shown(record).empty());
      }
      EXPECT_EQ(source->skipped().first.size(), std::min<std::int64_t>(5, source->skipped().count));
    } catch (const Error&) {
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, FormatContract,
                         ::testing::ValuesIn(record_formats().begin(), record_formats().end()),
                         [](const auto& info) { return std::string(info.param->extension.substr(1)); });

TEST(RecordFormats, EveryFileInTheFolderHasARow) {
  for (const auto& entry : std::filesystem::directory_iterator(RETORT_SOURCE_DIR "/src/data/sources")) {
    const std::string stem = entry.path().stem().string();
    if (entry.path().extension() != ".cc" || stem == "registry") continue;
    const auto formats = record_formats();
    EXPECT_TRUE(std::any_of(formats.begin(), formats.end(), [&](const RecordFormat* f) {
      return f->extension == "." + stem;
    })) << stem;
  }
}

TEST(RecordFormats, UnknownExtensionNamesTheKnown) {
  EXPECT_THAT(error_of("pairs.csv"), HasSubstr(".tsv, .jsonl, .json, .txt"));
  EXPECT_THAT(error_of("pairs.csv.zst"), HasSubstr("'.csv'"));
}

TEST(Tsv, BadLinesAreCountedAndTheFirstFiveNamed) {
  const TemporaryFolder folder;
  const std::string bad =
      "no tab\n\tempty source\nempty target\t \nbad \xff\tutf\nnul\t" + std::string(1, '\0') + "\nsixth\n";
  const auto source = open_records(folder.write("pairs.tsv", "a\tb\n\n" + bad + " c \td\t extra column\n"));
  const auto records = read_all(*source);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(shown(records[1]), "[user]c[assistant]d");
  EXPECT_EQ(source->skipped().count, 6);
  EXPECT_THAT(source->skipped().first,
              ElementsAre("pairs.tsv line 3: no tab", "pairs.tsv line 4: empty source",
                          "pairs.tsv line 5: empty target", "pairs.tsv line 6: not valid UTF-8",
                          "pairs.tsv line 7: a NUL byte (is the file UTF-16?)"));
}

TEST(Tsv, OverlongLinesAreSkippedPlainAndCompressed) {
  const TemporaryFolder folder;
  const std::string content = "a\tb\n" + std::string(kMaxUnitBytes + 1, 'x') + "\tlong\nc\td\n";
  for (const auto& path :
       {folder.write("long.tsv", content), folder.write("long.tsv.zst", compress(content))}) {
    const auto source = open_records(path);
    EXPECT_EQ(read_all(*source).size(), 2u);
    EXPECT_THAT(source->skipped().first, ElementsAre(HasSubstr("line 2: longer than 16 MiB")));
  }
}

TEST(Zstd, SeveralFramesAndEverySizeAroundABufferRead) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_shown(folder.write("two.tsv.zst", compress("a\tb\nc\t") + compress("d\n"))),
              ElementsAre("[user]a[assistant]b", "[user]c[assistant]d"));
  for (const std::size_t size : {131071u, 131072u, 131073u, 262143u, 262144u}) {
    const auto read = read_shown(folder.write("size.txt.zst", compress(std::string(size, 'x'))));
    ASSERT_EQ(read.size(), 1u);
    EXPECT_EQ(read[0].size(), size);
  }
}

TEST(Jsonl, LayoutsThatPeopleHave) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> layouts = {
      {R"({"prompt":"q","response":"a"})", "[user]q[assistant]a"},
      {R"({"prompt":"q","completion":"a"})", "[user]q[assistant]a"},
      {R"({"question":"q","answer":"a","id":3})", "[user]q[assistant]a"},
      {R"({"question":"q","answer":43})", "[user]q[assistant]43"},
      {R"({"input":"q","target":43.0})", "[user]q[assistant]43"},
      {R"({"body":"story","question":"q","answer":"a"})", "[user]story\nq[assistant]a"},
      {R"({"department":"x","title":"t","ask":"q","answer":"a"})", "[user]q[assistant]a"},
      {R"({"instruction":"i","input":"","output":"a"})", "[user]i[assistant]a"},
      {R"({"instruction":"i","input":"x","output":"a"})", "[user]i\nx[assistant]a"},
      {R"({"instruction":"i","output":"a","system":"s","history":[["h","r"]]})",
       "[system]s[user]h[assistant]r[user]i[assistant]a"},
      {R"({"messages":[{"role":"system","content":""},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})",
       "[user]q[assistant]a"},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":"a"}]})",
       "[user]q[assistant]a"},
      {R"({"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"},{"from":"human","value":"thanks"}]})",
       "[user]q[assistant]a"},
      {R"({"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"}})",
       "[user]q[assistant]a"},
      {R"({"prompt":"q","chosen":"a","rejected":"b"})", "[user]q[assistant]a"},
      {R"({"text":"t \u4e00"})", "t 一"},
  };
  for (const auto& [line, expected] : layouts)
    EXPECT_THAT(read_shown(folder.write("a.jsonl", line + "\n")), ElementsAre(expected)) << line;
}

TEST(Jsonl, RecordsThatCannotBeLearnedSayWhy) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> lines = {
      {R"({"prompt":"q"})", "no keys that are known"},
      {R"({"prompt":"q","response":" "})", "'response' is empty"},
      {R"({"prompt":"q","response":null})", "'response' is not text"},
      {R"({"prompt":"q","response":"\udc00"})", ""},
      {R"({"question":"q","A":"1","B":"2","answer":"B"})", "multiple-choice"},
      {R"({"messages":{}})", "'messages' is not a list"},
      {R"({"messages":[]})", "no answer"},
      {R"({"messages":[{"role":"user","content":"q"}]})", "no answer"},
      {R"({"messages":[{"role":"assistant","content":"a"}]})", "an answer without a question"},
      {R"({"messages":[{"role":"wizard","content":"a"}]})", "unknown role 'wizard'"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{}]}]})",
       "tool calls"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"label":false})",
       "label false"},
      {R"({"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"{}"}]})",
       "tool calls"},
      {R"(["q","a"])", "not a JSON object"},
      {R"({"prompt":"q","response":)", "invalid JSON"},
      {std::string(5000, '['), "invalid JSON"},
  };
  for (const auto& [line, expected] : lines) {
    const auto source = open_records(folder.write("a.jsonl", "{\"text\":\"good\"}\n" + line + "\n"));
    EXPECT_EQ(read_all(*source).size(), 1u) << line;
    EXPECT_THAT(source->skipped().first, ElementsAre(HasSubstr(expected))) << line;
  }
}

TEST(Json, ArraysAreReadElementByElement) {
  const TemporaryFolder folder;
  const std::string array =
      " [ {\"text\": \"a, ]\\\" [\"},\n {\"text\":\"b\", \"x\": [1, {\"y\": 2}]} ,3, {\"text\":\"c\"} ] ";
  for (const auto& path : {folder.write("a.json", array), folder.write("a.json.zst", compress(array))}) {
    const auto source = open_records(path);
    std::vector<std::string> texts;
    for (const Record& record : read_all(*source)) texts.push_back(record.text);
    EXPECT_THAT(texts, ElementsAre("a, ]\" [", "b", "c"));
    EXPECT_THAT(source->skipped().first, ElementsAre(HasSubstr("element 3: not a JSON object")));
  }
  EXPECT_THAT(error_of(folder.write("one.json", "{\"data\": [{\"text\": \"a\"}]}")),
              HasSubstr("no keys that are known"));
}

TEST(Json, LinesNamedJsonAndBrokenArraysGiveWhatTheyCan) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_shown(folder.write("lines.json", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")),
              ElementsAre("a", "b"));
  for (const auto& [content, problem] :
       {std::pair<std::string, std::string>{"[{\"text\":\"a\"}, {\"text\":\"b", "ends inside the array"},
        {"[{\"text\":\"a\"}]] x", "text after the array"},
        {"[{\"text\":\"a\"}, {\"text\":\"b\"} {}, ]", "invalid JSON"}}) {
    const auto source = open_records(folder.write("broken.json", content));
    EXPECT_EQ(read_all(*source).size(), 1u) << content;
    EXPECT_THAT(source->skipped().first, ElementsAre(HasSubstr(problem))) << content;
  }
}

TEST(Txt, DocumentsLoseOnlyTheirBadLines) {
  const TemporaryFolder folder;
  const auto source = open_records(folder.write("a.txt", "\n\none\ntwo\n \nthree\n\xff\nfour\n"));
  std::vector<std::string> texts;
  for (const Record& record : read_all(*source)) texts.push_back(record.text);
  EXPECT_THAT(texts, ElementsAre("one\ntwo", "three", "four"));
  EXPECT_THAT(source->skipped().first, ElementsAre("a.txt line 7: not valid UTF-8"));
}

}  // namespace
}  // namespace retort
