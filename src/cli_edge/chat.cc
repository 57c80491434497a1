// chat: a dialogue in the terminal, in the model's own prompt format. Lines from a pipe are messages too.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli_edge/answer.h"
#include "cli_edge/verbs.h"
#include "data/example.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

constexpr const char* kHelp =
    "/clear  begin a new dialogue\n"
    "/bye    leave (so does Ctrl-D)\n"
    "Ctrl-C  stops an answer, or forgets a line. A line that ends with \\ goes on in the next one.\n";

class Chat : public Verb {
 public:
  explicit Chat(std::unique_ptr<ModelOpener> opener) : opener_(std::move(opener)) {
    options_.generate.max_tokens = 1024;
  }

  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    list.add("system", system_, "a system message at the beginning");
    options_.visit(list);
    opener_->visit(list);
  }

  Json run() override {
    const OpenedModel opened = opener_->open(model_);
    if (!opened.chat_template)
      throw Error({.where = model_,
                   .found = "no chat template",
                   .expected = "a model that was taught to talk",
                   .advice = "generate --raw continues plain text."});
    terminal_ = isatty(STDIN_FILENO) == 1;
    interrupts_only_stop();
    if (terminal_) std::printf("%s\n", kHelp);
    clear();
    std::string line;
    while (read_message(line)) {
      if (line == "/bye") break;
      if (line == "/help") {
        std::printf("%s", kHelp);
      } else if (line == "/clear") {
        clear();
      } else if (line.find_first_not_of(" \t\r\n") != std::string::npos) {
        say(opened, line);
      }
    }
    clear_interrupt();
    return nullptr;
  }

 private:
  void clear() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({"system", system_});
  }

  // False at the end of input. Lines that are no UTF-8 are refused and asked for again.
  bool read_message(std::string& message) {
    while (true) {
      message.clear();
      bool more = true;
      for (bool first = true; more; first = false) {
        if (terminal_ && !wait_for_line(first ? "> " : "… ")) {
          message.clear();
          break;
        }
        std::string line;
        if (!std::getline(std::cin, line)) {
          if (terminal_) std::printf("\n");
          if (message.empty()) return false;
        }
        more = line.ends_with('\\');
        if (more) line.back() = '\n';
        message += line;
      }
      clear_interrupt();  // one that came between answer and prompt
      if (is_valid_utf8(message)) return true;
      log_warning("that line is not UTF-8 and was not sent; the dialogue goes on");
    }
  }

  // False after Ctrl-C, with which the terminal drops what was typed of a line.
  static bool wait_for_line(const char* prompt) {
    std::fputs(prompt, stdout);
    std::fflush(stdout);
    // Looked at now and then: Ctrl-C may come in another thread, or just before the wait begins.
    constexpr int kMilliseconds = 50;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    while (!interrupt_requested())
      if (::poll(&input, 1, kMilliseconds) > 0) return true;
    clear_interrupt();
    std::printf("\n");
    return false;
  }

  // What fails, or is stopped before it began to be answered, leaves the dialogue as it was before the
  // message.
  void say(const OpenedModel& opened, const std::string& message) {
    messages_.push_back({"user", message});
    try {
      const std::vector<TokenId> prompt = encode_prompt(*opened.tokenizer, *opened.chat_template, messages_);
      const Answer found = answer(opened, prompt, options_, [](std::string_view piece) {
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
      });
      std::printf("%s\n", found.interrupted ? " …" : "");
      std::fflush(stdout);
      if (found.tokens.empty() && found.interrupted)
        messages_.pop_back();
      else
        messages_.push_back({"assistant", found.text});
    } catch (const Error& error) {
      messages_.pop_back();
      log_warning("{}. The message was not answered; /clear begins anew.", error.what());
    }
    clear_interrupt();
  }

  std::unique_ptr<ModelOpener> opener_;
  std::string model_, system_;
  AnswerOptions options_;
  std::vector<Message> messages_;
  bool terminal_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_chat(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<Chat>(std::move(opener));
}

}  // namespace retort
