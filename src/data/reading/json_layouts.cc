#include <fmt/format.h>
#include <simdjson.h>

#include "data/reading/record_reader.h"

namespace retort {
namespace {

namespace dom = simdjson::dom;

// One question and one answer under two keys. `before` and `after` belong to the question when present (a
// word problem's story, Alpaca's input). Rows are tried in order: the first whose two keys exist is taken.
struct PairLayout {
  const char *question, *answer, *before, *after;
};
constexpr PairLayout kPairLayouts[] = {
    {"prompt", "response", "", ""},      {"prompt", "completion", "", ""},
    {"prompt", "chosen", "", ""},        {"instruction", "output", "", "input"},
    {"instruct", "output", "", "input"}, {"question", "answer", "body", ""},
    {"question", "response", "", ""},    {"query", "response", "", ""},
    {"ask", "answer", "", ""},           {"source", "target", "", ""},
    {"input", "output", "", ""},         {"input", "target", "", ""},
    {"content", "label", "", ""},        {"original_text", "ans", "", ""},
};

struct RoleName {
  std::string_view name, role;
};
constexpr RoleName kRoles[] = {
    {"system", "system"}, {"user", "user"},        {"human", "user"},        {"assistant", "assistant"},
    {"gpt", "assistant"}, {"bot", "assistant"},    {"chatgpt", "assistant"}, {"model", "assistant"},
    {"tool", "tool"},     {"observation", "tool"},
};

// Why a record is left out, for the skip report; does not leave this file.
struct Unusable {
  std::string reason;
};

bool has(dom::object object, std::string_view key) { return object[key].error() == simdjson::SUCCESS; }

// A string, a list of text parts ([{"type": "text", "text": …}]), or a number as it is written in answers.
std::string text_of(dom::element value, std::string_view key) {
  std::string text;
  if (value.is_string()) {
    text = std::string_view(value);
  } else if (value.is_int64()) {
    text = fmt::format("{}", std::int64_t(value));
  } else if (value.is_double()) {
    text = fmt::format("{}", double(value));
    if (text.ends_with(".0")) text.resize(text.size() - 2);
  } else if (value.is_array()) {
    for (dom::element part : dom::array(value)) {
      std::string_view type, piece;
      if (part["type"].get(type) != simdjson::SUCCESS || type != "text" ||
          (part["text"].get(piece) != simdjson::SUCCESS && part["value"].get(piece) != simdjson::SUCCESS))
        throw Unusable{fmt::format("'{}' has parts that are not text", key)};
      text += piece;
    }
  } else {
    throw Unusable{fmt::format("'{}' is not text", key)};
  }
  // JSON escapes can spell what UTF-8 cannot (half a surrogate pair).
  if (const char* problem = encoding_problem(text)) throw Unusable{fmt::format("'{}' is {}", key, problem)};
  return text;
}

std::string required_text(dom::object object, std::string_view key) {
  std::string text = text_of(object[key], key);
  if (trim(text).empty()) throw Unusable{fmt::format("'{}' is empty", key)};
  return text;
}

std::string optional_text(dom::object object, std::string_view key) {
  dom::element value;
  if (key.empty() || object[key].get(value) != simdjson::SUCCESS || value.is_null()) return "";
  std::string text = text_of(value, key);
  return trim(text).empty() ? "" : text;
}

// Chat templates print one kind of tool call each; a call flattened into text would teach another format.
[[noreturn]] void refuse_tool_call() { throw Unusable{"tool calls are not supported"}; }

Message read_message(dom::element element) {
  dom::object object;
  if (element.get(object) != simdjson::SUCCESS) throw Unusable{"a message that is not an object"};
  const char* role_key = has(object, "role") ? "role" : "from";
  std::string_view role;
  if (object[role_key].get(role) != simdjson::SUCCESS) throw Unusable{"a message without role"};
  dom::array calls;
  if (role == "function_call" || (object["tool_calls"].get(calls) == simdjson::SUCCESS && calls.size() > 0))
    refuse_tool_call();
  const char* content_key = has(object, "content") ? "content" : "value";
  if (!has(object, content_key)) throw Unusable{"a message without content"};
  for (const RoleName& known : kRoles)
    if (known.name == role) return {std::string(known.role), text_of(object[content_key], content_key)};
  throw Unusable{fmt::format("unknown role '{}'", role.substr(0, 40))};
}

// The preferred answer of a preference record: text, one message, or a list that ends with it.
void append_chosen(dom::element chosen, std::vector<Message>& messages) {
  if (chosen.is_array() && dom::array(chosen).size() > 0) {
    dom::element last;
    for (dom::element message : dom::array(chosen)) last = message;
    messages.push_back(read_message(last));
  } else if (chosen.is_object()) {
    messages.push_back(read_message(chosen));
  } else {
    messages.push_back({"assistant", text_of(chosen, "chosen")});
  }
}

void read_messages(dom::object object, const char* key, Record& record) {
  dom::array list;
  if (object[key].get(list) != simdjson::SUCCESS) throw Unusable{fmt::format("'{}' is not a list", key)};
  for (dom::element element : list) record.messages.push_back(read_message(element));
  dom::element chosen;
  if (object["chosen"].get(chosen) == simdjson::SUCCESS) append_chosen(chosen, record.messages);
}

void read_history(dom::object object, Record& record) {
  dom::array turns;
  if (object["history"].get(turns) != simdjson::SUCCESS) return;
  for (dom::element turn : turns) {
    dom::array pair;
    if (turn.get(pair) != simdjson::SUCCESS || pair.size() != 2)
      throw Unusable{"'history' is not a list of pairs"};
    record.messages.push_back({"user", text_of(pair.at(0), "history")});
    record.messages.push_back({"assistant", text_of(pair.at(1), "history")});
  }
}

bool read_pair(dom::object object, Record& record) {
  for (const PairLayout& layout : kPairLayouts) {
    if (!has(object, layout.question) || !has(object, layout.answer)) continue;
    read_history(object, record);
    std::string question = optional_text(object, layout.before);
    if (!question.empty()) question += '\n';
    question += required_text(object, layout.question);
    const std::string after = optional_text(object, layout.after);
    if (!after.empty()) question += "\n" + after;
    record.messages.push_back({"user", std::move(question)});
    if (std::string_view(layout.answer) == "chosen")
      append_chosen(object["chosen"], record.messages);
    else
      record.messages.push_back({"assistant", required_text(object, layout.answer)});
    return true;
  }
  return false;
}

// What follows the last answer teaches nothing; a dialogue needs a question and an answer.
void check_dialogue(std::vector<Message>& messages) {
  while (!messages.empty() && messages.back().role != "assistant") messages.pop_back();
  if (messages.empty()) throw Unusable{"no answer"};
  if (messages.front().role == "system" && trim(messages.front().content).empty())
    messages.erase(messages.begin());
  if (messages.front().role == "assistant") throw Unusable{"an answer without a question"};
  for (const Message& message : messages)
    if (trim(message.content).empty()) throw Unusable{"an empty message"};
}

Record read_record(dom::element root) {
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) throw Unusable{"not a JSON object"};
  // Answers that somebody marked as bad are not to be learned.
  bool label = true;
  if (object["label"].get(label) == simdjson::SUCCESS && !label) throw Unusable{"an answer with label false"};
  Record record;
  const std::string system = optional_text(object, "system");
  if (!system.empty()) record.messages.push_back({"system", system});
  if (has(object, "messages")) {
    read_messages(object, "messages", record);
  } else if (has(object, "conversations")) {
    read_messages(object, "conversations", record);
  } else if (has(object, "choices") || (has(object, "A") && has(object, "B") && has(object, "answer"))) {
    throw Unusable{"a multiple-choice question, whose choices would be lost"};
  } else if (!read_pair(object, record)) {
    if (!has(object, "text")) throw Unusable{"no keys that are known"};
    record = {};
    record.text = required_text(object, "text");
    return record;
  }
  check_dialogue(record.messages);
  return record;
}

class JsonRecordParser : public RecordParser {
 public:
  std::optional<Record> parse(std::string_view unit, std::string& problem) override {
    dom::element root;
    if (const auto error = parser_.parse(unit.data(), unit.size()).get(root); error != simdjson::SUCCESS) {
      problem = fmt::format("invalid JSON ({})", simdjson::error_message(error));
      return std::nullopt;
    }
    try {
      return read_record(root);
    } catch (const Unusable& unusable) {
      problem = unusable.reason;
    } catch (const simdjson::simdjson_error& error) {
      problem = fmt::format("invalid JSON ({})", error.what());
    }
    return std::nullopt;
  }

 private:
  dom::parser parser_;
};

}  // namespace

std::unique_ptr<RecordParser> json_record_parser() { return std::make_unique<JsonRecordParser>(); }

}  // namespace retort
