// Tokenizers small enough to follow by hand, and files that must be refused. Real ones:
// tests/parity/tokenizer.py.
#include "data/tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "data/gguf_tokenizer.h"
#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/patterns.h"
#include "data/tokenizers/replace.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<TokenId>;

// 256 bytes, then "ab" 256, "abc" 257, "bc" 258; <s> 259 special, <think> 260 not.
Json toy() {
  Json vocabulary = Json::object();
  for (std::size_t i = 0; i < 256; ++i) vocabulary[byte_characters()[i]] = i;
  vocabulary["ab"] = 256, vocabulary["abc"] = 257, vocabulary["bc"] = 258;
  return {{"added_tokens",
           {{{"id", 259}, {"content", "<s>"}, {"special", true}, {"normalized", false}},
            {{"id", 260}, {"content", "<think>"}, {"special", false}, {"normalized", false}}}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", split_then_byte_level(kQwen2Pattern)},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocabulary},
            {"merges", Json::array({"b c", Json::array({"a", "b"}), "ab c"})}}}};
}

std::string error_of(const Json& json) {
  try {
    make_tokenizer(json, "tokenizer.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Tokenizer, MergesInOrderOfRank) {
  const auto tokenizer = make_tokenizer(toy(), "toy");
  EXPECT_THAT(tokenizer->encode("abc"), ElementsAre('a', 258));  // "b c" comes first
  EXPECT_THAT(tokenizer->encode("abab"), ElementsAre(256, 256));
  EXPECT_THAT(tokenizer->encode("a b"), ElementsAre('a', ' ', 'b'));
}

TEST(Tokenizer, LongPiecesAsShortOnes) {
  const auto tokenizer = make_tokenizer(toy(), "toy");
  // No splitter cuts letters, and two ways of merging meet in the middle.
  for (const int n : {1, 15, 16, 17, 24, 25, 200}) {
    std::string text;
    Ids expected;
    for (int i = 0; i < n; ++i) text += "xab", expected.insert(expected.end(), {'x', 256});
    EXPECT_EQ(tokenizer->encode(text), expected) << n;
    EXPECT_EQ(tokenizer->encode(text), expected) << n;  // now from the cache
  }
}

TEST(Regex, EmptyMatchesAreLeftBehindByWholeCodePoints) {
  const std::string text = "é好a";
  EXPECT_EQ(behind_match(text, 0, 0), 2u);
  EXPECT_EQ(behind_match(text, 0, 2), 2u);
  EXPECT_EQ(behind_match(text, 2, 2), 5u);
  EXPECT_GT(behind_match(text, 6, 6), text.size());
  const Replacer replacer({{"pattern", {{"Regex", "x*"}}}, {"content", "-"}}, "test");
  EXPECT_EQ(replacer.apply(text), "-é-好-a-");
  EXPECT_THROW(Regex("\xff", "test"), Error);
}

// The memory behind the types is another's: a sanitizer says so.
TEST(GgufTokenizer, AnUnknownTokenBeyondTheVocabularyIsLeftOut) {
  Json vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}, {"<unk>", 700}};
  for (int byte = 0; byte < 256; ++byte) vocabulary[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  const Json json = {{"added_tokens", Json::array()},
                     {"model",
                      {{"type", "BPE"},
                       {"unk_token", "<unk>"},
                       {"byte_fallback", true},
                       {"vocab", vocabulary},
                       {"merges", Json::array({"a b"})}}}};
  GgufMetadata metadata;
  TokenizerFiles files;
  files.tokenizer = json.dump();
  add_tokenizer(metadata, files, 259);
  EXPECT_TRUE(metadata.has("tokenizer.ggml.tokens"));
}

TEST(Tokenizer, AddedTokens) {
  const auto tokenizer = make_tokenizer(toy(), "toy");
  EXPECT_THAT(tokenizer->encode("<s>ab<think>"), ElementsAre(259, 256, 260));
  const Ids plain = tokenizer->encode("<s>", {.add_special_tokens = false, .parse_added_tokens = false});
  EXPECT_THAT(plain, ElementsAre('<', 's', '>'));
  EXPECT_EQ(tokenizer->decode(Ids{259, 256, 260}), "<s>ab<think>");
  EXPECT_EQ(tokenizer->decode(Ids{259, 256, 260}, /*skip_special=*/true), "ab<think>");
  EXPECT_EQ(tokenizer->vocab_size(), 261);
  EXPECT_EQ(tokenizer->token_id("<s>"), 259);
  EXPECT_EQ(tokenizer->token_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->decode(Ids{-5, 'a', 1 << 30}), "a");  // ids of nothing
}

TEST(Tokenizer, InvalidUtf8IsReplacedNotRefused) {
  const auto tokenizer = make_tokenizer(toy(), "toy");
  EXPECT_EQ(tokenizer->encode("a\xffz"), tokenizer->encode("a\uFFFDz"));
  EXPECT_EQ(tokenizer->decode(Ids{0xE6, 0xA8}), "\uFFFD");
  EXPECT_EQ(tokenizer->token_bytes(0xE6), "\xE6");
}

TEST(Tokenizer, FingerprintTellsMergesApart) {
  Json other = toy();
  std::swap(other["model"]["merges"][0], other["model"]["merges"][1]);
  EXPECT_EQ(make_tokenizer(toy(), "a")->fingerprint(), make_tokenizer(toy(), "b")->fingerprint());
  EXPECT_NE(make_tokenizer(toy(), "a")->fingerprint(), make_tokenizer(other, "a")->fingerprint());
}

TEST(TokenizerErrors, EachNamesWhatIsWrong) {
  const auto changed = [](const std::function<void(Json&)>& change) {
    Json json = toy();
    change(json);
    return error_of(json);
  };
  EXPECT_THAT(changed([](Json& j) { j["model"].erase("merges"); }), HasSubstr("merges"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"] = 3; }), HasSubstr("merges"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"].push_back("a zz"); }),
              HasSubstr("merge 3: found 'a' + 'zz'"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"].push_back("abc"); }), HasSubstr("left right"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"].push_back("a b c"); }), HasSubstr("left right"));
  EXPECT_THAT(changed([](Json& j) {
                j["model"]["merges"].push_back(Json::array({"a", 1}));
              }),
              HasSubstr("merges"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["q!"] = 97; }), HasSubstr("id 97 for 'a' and 'q!'"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["q!"] = -1; }), HasSubstr("'q!'"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["q!"] = std::int64_t{1} << 40; }), HasSubstr("'q!'"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["q!"] = "7"; }), HasSubstr("'q!'"));
  EXPECT_THAT(changed([](Json& j) {
                j["model"]["vocab"] = Json::array({Json::array({1, 2})});
              }),
              HasSubstr("vocab"));
  EXPECT_THAT(changed([](Json& j) { j["model"].erase("vocab"); }), HasSubstr("vocab"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["type"] = "WordPiece"; }), HasSubstr("WordPiece"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["dropout"] = 0.1; }), HasSubstr("dropout"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["unk_token"] = "<unk>"; }), HasSubstr("<unk>"));
  EXPECT_THAT(changed([](Json& j) { j["pre_tokenizer"] = {{"type", "Nonsense"}}; }), HasSubstr("Nonsense"));
  EXPECT_THAT(
      changed([](Json& j) {
        j["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}};
      }),
      HasSubstr("regular expression"));
  EXPECT_THAT(changed([](Json& j) { j["normalizer"] = {{"type", "Nmt"}}; }), HasSubstr("Nmt"));
  EXPECT_THAT(changed([](Json& j) { j["decoder"] = {{"type", "CTC"}}; }), HasSubstr("CTC"));
  EXPECT_THAT(changed([](Json& j) { j["post_processor"] = {{"type", "Bert"}}; }), HasSubstr("Bert"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0]["id"] = -3; }), HasSubstr("-3"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0].erase("content"); }), HasSubstr("content"));
  EXPECT_THAT(error_of(Json::array()), HasSubstr("tokenizer.json"));
}

