// data generate: a model writes answers to a file's questions; the best that pass become training data.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli_edge/answer.h"
#include "cli_edge/block_journal.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "data/record_source.h"
#include "evaluate/answer_writer.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

class DataGenerate : public Verb {
 public:
  explicit DataGenerate(std::unique_ptr<ModelOpener> opener) : opener_(std::move(opener)) {}

  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "folder or .gguf file of the model that writes");
    model.required = true;
    model.path = PathRole::input;
    Option& data = list.add("data", data_, "questions: the user's words of any training data");
    data.required = true;
    data.path = PathRole::input;
    Option& out = list.add("out", out_, "JSON lines to write: messages, and what the answer was worth");
    out.required = true;
    out.path = PathRole::output;
    list.add("judge", judge_, "model that ranks or bounds answers by their likelihood").path =
        PathRole::input;
    list.add("limit", limit_, "questions at most; 0: all");
    list.add("block", block_, "questions written together: what a killed run may lose");
    options_.visit(list);
    opener_->visit(list);
  }

  Json run() override {
    options_.validate();
    if (block_ < 1)
      throw Error({.where = "block", .found = std::to_string(block_), .expected = "at least 1"});
    if (fs::is_directory(out_))
      throw Error({.where = out_, .found = "a folder", .expected = "a file to write"});
    const OpenedModel model = open(model_);
    const OpenedModel judge = judge_.empty() ? OpenedModel{} : open(judge_);
    WriterOptions options = options_;
    options.generate.end_tokens = end_of_answer(*model.tokenizer, *model.chat_template);
    options.generate.cancelled = interrupt_requested;
    AnswerWriter writer(view(model), view(judge), options);

    const std::vector<OpenQuestion> questions = read_questions();
    const auto blocks =
        (questions.size() + static_cast<std::size_t>(block_) - 1) / static_cast<std::size_t>(block_);
    BlockJournal journal(out_ + ".partial", fingerprint());
    if (journal.blocks() > 0) log_info("Going on behind block {} of {}.", journal.blocks(), blocks);
    Progress bar("answering", questions.size(), "questions",
                 journal.blocks() * static_cast<std::size_t>(block_));
    for (std::size_t block = journal.blocks(); block < blocks; ++block) {
      const std::size_t begin = block * static_cast<std::size_t>(block_);
      const std::size_t end = std::min(questions.size(), begin + static_cast<std::size_t>(block_));
      const std::vector<OpenQuestion> some(questions.begin() + static_cast<std::ptrdiff_t>(begin),
                                           questions.begin() + static_cast<std::ptrdiff_t>(end));
      const auto before = writer.counts();
      const auto answers = writer.write(some, block);
      if (interrupt_requested()) {
        log_info("Stopped; the same command goes on from here.");
        return nullptr;
      }
      journal.add(lines(some, answers), difference(writer.counts(), before));
      bar.update(end);
    }
    journal.commit(out_);
    const Json figures = {{"questions", questions.size()},
                          {"without_question", without_question_},
                          {"answers", journal.counts()},
                          {"compute", model.compute}};
    log_info("{} questions: {}", questions.size(), journal.counts().dump());
    return figures;
  }

 private:
  OpenedModel open(const std::string& path) const {
    OpenedModel model = opener_->open(path);
    if (!model.chat_template)
      throw Error({.where = path,
                   .found = "no chat template",
                   .expected = "chat_template.jinja",
                   .advice = "Questions are asked in the model's own prompt format."});
    return model;
  }

  static ModelView view(const OpenedModel& model) {
    return {model.model.get(), model.tokenizer.get(), model.chat_template.get()};
  }

  // Each record up to its last answer.
  std::vector<OpenQuestion> read_questions() {
    std::vector<OpenQuestion> questions;
    const auto records = open_records(data_);
    while (limit_ <= 0 || static_cast<std::int64_t>(questions.size()) < limit_) {
      std::optional<Record> record = records->next();
      if (!record) break;
      OpenQuestion question{std::move(record->messages), ""};
      if (!question.messages.empty() && question.messages.back().role == "assistant") {
        question.reference = std::move(question.messages.back().content);
        question.messages.pop_back();
      }
      if (question.messages.empty() || question.messages.back().role != "user")
        ++without_question_;
      else
        questions.push_back(std::move(question));
    }
    if (questions.empty())
      throw Error({.where = data_, .found = "no questions", .expected = "records with a user's message"});
    return questions;
  }

  // What the answers depend on.
  std::string fingerprint() {
    OptionList list;
    visit(list);
    Json values = list.to_json();
    for (const char* key : {"out", "threads", "device"}) values.erase(key);
    std::string text = values.dump() + hash_path(model_) + hash_path(data_);
    if (!judge_.empty()) text += hash_path(judge_);
    return hash_text(text);
  }

  static std::string lines(const std::vector<OpenQuestion>& questions,
                           const std::vector<std::vector<WrittenAnswer>>& answers) {
    std::string text;
    for (std::size_t q = 0; q < questions.size(); ++q)
      for (const WrittenAnswer& answer : answers[q]) {
        Json messages = Json::array();
        for (const Message& message : questions[q].messages)
          messages.push_back({{"role", message.role}, {"content", message.content}});
        messages.push_back({{"role", "assistant"}, {"content", answer.text}});
        Json line = {{"messages", messages}, {"likelihood", answer.likelihood}};
        if (answer.judged != 0) line["judged"] = answer.judged;
        if (answer.nearness != 0) line["nearness"] = answer.nearness;
        text += line.dump() + "\n";
      }
    return text;
  }

  static std::map<std::string, std::int64_t> difference(std::map<std::string, std::int64_t> now,
                                                        const std::map<std::string, std::int64_t>& before) {
    for (const auto& [name, count] : before) now[name] -= count;
    return now;
  }

  std::unique_ptr<ModelOpener> opener_;
  std::string model_, data_, out_, judge_;
  std::int64_t limit_ = 0, block_ = 256, without_question_ = 0;
  WriterOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_data_generate(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<DataGenerate>(std::move(opener));
}

}  // namespace retort
