// retort tokenize train: a byte-level BPE tokenizer out of data.
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/registry.h"
#include "data/chat_template.h"
#include "data/record_source.h"
#include "data/tokenizer.h"
#include "data/tokenizers/bpe_trainer.h"

namespace retort {
namespace {

class TrainTokenizer : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& data = list.add("data", data_, "files of pairs, dialogues or text");
    data.required = true;
    data.path = PathRole::input;
    Option& out = list.add("out", out_, "folder to write");
    out.required = true;
    out.path = PathRole::output;
    list.add("limit", limit_, "records to read, 0 = all");
    list.add("chat_template", chat_template_, "file with the prompt format (Jinja); default: ChatML").path =
        PathRole::input;
    list.add("eos_token", eos_token_, "the special token that ends an answer");
    list.add("max_length", max_length_, "model_max_length in tokenizer_config.json");
    options_.visit(list);
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    AtomicFolder target(out_);
    Progress bar("reading", 0, "records");
    std::uint64_t records = 0;
    std::size_t file = 0;
    std::unique_ptr<RecordSource> source;
    std::vector<std::string> texts;  // of the record at hand, handed out one by one
    const auto next_text = [&]() -> std::optional<std::string> {
      while (texts.empty()) {
        if (limit_ > 0 && records >= static_cast<std::uint64_t>(limit_)) return std::nullopt;
        if (!source) {
          if (file == data_.size()) return std::nullopt;
          source = open_records(data_[file++]);
        }
        std::optional<Record> record = source->next();
        if (!record) {
          source.reset();
          continue;
        }
        bar.update(++records);
        for (Message& message : record->messages) texts.push_back(std::move(message.content));
        if (!record->text.empty()) texts.push_back(std::move(record->text));
      }
      std::string text = std::move(texts.back());
      texts.pop_back();
      return text;
    };
    const Json tokenizer = train_bpe(next_text, options_);
    write_tokenizer(target.path(), tokenizer, {{"eos_token", eos_token_}, {"model_max_length", max_length_}});
    write_file_atomically(target.path() / "chat_template.jinja",
                          chat_template_.empty() ? kChatMLTemplate : read_file(chat_template_));
    target.commit();
    log_info("{} records, {} tokens: {}", records, open_tokenizer(out_)->vocab_size(), out_);
    return {{"records", records}, {"vocab_size", open_tokenizer(out_)->vocab_size()}};
  }

 private:
  std::vector<std::string> data_;
  std::string out_, chat_template_, eos_token_ = "<|im_end|>";
  std::int64_t limit_ = 0, max_length_ = 4096;
  BpeTrainerOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_tokenize_train() { return std::make_unique<TrainTokenizer>(); }

}  // namespace retort