TEST(TokenizerErrors, HostileFilesEnd) {
  const auto changed = [](const std::function<void(Json&)>& change) {
    Json json = toy();
    change(json);
    try {
      make_tokenizer(json, "tokenizer.json")->encode("a b c d");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  // A small file asks for a huge table, and ids that no model has.
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["q!"] = (1 << 24) - 1; }), HasSubstr("id below"));
  EXPECT_THAT(
      changed([](Json& j) {
        j["post_processor"] = Json::parse(
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "s"}}], "special_tokens": {"s": {"ids": [-7]}}})");
      }),
      HasSubstr("-7"));
  EXPECT_THAT(changed([](Json& j) {
                j["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": [{}]})");
              }),
              HasSubstr("id"));
  EXPECT_THAT(changed([](Json& j) {
                j["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": [3]})");
              }),
              HasSubstr("3"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"] = Json::parse("[3]"); }), HasSubstr("tokenizer.json"));
  EXPECT_THAT(changed([](Json& j) {
                j["decoder"] = Json::parse(
                    R"({"type": "Strip", "content": "", "start": 9223372036854775807, "stop": 0})");
              }),
              HasSubstr("content"));
  // Rules that double a text, forty times.
  EXPECT_THAT(changed([](Json& j) {
                Json rules = Json::array();
                for (int i = 0; i < 40; ++i)
                  rules.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaa"}});
                j["normalizer"] = {{"type", "Sequence"}, {"normalizers", rules}};
              }),
              HasSubstr("256 MiB"));
  EXPECT_THAT(changed([](Json& j) {
                Json rules = Json::array();
                for (int i = 0; i < 60; ++i) rules.push_back({{"type", "ByteLevel"}});
                j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", rules}};
              }),
              HasSubstr("256 MiB"));
}

