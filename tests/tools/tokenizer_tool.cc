// Tokenizers for the parity tests.
//   serve FOLDER                one JSON request a line of standard input, one list a line back:
//                               {"encode": [TEXT …], "special": with the post-processor's tokens,
//                                "plain": added tokens are plain text}
//                               {"decode": [IDS …], "special": leave special tokens out}
//   bytes FOLDER                one list of all ids' texts and bytes (as Latin-1)
//   speed FOLDER FILE THREADS   seconds to open the tokenizer and to encode the file's lines, ids counted
#include <chrono>
#include <iostream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer.h"

using namespace retort;

namespace {

Json answer(const Tokenizer& tokenizer, const Json& request) {
  const bool special = request.value("special", false), plain = request.value("plain", false);
  Json result = Json::array();
  for (const Json& text : request.value("encode", Json::array()))
    result.push_back(tokenizer.encode(text.get<std::string>(),
                                      {.add_special_tokens = special, .parse_added_tokens = !plain}));
  for (const Json& ids : request.value("decode", Json::array()))
    result.push_back(tokenizer.decode(ids.get<std::vector<TokenId>>(), special));
  return result;
}

Json all_bytes(const Tokenizer& tokenizer) {
  Json result = Json::array();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    Json codes = Json::array();
    for (const char byte : tokenizer.token_bytes(id)) codes.push_back(static_cast<unsigned char>(byte));
    result.push_back({tokenizer.token_text(id), std::move(codes)});
  }
  return result;
}

Json speed(const Tokenizer& tokenizer, const std::string& file, int threads) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  std::vector<std::size_t> ids(static_cast<std::size_t>(threads));
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> pool;
  for (std::size_t t = 0; t < ids.size(); ++t)
    pool.emplace_back([&, t] {
      for (std::size_t i = t; i < lines.size(); i += ids.size()) ids[t] += tokenizer.encode(lines[i]).size();
    });
  for (std::thread& thread : pool) thread.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::size_t total = 0;
  for (const std::size_t count : ids) total += count;
  return {{"seconds", seconds.count()}, {"ids", total}};
}

int run(const std::vector<std::string>& args) {
  if (args.size() < 2)
    throw Error({.where = "tokenizer_tool", .found = "too few arguments", .expected = "a verb and a folder"});
  const auto begin = std::chrono::steady_clock::now();
  const auto tokenizer = open_tokenizer(args[1]);
  const std::chrono::duration<double> opening = std::chrono::steady_clock::now() - begin;
  if (args[0] == "serve")
    for (std::string line; std::getline(std::cin, line);)
      std::cout << answer(*tokenizer, parse_json(line, "standard input")).dump() << std::endl;
  else if (args[0] == "bytes")
    std::cout << all_bytes(*tokenizer).dump() << '\n';
  else {
    Json figures = speed(*tokenizer, args.at(2), std::stoi(args.at(3)));
    figures["opening"] = opening.count();
    std::cout << figures.dump() << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return error.exit_code();
  }
}
