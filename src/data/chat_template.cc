// Jinja templates as models carry them: text, {{ … }}, for, if, set, comments and whitespace control,
// rendered with transformers' settings (trim_blocks, lstrip_blocks).
#include "data/chat_template.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/jinja/expression.h"

namespace retort {

using namespace jinja;

const char* const kChatMLTemplate =
    "{%- for message in messages -%}\n"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}\n";

namespace {

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind { text, print, for_loop, branch, set } kind = Kind::text;
  std::string text;  // literal text, or the variable of set (with ".attribute" for a namespace)
  std::vector<std::string> variables;  // of a for loop
  Expression expression;               // printed, iterated over, tested or assigned
  Expression filter;                   // of a for loop: "for x in y if …"
  Block body, otherwise;
};

// A piece of the source between tags.
struct Tag {
  enum class Kind { text, print, block } kind;
  std::string content;
  int line;
};

void trim_right_inline(std::string& text) {  // spaces and tabs up to the last line break
  const std::size_t end = text.find_last_not_of(" \t");
  const std::size_t keep = end == std::string::npos ? 0 : end + 1;
  if (keep == 0 || text[keep - 1] == '\n') text.resize(keep);
}

std::vector<Tag> cut_tags(const std::string& source, const std::string& where) {
  std::vector<Tag> tags;
  int line = 1;
  bool trim_left = false, drop_newline = false;
  for (std::size_t at = 0; at <= source.size();) {
    std::size_t open = source.find('{', at);
    while (open != std::string::npos &&
           (open + 1 >= source.size() ||
            (source[open + 1] != '{' && source[open + 1] != '%' && source[open + 1] != '#')))
      open = source.find('{', open + 1);
    std::string text = source.substr(at, open == std::string::npos ? std::string::npos : open - at);
    const int text_lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    if (trim_left)
      text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    else if (drop_newline && !text.empty() && text[0] == '\n')
      text.erase(0, 1);
    if (open == std::string::npos) {
      if (!text.empty() && text.back() == '\n') text.pop_back();  // keep_trailing_newline is off
      if (!text.empty()) tags.push_back({Tag::Kind::text, text, line});
      break;
    }
    const char kind = source[open + 1];
    const std::string close = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
    // Quotes inside may hold the closing mark.
    std::size_t end = open + 2;
    for (char quote = 0; end < source.size(); ++end) {
      if (quote != 0) {
        if (source[end] == '\\')
          ++end;
        else if (source[end] == quote)
          quote = 0;
      } else if (kind != '#' && (source[end] == '\'' || source[end] == '"')) {
        quote = source[end];
      } else if (source.compare(end, 2, close) == 0) {
        break;
      }
    }
    line += text_lines;
    if (end >= source.size())
      throw Error({.where = where + ": line " + std::to_string(line),
                   .found = "'" + source.substr(open, 2) + "' without its end",
                   .expected = "'" + close + "'",
                   .advice = ""});
    std::string content = source.substr(open + 2, end - open - 2);
    const bool left_mark = !content.empty() && (content.front() == '-' || content.front() == '+');
    if (left_mark && content.front() == '-')
      text.erase(text.find_last_not_of(" \t\r\n") + 1);
    else if (kind != '{' && !left_mark)
      trim_right_inline(text);
    if (left_mark) content.erase(0, 1);
    trim_left = !content.empty() && content.back() == '-';
    drop_newline = kind != '{' && !trim_left;
    if (trim_left) content.pop_back();
    if (!text.empty()) tags.push_back({Tag::Kind::text, text, line});
    if (kind != '#') tags.push_back({kind == '{' ? Tag::Kind::print : Tag::Kind::block, content, line});
    line += static_cast<int>(std::count(content.begin(), content.end(), '\n'));
    at = end + 2;
  }
  return tags;
}

class TemplateParser {
 public:
  TemplateParser(std::vector<Tag> tags, std::string where)
      : tags_(std::move(tags)), where_(std::move(where)) {}

  Block parse_all() {
    std::string end;
    Block block = parse_block(end, 0);
    if (!end.empty()) fail(at_ - 1, end);
    return block;
  }