TEST(OpenTokenizer, FoldersThatAreNotWhole) {
  const TemporaryFolder folder;
  const auto error = [&] {
    try {
      open_tokenizer(folder.path());
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(error(), HasSubstr("no tokenizer"));
  write_file_atomically(folder.path() / "vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  EXPECT_THAT(error(), HasSubstr("merges.txt"));
  write_file_atomically(folder.path() / "merges.txt", "#version: 0.2\na b\n");
  // GPT-2's class knows its end token.
  EXPECT_EQ(open_tokenizer(folder.path())->encode("ab<|endoftext|>"), (Ids{2, 3}));
  for (const auto& [config, found] : std::map<const char*, const char*>{
           {"[1]", "tokenizer_config.json: found [1], expected an object"},
           {R"({"added_tokens_decoder": 7})", "tokenizer_config.json: added_tokens_decoder: found 7"},
           {R"({"added_tokens_decoder": {"5": 3}})", "added_tokens_decoder: 5: found 3"}}) {
    write_file_atomically(folder.path() / "tokenizer_config.json", config);
    EXPECT_THAT(error(), HasSubstr(found));
  }
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  write_file_atomically(folder.path() / "merges.txt", "a b\nb q\n");
  EXPECT_THAT(error(), HasSubstr("'b' + 'q'"));
  write_file_atomically(folder.path() / "vocab.json", R"({"a": 0, "b": 0})");
  EXPECT_THAT(error(), HasSubstr("id 0"));
  write_file_atomically(folder.path() / "vocab.json", "{\"\xff\": 0}");
  EXPECT_THAT(error(), HasSubstr("vocab.json"));
  write_file_atomically(folder.path() / "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}, ");
  EXPECT_THAT(error(), HasSubstr("tokenizer.json"));
  write_file_atomically(folder.path() / "tokenizer.json", std::string(100000, '['));
  EXPECT_THAT(error(), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace retort
