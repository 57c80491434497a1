// Metrics for the parity test: reads {"hypothesis", "reference"} lines from standard input and writes, per
// line, each tokenizer's BLEU counts and both units' ROUGE scores; on the last line the corpus scores of
// every BLEU option.
#include <fmt/format.h>

#include <iostream>

#include "base/json.h"
#include "evaluate/metrics/bleu.h"
#include "evaluate/metrics/rouge.h"

using namespace retort;

int main() {
  std::map<std::string, BleuCounts> corpus;
  std::string line;
  while (std::getline(std::cin, line)) {
    const Json pair = parse_json(line, "standard input");
    const auto hypothesis = pair.at("hypothesis").get<std::string>(),
               reference = pair.at("reference").get<std::string>();
    Json out = Json::object();
    for (const std::string& tokenize : bleu_tokenizers()) {
      for (const bool lowercase : {false, true}) {
        const std::string name = tokenize + (lowercase ? "|lc" : "|mixed");
        const BleuCounts c =
            bleu_counts(hypothesis, reference, {.tokenize = tokenize, .lowercase = lowercase});
        corpus[name] += c;
        out[name] = {c.hypothesis_length, c.reference_length};
        for (const long n : c.correct) out[name].push_back(n);
        for (const long n : c.total) out[name].push_back(n);
      }
    }
    for (const char* unit : {"word", "character"}) {
      const RougeScore score = rouge_score(hypothesis, reference, rouge_unit(unit));
      out[unit] = {score.rouge1, score.rouge2, score.rouge_l};
    }
    std::cout << out.dump() << "\n";
  }
  Json scores = Json::object();
  for (const auto& [name, counts] : corpus) {
    for (const char* smooth : {"exp", "floor", "add-k", "none"}) {
      for (const double value : {-1.0, 0.5})
        scores[fmt::format("{}|{}|{}", name, smooth, value)] =
            bleu_score(counts, {.smooth = smooth, .smooth_value = value});
    }
  }
  std::cout << scores.dump() << "\n";
}
