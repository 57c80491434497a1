#include "data/chat_template.h"

#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/jinja/interpreter.h"
#include "data/jinja/template_parser.h"
#include "data/tokenizers/utf8.h"

namespace retort {

const char* const kChatMLTemplate =
    "{%- for message in messages -%}\n"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}\n";

namespace {

// What transformers hands to a template: no entries that are null, and reasoning, which has three names in
// the wild, under both of those that templates look for.
Json shown_message(const Json& message) {
  if (!message.is_object()) return message;
  Json kept = Json::object();
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) kept[key] = value;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    if (!kept.contains(name)) continue;
    const Json reasoning = kept[name];
    if (!kept.contains("thinking")) kept["thinking"] = reasoning;
    kept["reasoning_content"] = reasoning;
    break;
  }
  return kept;
}

// A template, or the one called "default" of several.
Json template_of(const Json& config) {
  const Json value = config.value("chat_template", Json());
  if (!value.is_array()) return value;
  for (const Json& named : value)
    if (named.is_object() && named.value("name", Json()) == "default") return named.value("template", Json());
  return nullptr;
}

}  // namespace

struct ChatTemplate::Program {
  std::string source, where;
  Json special_tokens;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::string source, Json special_tokens, std::string where)
    : program_(std::make_unique<Program>()) {
  if (!is_valid_utf8(source)) source = replace_invalid_utf8(source);
  program_->block = jinja::parse_template(source, where);
  program_->source = std::move(source);
  program_->special_tokens = std::move(special_tokens);
  program_->where = std::move(where);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

const std::string& ChatTemplate::source() const { return program_->source; }

std::string ChatTemplate::render(std::span<const Message> messages, bool add_generation_prompt) const {
  Json list = Json::array();
  for (const Message& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return render(list, add_generation_prompt, Json::object());
}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                                 const Json& variables) const {
  Json shown = Json::array();
  for (const Json& message : messages) shown.push_back(shown_message(message));
  // Later ones hide earlier ones of the same name.
  jinja::Variables all = {{"tools", {}}, {"documents", {}}};
  for (const Json* group : {static_cast<const Json*>(&program_->special_tokens), &variables})
    for (const auto& [name, value] : group->items()) all.emplace_back(name, jinja::Value(value));
  all.emplace_back("messages", jinja::Value(shown));
  all.emplace_back("add_generation_prompt", add_generation_prompt);
  jinja::Runtime runtime({}, program_->where);
  return jinja::render(program_->block, std::move(all), runtime);
}

std::unique_ptr<ChatTemplate> open_chat_template(const std::filesystem::path& folder) {
  const auto config_path = folder / "tokenizer_config.json", file = folder / "chat_template.jinja";
  const Json config = std::filesystem::exists(config_path)
                          ? parse_object(read_file(config_path), config_path.string())
                          : Json::object();
  Json special = Json::object();
  for (const char* key :
       {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}) {
    const Json value = config.value(key, Json());
    if (value.is_string())
      special[key] = value;
    else if (value.is_object())
      special[key] = json_get_or<std::string>(value, "content", "", config_path.string() + ": " + key);
  }
  if (std::filesystem::exists(file))
    return std::make_unique<ChatTemplate>(read_file(file), special, file.string());
  const Json source = template_of(config);
  if (!source.is_string()) return nullptr;
  return std::make_unique<ChatTemplate>(source.get<std::string>(), special,
                                        config_path.string() + ": chat_template");
}

}  // namespace retort
