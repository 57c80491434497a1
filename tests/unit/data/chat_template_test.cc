// What a template may cost, what its errors say, and how a folder's template is found. What templates print
// is compared with transformers in tests/parity/chat_template.py.
#include "data/chat_template.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string rendered(const std::string& source, const Json& messages = Json::array(),
                     const Json& variables = Json::object()) {
  return ChatTemplate(source, Json::object(), "template").render(messages, false, variables);
}

std::string error_of(const std::string& source, const Json& variables = Json::object()) {
  try {
    rendered(source, Json::array(), variables);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(OpenChatTemplate, NamesWhatIsWrongInTheConfig) {
  const TemporaryFolder folder;
  for (const auto& [config, found] : std::map<const char*, const char*>{
           {"[]", "tokenizer_config.json: found [], expected an object"},
           {R"({"eos_token": {"content": 3}})", "tokenizer_config.json: eos_token: content: found 3"}}) {
    write_file_atomically(folder.path() / "tokenizer_config.json", config);
    try {
      open_chat_template(folder.path());
      ADD_FAILURE() << config;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(found));
    }
  }
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_THAT(error_of("a\nb\n{{ nope.x }}"), AllOf(HasSubstr("template: line 3"), HasSubstr("'nope'")));
  EXPECT_THAT(error_of("a\n{% if x %}\n\n{{ 1 + }}"), HasSubstr("line 4"));
  EXPECT_THAT(error_of("\n{% for x in [1] %}\n{{ x | nosuch }}{% endfor %}"),
              AllOf(HasSubstr("line 3"), HasSubstr("nosuch")));
  EXPECT_THAT(error_of("{% macro m(x) %}\n\n{{ x + 1 }}{% endmacro %}\n{{ m('a') }}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("x\n{{ raise_exception('no such role') }}"),
              AllOf(HasSubstr("line 2"), HasSubstr("no such role")));
  EXPECT_THAT(error_of("\n\n{% if true %}"), AllOf(HasSubstr("end of the template"), HasSubstr("endif")));
  EXPECT_THAT(error_of("\n{% include 'x' %}"), AllOf(HasSubstr("line 2"), HasSubstr("'include'")));
  EXPECT_THAT(error_of("{% for x in y recursive %}{% endfor %}"), HasSubstr("recursive"));
  EXPECT_THAT(error_of("{{ [1].append(2) }}"), HasSubstr("namespace"));
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  const std::vector<std::string> hostile = {
      "{% for a in range(1000000000) %}{% endfor %}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{{ 'a' * 9999999999 }}",
      "{{ ('a' * 100000) * 100000 }}",
      "{{ [1] * 9999999999 }}",
      "{{ 9 ** 9 ** 9 }}",
      "{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x "
      "}}",
      "{% set ns = namespace(x=[]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x }}",
      "{% set ns = namespace(x=[], y=[]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y "
      "= [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
      "{{ 'a' | replace('', 'b' * 100000) | replace('', 'b' * 100000) }}",
      "{{ 'x' | indent('y' * 10000000) }}{{ ('\\n' * 100000) | indent('y' * 100000, true, true) }}",
      "{{ 'a'.center(9999999999) }}",
      "{{ 'a'.ljust(3000000, 'y' * 1000000) }}",
      "{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | "
      "tojson(indent='y' * 10000000) }}",
      "{{ range(9999999999) | list }}",
      "{{ [1, 2] | batch(9999999999, 0) }}",
      "{{ [1] | slice(9999999999) }}",
      "{% for a in range(3000000) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% "
      "endfor %}",
      "{% set ns = namespace(f=none) %}{% for i in range(100000) %}{% with a = ns.f %}{% macro g() %}{{ a "
      "}}{% endmacro %}{% set ns.f = g %}{% endwith %}{% endfor %}",
      std::string(100000, '('),
      "{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}",
      "{{ " + std::string(100000, '-') + "1 }}",
      "{{ " + std::string(100000, '[') + " }}",
  };
  for (const std::string& source : hostile) {
    if (source[0] == '(') continue;  // text
    EXPECT_THAT(error_of(source), HasSubstr("template")) << source.substr(0, 100);
    EXPECT_NE(error_of(source), "no error") << source.substr(0, 100);
  }
}

TEST(ChatTemplate, DeepSourcesAreRefusedNotFollowed) {
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  EXPECT_NE(error_of(repeated("{% if 1 %}", 10000)), "no error");
  EXPECT_NE(error_of("{{ 1" + repeated(" + 1", 100000) + " }}"), "no error");
  EXPECT_NE(error_of("{{ a" + repeated(".a", 100000) + " }}"), "no error");
  EXPECT_NE(error_of("{{ a" + repeated(" | upper", 100000) + " }}"), "no error");
  EXPECT_NE(error_of("{{ " + repeated("not ", 100000) + "1 }}"), "no error");
  EXPECT_EQ(rendered("{% if 0 %}" + repeated("{% elif 0 %}", 10000) + "{% else %}x{% endif %}"), "x");
}

TEST(ChatTemplate, EndsOfTheWholeNumbers) {
  EXPECT_EQ(rendered("{{ (-9223372036854775807 - 1) // 3 }} {{ (-9223372036854775807 - 1) % 3 }}"),
            "-3074457345618258603 1");
  EXPECT_NE(error_of("{{ (-9223372036854775807 - 1) // -1 }}"), "no error");
  EXPECT_EQ(rendered("{{ 'abc' | truncate(9223372036854775807, leeway=9223372036854775807) }}"), "abc");
}

TEST(ChatTemplate, NamespacesMayHoldThemselves) {
  EXPECT_EQ(rendered("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me is defined }}"), "True");
}

TEST(ChatTemplate, ACallerKeptBeyondItsBlockStillSeesIt) {
  EXPECT_EQ(rendered("{% set ns = namespace(c=none) %}{% macro m() %}{% set ns.c = caller %}{% endmacro %}"
                     "{% for i in [1, 2] %}{% call m() %}<{{ i }}>{% endcall %}{% endfor %}{{ ns.c() }}"),
            "<2>");
}

TEST(ChatTemplate, MessagesReachATemplateAsTransformersHandsThem) {
  const Json messages = {{{"role", "assistant"}, {"content", nullptr}, {"reasoning", "r"}}};
  EXPECT_EQ(
      rendered(
          "{{ 'content' in messages[0] }} {{ messages[0].reasoning_content }} {{ messages[0].thinking }}",
          messages),
      "False r r");
  EXPECT_EQ(rendered("{{ tools is none }} {{ tools is defined }} {{ bos_token is defined }}"),
            "True True False");
  EXPECT_EQ(rendered("{{ tools | length }}", Json::array(), {{"tools", {1, 2}}}), "2");
}

TEST(OpenChatTemplate, FindsTheFoldersTemplate) {
  const TemporaryFolder folder;
  EXPECT_EQ(open_chat_template(folder.path()), nullptr);
  write_file_atomically(
      folder.path() / "tokenizer_config.json",
      R"({"eos_token": {"content": "</s>"}, "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D{{ eos_token }}"}]})");
  EXPECT_EQ(open_chat_template(folder.path())->render(Json::array(), false, Json::object()), "D</s>");
  write_file_atomically(folder.path() / "chat_template.jinja", "J{{ eos_token }}");
  EXPECT_EQ(open_chat_template(folder.path())->render(Json::array(), false, Json::object()), "J</s>");
}

}  // namespace
}  // namespace retort
