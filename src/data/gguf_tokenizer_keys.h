// What reader and writer of a GGUF file's tokenizer agree on.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "data/tokenizers/splitter.h"

namespace retort::gguf_tokenizer {

inline constexpr const char* kWhole = "tokenizer.huggingface.json";  // a whole tokenizer.json
inline constexpr const char* kRules = "retort.tokenizer";            // one without vocabulary and merges
inline constexpr const char* kConfig = "retort.tokenizer_config";
inline constexpr const char* kGeneration = "retort.generation_config";
inline constexpr const char* kTemplate = "tokenizer.chat_template";
inline constexpr const char* kModel = "tokenizer.ggml.model";
inline constexpr const char* kTokens = "tokenizer.ggml.tokens";
inline constexpr const char* kTypes = "tokenizer.ggml.token_type";
inline constexpr const char* kMerges = "tokenizer.ggml.merges";
inline constexpr const char* kScores = "tokenizer.ggml.scores";
inline constexpr const char* kPre = "tokenizer.ggml.pre";

// ggml's kinds of tokens.
enum TokenType : std::int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// What a label of tokenizer.ggml.pre stands for. The first of equal rows is the one written.
struct SplitterLabel {
  std::string_view label;
  std::string_view pattern;  // "" = GPT-2's, which ByteLevel has built in
  bool nfc = false, ignore_merges = false, adds_bos = false;
};
inline constexpr std::array<SplitterLabel, 7> kSplitters = {{
    {.label = "gpt-2", .pattern = ""},
    {.label = "qwen2", .pattern = kQwen2Pattern, .nfc = true},
    {.label = "deepseek-r1-qwen", .pattern = kQwen2Pattern, .nfc = true, .adds_bos = true},
    {.label = "llama-bpe", .pattern = kLlama3Pattern, .ignore_merges = true, .adds_bos = true},
    {.label = "llama3", .pattern = kLlama3Pattern, .ignore_merges = true, .adds_bos = true},
    {.label = "llama-v3", .pattern = kLlama3Pattern, .ignore_merges = true, .adds_bos = true},
    {.label = "phi-2", .pattern = ""},
}};

// A tokenizer.json's rules without vocabulary and merges, and back. Entries of the vocabulary that are added
// tokens too stay with the rules, because their types in a GGUF file do not say so.
Json split_rules(const Json& tokenizer_json, std::span<const std::int64_t> types);
Json join_rules(Json rules, std::span<const std::string_view> tokens, std::span<const std::int64_t> types,
                std::span<const std::string_view> merges);

// bos_token … of a tokenizer_config.json, as a chat template's variables.
Json special_tokens(std::string_view tokenizer_config, const std::string& where);

// The text of a tokenizer.json from its content with the vocabulary as a list.
std::string tokenizer_text(const Json& tokenizer_json);

std::string merge_text(const Json& merge);  // "left right", whichever way it is written

}  // namespace retort::gguf_tokenizer
