// sample_tool: for each line of JSON {"logits": […], "history": […], "options": {…}} on stdin, prints
// {"token": …, "logits": […]} as sample_token left them; null is a removed token.
#include <cmath>
#include <iostream>
#include <string>

#include "architecture/generate_options.h"
#include "base/error.h"

using namespace retort;

int main() try {
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = parse_json(line, "stdin");
    GenerateOptions options;
    OptionList list;
    options.visit(list);
    list.assign(request.at("options"), "options");
    auto logits = request.at("logits").get<std::vector<float>>();
    const auto history = request.at("history").get<std::vector<TokenId>>();
    const TokenId token = sample_token(logits, {.history = history}, options);
    Json left = Json::array();
    for (const float logit : logits) left.push_back(std::isfinite(logit) ? Json(logit) : Json());
    std::cout << Json{{"token", token}, {"logits", left}} << "\n";
  }
  return 0;
} catch (const Error& error) {
  std::cerr << error.what() << "\n";
  return error.exit_code();
}
