#include "data/dialogue_encoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/reading/units.h"

namespace retort {
namespace {

bool is_blank_token(std::string_view text) {
  // Gemma lists runs of newlines and of "▁" as added tokens: text, not markup.
  while (text.starts_with("▁")) text.remove_prefix(std::string_view("▁").size());
  return trim(text).empty();
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

constexpr std::string_view kThink = "<think>", kEndThink = "</think>";

// Is what the content thinks aloud missing in what the template prints of it?
bool loses_thought(std::string_view content, std::string_view printed) {
  return content.find(kEndThink) != std::string_view::npos &&
         printed.find(kEndThink) == std::string_view::npos;
}
// The answer stands in what a template printed for it: all of it, or what follows its thought (templates lay
// thoughts out anew).
bool prints(std::string_view content, std::string_view printed) {
  const std::size_t thought = content.rfind(kEndThink);
  const std::string_view said =
      trim(thought == std::string_view::npos ? content : content.substr(thought + kEndThink.size()));
  return printed.find(said) != std::string_view::npos && !loses_thought(content, printed);
}

// A private-use character that no message contains.
std::string unused_character(std::span<const Message> messages) {
  for (int last = 0xbd; last >= 0x80; --last) {
    // U+10FFFD downwards.
    const std::string candidate = std::string("\xf4\x8f\xbf") + static_cast<char>(last);
    if (std::none_of(messages.begin(), messages.end(),
                     [&](const Message& m) { return m.content.find(candidate) != std::string::npos; }))
      return candidate;
  }
  throw Error({.where = "a dialogue",
               .found = "dozens of private-use characters of plane 16",
               .expected = "text",
               .advice = ""});
}

}  // namespace

DialogueEncoder::DialogueEncoder(const Tokenizer& tokenizer, const ChatTemplate& chat_template)
    : tokenizer_(tokenizer), template_(chat_template) {
  for (const AddedToken& token : tokenizer.added_tokens())
    if (!is_blank_token(token.content))
      added_[static_cast<unsigned char>(token.content[0])].push_back(&token);
  for (auto& tokens : added_)
    std::stable_sort(tokens.begin(), tokens.end(), [](const AddedToken* a, const AddedToken* b) {
      return a->content.size() > b->content.size();
    });
}

std::string_view DialogueEncoder::spelling_at(std::string_view text, bool special_only) const {
  for (const AddedToken* token : added_[static_cast<unsigned char>(text[0])])
    if ((token->special || !special_only) && text.starts_with(token->content)) return token->content;
  return {};
}

DialogueEncoder::Marked DialogueEncoder::mark(std::span<const Message> messages) const {
  Marked marked;
  std::string character;
  for (std::size_t m = 0; m < messages.size(); ++m) {
    const std::string& content = messages[m].content;
    // An assistant's "<think>" is markup that the model is to learn; only its special tokens are nobody's to
    // write. What others write is text throughout.
    const bool assistant = messages[m].role == "assistant";
    std::string with_marks;
    std::size_t copied = 0;
    for (std::size_t at = 0; at < content.size();) {
      const std::string_view spelling = spelling_at(std::string_view(content).substr(at), assistant);
      if (spelling.empty()) {
        ++at;
        continue;
      }
      if (character.empty()) character = unused_character(messages);
      marked.marks.push_back(character + std::to_string(marked.marks.size()) + ';');
      marked.spellings.emplace_back(spelling);
      with_marks.append(content, copied, at - copied).append(marked.marks.back());
      at += spelling.size();
      copied = at;
    }
    if (copied == 0) continue;
    if (marked.messages.empty()) marked.messages.assign(messages.begin(), messages.end());
    marked.messages[m].content = with_marks + content.substr(copied);
    if (!assistant) marked.plain_messages.push_back(m);
  }
  return marked;
}

DialogueEncoder::Rendered DialogueEncoder::render(std::span<const Message> messages,
                                                  bool add_generation_prompt) const {
  Rendered rendered;
  rendered.marked = mark(messages);
  const Marked& marked = rendered.marked;
  rendered.text =
      template_.render(marked.messages.empty() ? messages : marked.messages, add_generation_prompt);
  find_plain(rendered);
  return rendered;
}

void DialogueEncoder::find_plain(Rendered& rendered) const {
  const Marked& marked = rendered.marked;
  const std::string_view text = rendered.text;
  for (const std::size_t m : marked.plain_messages) {
    // A template may change a content beyond trimming it; then the marks below are found alone.
    const std::string_view content = trim(marked.messages[m].content);
    if (const std::size_t at = text.find(content); at != std::string_view::npos)
      rendered.plain.push_back({at, at + content.size()});
  }
  const std::size_t whole = rendered.plain.size();
  for (const std::string& mark : marked.marks) {
    for (std::size_t at = text.find(mark); at != std::string_view::npos;
         at = text.find(mark, at + mark.size())) {
      const bool covered =
          std::any_of(rendered.plain.begin(), rendered.plain.begin() + static_cast<std::ptrdiff_t>(whole),
                      [&](const Range& range) { return range.begin <= at && at < range.end; });
      if (!covered) rendered.plain.push_back({at, at + mark.size()});
    }
  }
  std::sort(rendered.plain.begin(), rendered.plain.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
}

// Templates print a newline after the end token; generation stops before it.
std::size_t DialogueEncoder::end_of_answer(std::string_view answer) const {
  const std::size_t last = answer.find_last_not_of(" \t\r\n");
  const std::string_view stripped = answer.substr(0, last == std::string_view::npos ? 0 : last + 1);
  const bool ends_with_token = std::any_of(
      tokenizer_.added_tokens().begin(), tokenizer_.added_tokens().end(),
      [&](const AddedToken& token) { return !token.content.empty() && stripped.ends_with(token.content); });
  return ends_with_token ? stripped.size() : answer.size();
}

// Where message `turn` (the assistant's) stands in the rendered dialogue: from the end of the generation
// prompt to the end token. False when the template prints earlier text differently once more text follows.
bool DialogueEncoder::find_turn(const std::string& text, std::span<const Message> messages, std::size_t turn,
                                Range& found) const {
  const std::string prompt = template_.render(messages.first(turn), true);
  if (!text.starts_with(prompt)) return false;
  const std::string until = template_.render(messages.first(turn + 1), false);
  if (!until.starts_with(prompt)) return false;
  std::size_t end = until.size();
  if (!text.starts_with(until)) {
    // Qwen3 puts an empty <think> block before the last answer alone: earlier answers are found by their own
    // text and what follows it.
    const std::string_view tail = std::string_view(until).substr(prompt.size());
    const std::string_view content = trim(messages[turn].content);
    const std::size_t at = tail.rfind(content);
    if (at == std::string_view::npos) return false;
    const std::string expected = std::string(tail.substr(at));
    if (text.compare(prompt.size(), expected.size(), expected) != 0) return false;
    end = prompt.size() + expected.size();
  }
  const std::string_view printed = std::string_view(text).substr(prompt.size(), end - prompt.size());
  if (trim(printed).empty() || !prints(messages[turn].content, printed)) return false;
  found = {prompt.size(), prompt.size() + end_of_answer(printed)};
  return true;
}

void DialogueEncoder::append_tokens(const Rendered& rendered, Range range, bool target,
                                    Example& example) const {
  const auto append = [&](std::string_view piece, bool parse_added_tokens) {
    if (piece.empty()) return;
    std::vector<TokenId> tokens;
    if (parse_added_tokens) {
      tokens = tokenizer_.encode(piece);
    } else {
      std::string original(piece);
      for (std::size_t i = 0; i < rendered.marked.marks.size(); ++i)
        replace_all(original, rendered.marked.marks[i], rendered.marked.spellings[i]);
      tokens = tokenizer_.encode(original, {.add_special_tokens = false, .parse_added_tokens = false});
    }
    example.tokens.insert(example.tokens.end(), tokens.begin(), tokens.end());
    example.is_target.resize(example.tokens.size(), target ? 1 : 0);
  };
  const std::string_view text = rendered.text;
  std::size_t at = range.begin;
  for (const Range& plain : rendered.plain) {
    const std::size_t begin = std::max(plain.begin, at), end = std::min(plain.end, range.end);
    if (begin >= end) continue;
    append(text.substr(at, begin - at), true);
    append(text.substr(begin, end - begin), false);
    at = end;
  }
  append(text.substr(at, range.end - at), true);
}

// What the model is to say behind `prompt`: the message as it was given, and what the template puts behind
// it.
std::string DialogueEncoder::answer_of(const std::string& prompt, const std::string& until,
                                       const Message& message) const {
  const std::string_view content = trim(message.content);
  if (until.starts_with(prompt) && prints(content, std::string_view(until).substr(prompt.size())))
    return until.substr(prompt.size());
  // The longest end of the content that stands in the rendering shows where the rest begins.
  std::size_t found = std::string::npos, length = 0;
  for (std::size_t tail = 1; tail <= content.size(); tail *= 2)
    if (const std::size_t at = until.rfind(content.substr(content.size() - tail)); at != std::string::npos)
      found = at, length = tail;
  if (found == std::string::npos)
    throw Error({.where = "chat template",
                 .found = "an answer that it does not print",
                 .expected = "one that ends as the message does",
                 .advice = "Use another chat template."});
  std::string answer(content);
  if (std::string_view(trim(prompt)).ends_with(kThink)) {
    // The prompt has begun to think: the answer goes on there, or ends the thought at once.
    if (content.starts_with(kThink))
      answer = std::string(trim(content.substr(kThink.size())));
    else
      answer = std::string("\n") + std::string(kEndThink) + "\n\n" + answer;
  }
  return answer + until.substr(found + length);
}

Example DialogueEncoder::encode_answer(std::span<const Message> messages) const {
  Rendered rendered;
  rendered.marked = mark(messages);
  const std::span<const Message> shown =
      rendered.marked.messages.empty() ? messages : std::span<const Message>(rendered.marked.messages);
  const std::string prompt = template_.render(shown.first(shown.size() - 1), true);
  const std::string answer = answer_of(prompt, template_.render(shown, false), shown.back());
  rendered.text = prompt + answer;
  find_plain(rendered);
  Example example;
  append_tokens(rendered, {0, prompt.size()}, false, example);
  append_tokens(rendered, {prompt.size(), prompt.size() + end_of_answer(answer)}, true, example);
  if (!example.is_target.empty()) example.is_target[0] = 0;
  Record record;
  record.messages.assign(messages.begin(), messages.end());
  example.id = record.id();
  return example;
}

// None if an answer does not stand in the whole dialogue as it was given.
std::optional<Example> DialogueEncoder::encode_whole(std::span<const Message> messages) const {
  const Rendered rendered = render(messages, false);
  const std::span<const Message> shown =
      rendered.marked.messages.empty() ? messages : std::span<const Message>(rendered.marked.messages);
  Example example;
  std::size_t at = 0;
  for (std::size_t m = 0; m < shown.size(); ++m) {
    if (shown[m].role != "assistant") continue;
    Range turn{};
    if (!find_turn(rendered.text, shown, m, turn) || turn.begin < at) return std::nullopt;
    append_tokens(rendered, {at, turn.begin}, false, example);
    append_tokens(rendered, turn, true, example);
    at = turn.end;
  }
  if (at == 0)
    throw Error({.where = "a dialogue",
                 .found = "no assistant message",
                 .expected = "an answer to learn",
                 .advice = ""});
  example.is_target[0] = 0;
  Record record;
  record.messages.assign(messages.begin(), messages.end());
  example.id = record.id();
  return example;
}

std::vector<Example> DialogueEncoder::encode_turns(std::span<const Message> messages) const {
  if (auto whole = encode_whole(messages)) return {std::move(*whole)};
  std::vector<Example> examples;
  for (std::size_t m = 0; m < messages.size(); ++m)
    if (messages[m].role == "assistant") examples.push_back(encode_answer(messages.first(m + 1)));
  return examples;
}

Example DialogueEncoder::encode(std::span<const Message> messages) const {
  if (auto whole = encode_whole(messages)) return std::move(*whole);
  std::size_t last = messages.size();
  while (messages[last - 1].role != "assistant") --last;
  return encode_answer(messages.first(last));
}

std::vector<TokenId> DialogueEncoder::encode_prompt(std::span<const Message> messages) const {
  const Rendered rendered = render(messages, true);
  const std::span<const Message> shown =
      rendered.marked.messages.empty() ? messages : std::span<const Message>(rendered.marked.messages);
  Example example;
  std::size_t at = 0;
  // Earlier answers are pieces of their own here too, so that the model sees the tokens that it was trained
  // on.
  for (std::size_t m = 0; m < shown.size(); ++m) {
    Range turn{};
    if (shown[m].role != "assistant" || !find_turn(rendered.text, shown, m, turn) || turn.begin < at)
      continue;
    append_tokens(rendered, {at, turn.begin}, false, example);
    append_tokens(rendered, turn, false, example);
    at = turn.end;
  }
  append_tokens(rendered, {at, rendered.text.size()}, false, example);
  return example.tokens;
}

}  // namespace retort
