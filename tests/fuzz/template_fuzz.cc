// Any bytes as a chat template, rendered for a dialogue with tools: text or an Error.
#include <cstdint>

#include "base/error.h"
#include "data/chat_template.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Json messages = {
      {{"role", "system"}, {"content", "s"}},
      {{"role", "user"}, {"content", " q\n"}},
      {{"role", "assistant"},
       {"content", "<think>\nt\n</think>\n\na"},
       {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", {{"x", 1.5}}}}}}}}},
      {{"role", "tool"}, {"content", "模型"}},
      {{"role", "user"}, {"content", ""}}};
  static const Json variables = {
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"tools",
       {{{"type", "function"},
         {"function", {{"name", "f"}, {"parameters", {{"properties", {{"x", {{"type", "number"}}}}}}}}}}}}};
  try {
    const ChatTemplate format(std::string(reinterpret_cast<const char*>(data), size), Json::object(),
                              "template");
    format.render(messages, true, variables);
  } catch (const Error&) {
  }
  return 0;
}
