// retort inspect with --cka: how alike the layers of two models are on some data. Without it, the other
// inspect.
#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "cli/compute.h"
#include "cli/registry.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "data/dataset.h"
#include "objective/alignment/cka.h"

namespace retort {
namespace {

constexpr std::int64_t kRecords = 4096;  // of the data, at most
constexpr std::int64_t kBatchTokens = 4096;
constexpr double kAlike = 0.7;  // below it, terms on hidden states put a projection between two layers

class InspectCka : public Verb {
 public:
  void visit(OptionList& list) override {
    inspect_->visit(list);
    list.add("cka", cka_,
             "compare the layers of student and teacher instead (linear CKA, at positions with a loss)");
    list.add("teacher", teacher_, "folder, for cka").path = PathRole::input;
    list.add("student", student_, "folder, for cka").path = PathRole::input;
    list.add("data", data_, "pairs, dialogues or text, for cka").path = PathRole::input;
    list.add("positions", positions_, "that are compared, for cka");
    compute_.visit(list);
  }

  std::vector<std::string> take_arguments(std::vector<std::string> arguments) override {
    return inspect_->take_arguments(std::move(arguments));
  }

  Json run() override {
    if (!cka_) return inspect_->run();
    check_options();
    compute_.apply();
    const auto tokenizer = open_tokenizer(student_);
    if (open_tokenizer(teacher_)->fingerprint() != tokenizer->fingerprint())
      throw Error({.where = "teacher",
                   .found = teacher_ + ", whose tokenizer differs from the student's",
                   .expected = "one tokenizer for both, so that positions can be compared",
                   .advice = ""});
    const CausalLM student = open(student_), teacher = open(teacher_);
    const auto chat_template = open_chat_template(student_);
    DatasetOptions options;
    options.data = data_;
    options.validation_share = 0;
    options.limit = kRecords;
    const auto& ends = student.config().eos_token_ids;
    const Dataset dataset = load_dataset(options, *tokenizer, chat_template.get(),
                                         ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()));
    const std::vector<Batch> sample = sample_batches(dataset.train, kBatchTokens, positions_);
    const CkaTable table = compare_layers(student, teacher, {sample, positions_});
    const Json figures = to_json(table);
    OptionList list;
    inspect_->visit(list);
    const std::string json = list.to_json().at("json").get<std::string>();
    if (json != "-") print(table);
    write_result(json, figures);
    return figures;
  }

 private:
  void check_options() const {
    for (const auto& [key, value] : {std::pair{"teacher", teacher_}, {"student", student_}})
      if (value.empty())
        throw Error(
            {.where = key, .found = "nothing", .expected = "a model folder to compare", .advice = ""});
    if (data_.empty())
      throw Error(
          {.where = "data", .found = "nothing", .expected = "a file that both models read", .advice = ""});
    if (positions_ < 2 || positions_ > 8192)
      throw Error({.where = "positions",
                   .found = std::to_string(positions_),
                   .expected = "2 … 8192 (memory grows with its square)",
                   .advice = ""});
  }

  CausalLM open(const std::string& folder) const {
    CausalLM model(ModelFolder(folder), compute_.torch_device(), compute_.dtype());
    model.set_requires_grad(false);
    return model;
  }

  static std::string layer_name(std::int64_t row) { return row == 0 ? "embedding" : std::to_string(row - 1); }

  // For each of the student's layers the teacher's that is most like it.
  static std::int64_t nearest(const CkaTable& table, std::int64_t row) {
    return table.values[row].argmax().item<std::int64_t>();
  }

  static Json to_json(const CkaTable& table) {
    const std::int64_t rows = table.values.size(0), columns = table.values.size(1);
    Json values = Json::array(), student = Json::array(), teacher = Json::array(), alike = Json::array();
    for (std::int64_t r = 0; r < rows; ++r) {
      const double* row = table.values.data_ptr<double>() + r * columns;
      values.push_back(std::vector<double>(row, row + columns));
      student.push_back("student " + layer_name(r));
      alike.push_back(
          {{"student", r - 1}, {"teacher", nearest(table, r) - 1}, {"cka", row[nearest(table, r)]}});
    }
    for (std::int64_t c = 0; c < columns; ++c) teacher.push_back("teacher " + layer_name(c));
    return {{"positions", table.positions},
            {"nearest", alike},
            {"heatmaps",
             Json::array(
                 {{{"title", "linear CKA"}, {"rows", student}, {"columns", teacher}, {"values", values}}})}};
  }

  static void print(const CkaTable& table) {
    const std::int64_t rows = table.values.size(0), columns = table.values.size(1);
    std::printf("linear CKA at %lld positions; rows: student, columns: teacher\n%10s",
                static_cast<long long>(table.positions), "");
    for (std::int64_t c = 0; c < columns; ++c) std::printf(" %5s", c == 0 ? "emb" : layer_name(c).c_str());
    std::printf("   most like\n");
    for (std::int64_t r = 0; r < rows; ++r) {
      std::printf("%10s", layer_name(r).c_str());
      const double* row = table.values.data_ptr<double>() + r * columns;
      for (std::int64_t c = 0; c < columns; ++c) std::printf(" %5.2f", row[c]);
      const std::int64_t best = nearest(table, r);
      std::printf("   %s%s\n", layer_name(best).c_str(), row[best] < kAlike ? " (below 0.7)" : "");
    }
  }

  std::unique_ptr<Verb> inspect_ = make_inspect();
  bool cka_ = false;
  std::string teacher_, student_;
  std::vector<std::string> data_;
  std::int64_t positions_ = 1024;
  ComputeOptions compute_;
};

}  // namespace

std::unique_ptr<Verb> make_inspect_cka() { return std::make_unique<InspectCka>(); }

}  // namespace retort