 private:
  [[noreturn]] void fail(std::size_t tag, const std::string& found) const {
    throw Error({.where = place(tag),
                 .found = "'" + found + "'",
                 .expected = "for, if, set and their ends, in order",
                 .advice = ""});
  }
  std::string place(std::size_t tag) const {
    return where_ + ": line " + std::to_string(tags_[std::min(tag, tags_.size() - 1)].line);
  }

  static std::string first_word(const std::string& content) {
    const std::size_t begin = content.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return "";
    const std::size_t end = content.find_first_of(" \t\r\n", begin);
    return content.substr(begin, end == std::string::npos ? end : end - begin);
  }
  static std::string rest(const std::string& content, const std::string& word) {
    return content.substr(content.find(word) + word.size());
  }

  // Statements up to a tag that ends or divides the block; that tag's content is left in `end` ("" at the end
  // of the template).
  Block parse_block(std::string& end, int depth) {
    if (depth > 100) fail(at_, "blocks nested too deeply");
    Block block;
    while (at_ < tags_.size()) {
      const std::size_t here = at_;
      const Tag& tag = tags_[at_++];
      if (tag.kind == Tag::Kind::text) {
        block.push_back({.kind = Statement::Kind::text,
                         .text = tag.content,
                         .variables = {},
                         .expression = {},
                         .filter = {},
                         .body = {},
                         .otherwise = {}});
        continue;
      }
      if (tag.kind == Tag::Kind::print) {
        Statement statement;
        statement.kind = Statement::Kind::print;
        statement.expression = parse_expression(tag.content, place(here));
        block.push_back(std::move(statement));
        continue;
      }
      const std::string word = first_word(tag.content);
      if (word == "for")
        block.push_back(parse_for(tag, here, depth));
      else if (word == "if")
        block.push_back(parse_if(rest(tag.content, "if"), here, depth));
      else if (word == "set")
        block.push_back(parse_set(tag, here));
      else if (word == "endfor" || word == "endif" || word == "else" || word == "elif") {
        end = tag.content;
        return block;
      } else {
        fail(here, word);
      }
    }
    end.clear();
    return block;
  }

  Statement parse_for(const Tag& tag, std::size_t here, int depth) {
    Statement statement;
    statement.kind = Statement::Kind::for_loop;
    std::string content = rest(tag.content, "for");
    const std::size_t in = content.find(" in ");
    if (in == std::string::npos) fail(here, tag.content);
    std::string names = content.substr(0, in);
    for (std::size_t begin = 0; begin <= names.size();) {
      const std::size_t comma = std::min(names.find(',', begin), names.size());
      statement.variables.push_back(first_word(names.substr(begin, comma - begin)));
      begin = comma + 1;
    }
    std::string source = content.substr(in + 4);
    if (const std::size_t condition = source.find(" if "); condition != std::string::npos) {
      statement.filter = parse_expression(source.substr(condition + 4), place(here));
      source.resize(condition);
    }
    statement.expression = parse_expression(source, place(here));
    std::string end;
    statement.body = parse_block(end, depth + 1);
    if (first_word(end) == "else") statement.otherwise = parse_block(end, depth + 1);
    if (first_word(end) != "endfor") fail(here, tag.content);
    return statement;
  }

  Statement parse_if(const std::string& condition, std::size_t here, int depth) {
    if (depth > 100) fail(here, "too many branches");
    Statement statement;
    statement.kind = Statement::Kind::branch;
    statement.expression = parse_expression(condition, place(here));
    std::string end;
    statement.body = parse_block(end, depth + 1);
    const std::string word = first_word(end);
    if (word == "elif")
      statement.otherwise.push_back(parse_if(rest(end, "elif"), here, depth + 1));
    else if (word == "else") {
      statement.otherwise = parse_block(end, depth + 1);
      if (first_word(end) != "endif") fail(here, "if");
    } else if (word != "endif") {
      fail(here, "if");
    }
    return statement;
  }

  Statement parse_set(const Tag& tag, std::size_t here) {
    Statement statement;
    statement.kind = Statement::Kind::set;
    const std::string content = rest(tag.content, "set");
    const std::size_t equals = content.find('=');
    if (equals == std::string::npos) fail(here, tag.content);
    statement.text = first_word(content.substr(0, equals));
    statement.expression = parse_expression(content.substr(equals + 1), place(here));
    return statement;
  }

