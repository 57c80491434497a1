// Bytes as a tokenizer.json; where it opens, texts go through it and back, whatever ids come.
#include <cstdint>

#include "base/error.h"
#include "data/tokenizer.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = make_tokenizer(parse_tokenizer_json(text, "tokenizer.json"), "tokenizer.json");
    const std::string_view texts[] = {"Hello, wörld's 2024 \n\n模型 <s>a</s>", text.substr(0, 400),
                                      "\xff\xc0 e\u0301 \u1100\u1161"};
    for (const std::string_view input : texts)
      for (const bool parse : {false, true}) {
        const std::vector<TokenId> ids =
            tokenizer->encode(input, {.add_special_tokens = parse, .parse_added_tokens = parse});
        tokenizer->decode(ids, parse);
        for (const TokenId id : ids) tokenizer->token_bytes(id);
      }
    tokenizer->decode(std::vector<TokenId>{0, 1, 5, -1, 1 << 30, 2, 3});
    tokenizer->fingerprint();
  } catch (const Error&) {
  }
  return 0;
}
