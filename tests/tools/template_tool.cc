// Chat templates for the parity tests. On standard input one JSON request a line, on standard output one
// answer a line:
//   {"template": SOURCE, "special_tokens": {…}, "messages": […], "add_generation_prompt": BOOL,
//    "variables": {…}}
//   → {"text": …} or {"error": …}
#include <iostream>
#include <unordered_map>

#include "base/error.h"
#include "data/chat_template.h"

using namespace retort;

int main() {
  std::unordered_map<std::string, ChatTemplate> parsed;
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      const Json request = parse_json(line, "standard input");
      const std::string source = request.at("template");
      auto known = parsed.find(source);
      if (known == parsed.end())
        known = parsed
                    .emplace(source, ChatTemplate(source, request.value("special_tokens", Json::object()),
                                                  "template"))
                    .first;
      answer["text"] =
          known->second.render(request.at("messages"), request.value("add_generation_prompt", false),
                               request.value("variables", Json::object()));
    } catch (const std::exception& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}