  std::vector<Tag> tags_;
  std::string where_;
  std::size_t at_ = 0;
};

void run(const Block& block, Scope& scope, std::string& out);

void run_loop(const Statement& loop, Scope& scope, std::string& out) {
  Json items = evaluate(loop.expression, scope);
  if (items.is_object()) {  // iterating a mapping gives its keys
    Json keys = Json::array();
    for (const auto& [key, unused] : items.items()) keys.push_back(key);
    items = keys;
  }
  const std::size_t base = scope.variables.size(), outer_floor = scope.floor;
  const auto bind = [&](const Json& item) {
    for (std::size_t v = 0; v < loop.variables.size(); ++v)
      scope.variables.emplace_back(loop.variables[v], loop.variables.size() == 1 ? item
                                                      : v < item.size()          ? item[v]
                                                                                 : undefined());
  };
  if (loop.filter) {
    Json kept = Json::array();
    for (const Json& item : items) {
      bind(item);
      if (truthy(evaluate(loop.filter, scope))) kept.push_back(item);
      scope.variables.resize(base);
    }
    items = kept;
  }
  if (!items.is_array() || items.empty()) {
    run(loop.otherwise, scope, out);
    return;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    scope.spend(1);
    scope.floor = base;  // what is set inside ends with the round
    bind(items[i]);
    Json state = {{"index", i + 1},
                  {"index0", i},
                  {"first", i == 0},
                  {"last", i + 1 == items.size()},
                  {"length", items.size()}};
    if (i > 0) state["previtem"] = items[i - 1];
    if (i + 1 < items.size()) state["nextitem"] = items[i + 1];
    scope.variables.emplace_back("loop", std::move(state));
    run(loop.body, scope, out);
    scope.variables.resize(base);
  }
  scope.floor = outer_floor;
}

void run(const Block& block, Scope& scope, std::string& out) {
  for (const Statement& statement : block) {
    scope.spend(1);
    switch (statement.kind) {
      case Statement::Kind::text:
        out += statement.text;
        break;
      case Statement::Kind::print:
        out += to_text(evaluate(statement.expression, scope));
        break;
      case Statement::Kind::branch:
        run(truthy(evaluate(statement.expression, scope)) ? statement.body : statement.otherwise, scope, out);
        break;
      case Statement::Kind::for_loop:
        run_loop(statement, scope, out);
        break;
      case Statement::Kind::set:
        scope.set(statement.text, evaluate(statement.expression, scope));
        break;
    }
    if (static_cast<std::int64_t>(out.size()) > scope.budget.output_bytes)
      throw Error(
          {.where = "chat template", .found = "an output above 16 MiB", .expected = "less", .advice = ""});
  }
}

}  // namespace

struct ChatTemplate::Program {
  std::string source, where;
  Json special_tokens;
  Block block;
};

ChatTemplate::ChatTemplate(std::string source, Json special_tokens, std::string where)
    : program_(std::make_unique<Program>()) {
  program_->block = TemplateParser(cut_tags(source, where), where).parse_all();
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
  Scope scope;
  for (const Json* group : {static_cast<const Json*>(&program_->special_tokens), &variables})
    for (const auto& [name, value] : group->items()) scope.variables.emplace_back(name, value);
  scope.variables.emplace_back("messages", messages);
  scope.variables.emplace_back("add_generation_prompt", add_generation_prompt);
  std::string out;
  run(program_->block, scope, out);
  return out;
}

std::unique_ptr<ChatTemplate> open_chat_template(const std::filesystem::path& folder) {
  const auto config_path = folder / "tokenizer_config.json", file = folder / "chat_template.jinja";
  const Json config = std::filesystem::exists(config_path) ? read_json(config_path) : Json::object();
  Json special = Json::object();
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    const Json value = config.value(key, Json());
    if (value.is_string())
      special[key] = value;
    else if (value.is_object())
      special[key] = value.value("content", "");
  }
  if (std::filesystem::exists(file))
    return std::make_unique<ChatTemplate>(read_file(file), special, file.string());
  const Json source = config.value("chat_template", Json());
  if (!source.is_string()) return nullptr;
  return std::make_unique<ChatTemplate>(source.get<std::string>(), special,
                                        config_path.string() + ": chat_template");
}

}  // namespace retort
