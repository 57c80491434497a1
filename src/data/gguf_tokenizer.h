// The tokenizer and chat template in a GGUF file. Written as llama.cpp reads them (tokens, types, merges, a
// label for the splitter), and with the rest of tokenizer.json beside ("retort.tokenizer": its rules without
// vocabulary and merges), because the label says less than tokenizer.json does. Files without those rules are
// rebuilt from the label.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "formats/gguf.h"

namespace retort {

// Null when the file has none. Throws Error for kinds and splitter labels that are not known.
std::unique_ptr<Tokenizer> tokenizer_of_gguf(const GgufFile& file);
std::unique_ptr<ChatTemplate> chat_template_of_gguf(const GgufFile& file);

// What a Hugging Face folder holds beside the model: contents of files, "" for those that are not there.
struct TokenizerFiles {
  std::string tokenizer;          // tokenizer.json; made from vocab.json and merges.txt where there is none
  std::string config;             // tokenizer_config.json
  std::string chat_template;      // chat_template.jinja
  std::string generation_config;  // generation_config.json
};
TokenizerFiles tokenizer_files(const std::filesystem::path& folder);
TokenizerFiles tokenizer_files(const GgufFile& file);
void write_tokenizer_files(const TokenizerFiles& files, const std::filesystem::path& folder);

// After add_config, whose token ids stand. vocab_size: the model's; ids without a token are filled with
// unused ones. Returns what llama.cpp will do differently ("" = nothing known).
std::string add_tokenizer(GgufMetadata& metadata, const TokenizerFiles& files, std::int64_t vocab_size);

}  // namespace retort
