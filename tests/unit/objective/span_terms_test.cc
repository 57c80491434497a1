// Terms across tokenizers, against formulas in double precision that walk through the events one by one.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "objective/alignment/teacher_reading.h"
#include "objective/objective.h"
#include "unit/objective/tiny_models.h"

namespace retort {
namespace {

using Texts = std::vector<std::string>;

// Two vocabularies of one alphabet. Both know "a", "b", "c", "bc" and "abc"; the rest is only one's.
Texts student_texts() {
  Texts texts = {"c", "ab", "a", "bc", "b", "cab", "abc", "bb"};
  while (texts.size() < 61) texts.push_back("s" + std::to_string(texts.size()));
  return texts;
}
Texts teacher_texts() {
  Texts texts = {"", "a", "ca", "b", "aa", "c", "bc", "abc", "bca", "acc"};
  while (texts.size() < 66) texts.push_back("t" + std::to_string(texts.size()));
  return texts;
}

// Cuts a text with a preference: longest first, or (so that spellings exist that are not used) shortest
// first.
std::vector<TokenId> encode(const Texts& texts, const std::string& text, bool longest) {
  std::vector<TokenId> tokens;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t best = texts.size();
    for (std::size_t id = 0; id < texts.size(); ++id)
      if (!texts[id].empty() && text.compare(at, texts[id].size(), texts[id]) == 0 &&
          (best == texts.size() || (texts[id].size() > texts[best].size()) == longest))
        best = id;
    tokens.push_back(static_cast<TokenId>(best));
    at += texts[best].size();
  }
  return tokens;
}

Example example(std::uint64_t id, const std::vector<TokenId>& prompt, const std::vector<TokenId>& answer) {
  Example made;
  made.tokens = prompt;
  made.tokens.insert(made.tokens.end(), answer.begin(), answer.end());
  made.is_target.assign(prompt.size(), 0);
  made.is_target.resize(made.tokens.size(), 1);
  made.id = id;
  made.weight = 0.5f + static_cast<float>(id);
  return made;
}

struct TwoReaders {
  CausalLM student{tiny_config(32, 64), at::kCPU, at::kFloat, 1},
      teacher{tiny_config(48, 70), at::kCPU, at::kFloat, 2};
  Batch batch;
  DeviceBatch device_batch;
  ModelOutput output;
  std::shared_ptr<TeacherReading> reading;
  std::vector<Example> own;

  TwoReaders() {
    ExampleStore examples;
    std::uint64_t id = 0;
    for (const char* text : {"aaaababaabcabbcacab", "bcaabcab", "cccabbabcaacc"}) {
      batch.append(example(id, {7, 9, 11}, encode(student_texts(), text, id != 2)));
      own.push_back(example(id, {3, 5}, encode(teacher_texts(), text, id != 1)));
      examples.add(own.back());
      ++id;
    }
    batch.append(example(77, {1, 2}, {4, 4, 4}));  // a record that the teacher does not have
    reading =
        std::make_shared<TeacherReading>(teacher, student_texts(), teacher_texts(), std::move(examples));
    student.set_requires_grad(true);
    teacher.set_requires_grad(false);
    device_batch = upload(batch, at::kCPU);
    output = student.forward(device_batch);
  }
  TermContext context() {
    return {.student = &student.config(),
            .teacher = &teacher.config(),
            .student_model = &student,
            .teacher_model = &teacher,
            .reading = reading};
  }
  at::Tensor sum(const char* name) {
    Objective objective = make_objective(Json::array({{{"name", name}}}), "terms", context());
    EXPECT_FALSE(objective.needs_teacher());
    const ObjectiveResult result =
        objective.compute({.batch = device_batch, .student = student, .student_output = output});
    EXPECT_DOUBLE_EQ(result.total.weight, device_batch.weight_sum);
    return result.total.sum;
  }
};

// log p [targets of the example, V] in fp64; of the student as a function of `hidden` and `head`.
at::Tensor log_probabilities(const at::Tensor& hidden, const at::Tensor& head, std::int64_t vocab) {
  return hidden.mm(head.narrow(0, 0, vocab).t()).log_softmax(1);
}

struct Place {
  TextSpan span;
  std::vector<TokenId> ours, theirs;
  at::Tensor log_s, log_t;  // of all the example's targets
  double weight;
};

// Every span of the batch, found by comparing all pairs of prefixes.
std::vector<Place> places(TwoReaders& setup, const at::Tensor& hidden, const at::Tensor& head) {
  std::vector<Place> found;
  const Texts a = student_texts(), b = teacher_texts();
  std::int64_t row = 0;
  for (std::size_t s = 0; s < 3; ++s) {
    std::vector<TokenId> ours, theirs;
    for (auto i = setup.batch.sequence_starts[s]; i < setup.batch.sequence_starts[s + 1]; ++i)
      if (const TokenId token = setup.batch.targets[static_cast<std::size_t>(i)]; token != kNoTarget)
        ours.push_back(token);
    theirs.assign(setup.own[s].tokens.begin() + 2, setup.own[s].tokens.end());
    Batch own;
    own.append(setup.own[s]);
    const DeviceBatch own_batch = upload(own, at::kCPU);
    const at::Tensor teacher_hidden = setup.teacher.forward(own_batch).target_rows(own_batch);
    const auto count = static_cast<std::int64_t>(ours.size());
    const at::Tensor log_s = log_probabilities(hidden.narrow(0, row, count), head, 61);
    const at::Tensor log_t =
        log_probabilities(teacher_hidden.to(at::kDouble), setup.teacher.head_weight().to(at::kDouble), 66);
    row += count;
    TextSpan open;
    std::string text_a, text_b;
    for (std::size_t i = 0, j = 0; i < ours.size(); ++i) {
      text_a += a[static_cast<std::size_t>(ours[i])];
      ++open.a_count;
      while (j < theirs.size() && text_b.size() < text_a.size())
        text_b += b[static_cast<std::size_t>(theirs[j++])], ++open.b_count;
      if (text_a != text_b) continue;
      found.push_back({open, ours, theirs, log_s, log_t, setup.own[s].weight});
      open = {static_cast<std::int64_t>(i) + 1, 0, static_cast<std::int64_t>(j), 0};
    }
  }
  return found;
}

// Probability of each event: texts that both vocabularies have, "span", and "" for the rest.
std::map<std::string, at::Tensor> events(const at::Tensor& log_p, const std::vector<TokenId>& tokens,
                                         std::int64_t begin, std::int64_t count, const Texts& texts,
                                         const Texts& others) {
  at::Tensor rest = at::zeros({}, at::kDouble);
  std::string text = texts[static_cast<std::size_t>(tokens[begin])];
  for (std::int64_t i = 1; i < count; ++i) {
    rest = rest + log_p[begin + i][tokens[begin + i]];
    text += texts[static_cast<std::size_t>(tokens[begin + i])];
  }
  std::map<std::string, at::Tensor> mass;
  const auto add = [&](const std::string& event, const at::Tensor& p) {
    const auto [place, is_new] = mass.emplace(event, p);
    if (!is_new) place->second = place->second + p;
  };
  for (std::size_t id = 0; id < texts.size(); ++id) {
    at::Tensor p = log_p[begin][static_cast<std::int64_t>(id)].exp();
    if (static_cast<TokenId>(id) == tokens[begin]) {
      add("span", p * rest.exp());
      if (count == 1) continue;
      p = p * (1 - rest.exp());
    }
    const bool shared = !texts[id].empty() && texts[id] != text &&
                        std::find(others.begin(), others.end(), texts[id]) != others.end();
    add(shared ? texts[id] : "", p);
  }
  return mass;
}

// The term's value and its gradients by hidden states and head, against the fp64 `expected` of `hidden` and
// `head`.
void expect_value_and_gradients(TwoReaders& setup, const char* term, const at::Tensor& expected,
                                const at::Tensor& hidden, const at::Tensor& head) {
  const at::Tensor sum = setup.sum(term);
  EXPECT_NEAR(sum.item<double>(), expected.item<double>(), 2e-5 * expected.item<double>());
  expected.backward();
  const auto got = torch::autograd::grad({sum}, {setup.output.hidden, setup.student.head_weight()});
  const at::Tensor rows = got[0].index_select(0, setup.device_batch.target_index);
  EXPECT_LT((rows - hidden.grad()).abs().max().item<double>(),
            2e-5 * hidden.grad().abs().max().item<double>());
  EXPECT_LT((got[1] - head.grad()).abs().max().item<double>(), 2e-5 * head.grad().abs().max().item<double>());
}

TEST(SpanKl, IsADivergenceOverOneSetOfEvents) {
  TwoReaders setup;
  const at::Tensor hidden =
      setup.output.target_rows(setup.device_batch).detach().to(at::kDouble).requires_grad_();
  const at::Tensor head = setup.student.head_weight().detach().to(at::kDouble).requires_grad_();
  at::Tensor expected = at::zeros({}, at::kDouble);
  std::set<std::pair<std::int64_t, std::int64_t>> kinds;
  for (const Place& place : places(setup, hidden, head)) {
    kinds.emplace(std::min<std::int64_t>(place.span.a_count, 2),
                  std::min<std::int64_t>(place.span.b_count, 2));
    auto s = events(place.log_s, place.ours, place.span.a_begin, place.span.a_count, student_texts(),
                    teacher_texts());
    const auto t = events(place.log_t, place.theirs, place.span.b_begin, place.span.b_count, teacher_texts(),
                          student_texts());
    double total = 0;
    for (const auto& [event, mass] : t) {
      total += mass.item<double>();
      if (mass.item<double>() > 0)
        expected = expected + place.weight * mass * (mass.log() - s.at(event).log());
    }
    EXPECT_NEAR(total, 1, 1e-12);
  }
  EXPECT_EQ(kinds.size(), 4u);  // one token or several, on either side
  expect_value_and_gradients(setup, "span_kl", expected, hidden, head);
}

TEST(Uld, ComparesProbabilitiesByRank) {
  TwoReaders setup;
  const at::Tensor hidden =
      setup.output.target_rows(setup.device_batch).detach().to(at::kDouble).requires_grad_();
  const at::Tensor head = setup.student.head_weight().detach().to(at::kDouble).requires_grad_();
  at::Tensor expected = at::zeros({}, at::kDouble);
  for (const Place& place : places(setup, hidden, head)) {
    const at::Tensor s = std::get<0>(place.log_s[place.span.a_begin].exp().sort(0, true));
    const at::Tensor t = std::get<0>(place.log_t[place.span.b_begin].exp().sort(0, true));
    expected = expected + place.weight * ((at::constant_pad_nd(s, {0, 5}) - t).abs().sum());
  }
  expect_value_and_gradients(setup, "uld", expected, hidden, head);
}

// For a student without padding, which span_kl does not count.
TEST(SpanKl, IsForwardKlForOneTokenizer) {
  Models models;
  const TermContext context{.student = &models.student.config(),
                            .teacher = &models.teacher.config(),
                            .student_model = &models.student,
                            .teacher_model = &models.teacher,
                            .real_vocab = 64};
  const StepView view = models.view();
  const auto sum = [&](const char* name) {
    return make_objective(Json::array({{{"name", name}}}), "terms", context).compute(view).total.sum;
  };
  const at::Tensor a = sum("span_kl"), b = sum("forward_kl");
  EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-5 * b.item<double>());
  const at::Tensor head = models.student.head_weight();
  const at::Tensor grad_a = torch::autograd::grad({a}, {head}, {}, true)[0],
                   grad_b = torch::autograd::grad({b}, {head})[0];
  EXPECT_LT((grad_a - grad_b).abs().max().item<double>(), 1e-5 * grad_b.abs().max().item<double>());
}

TEST(TeacherReading, LeavesOutWhatTheTeacherReadsOtherwise) {
  TwoReaders setup;
  EXPECT_EQ(setup.reading->shared().size(), 5u);
  ExampleStore student;
  student.add(example(0, {7}, encode(student_texts(), "aaaababaabcabbcacab", false)));
  student.add(example(1, {7}, encode(student_texts(), "bcaab", true)));  // another answer
  student.add(example(9, {7}, encode(student_texts(), "ab", true)));     // no such record
  EXPECT_EQ(setup.reading->aligned(student), 1);

  Batch alone;
  alone.append(example(77, {1, 2}, {4, 4, 4}));
  setup.batch = alone;
  setup.device_batch = upload(setup.batch, at::kCPU);
  setup.output = setup.student.forward(setup.device_batch);
  const at::Tensor sum = setup.sum("span_kl");
  EXPECT_EQ(sum.item<double>(), 0);
  sum.backward();
}

TEST(TeacherReading, TermsThatCompareTokensRefuseIt) {
  TwoReaders setup;
  for (const char* name : {"forward_kl", "hidden_mse", "logit_mse"})
    EXPECT_THROW(make_objective(Json::array({{{"name", name}}}), "terms", setup.context()), Error) << name;
  EXPECT_NO_THROW(make_objective(Json::array({{{"name", "cross_entropy"}}, {{"name", "uld"}}}), "terms",
                                 setup.context()));
  EXPECT_THROW(TeacherReading(setup.teacher, {"a"}, {"b"}, {}), Error);
}

}  // namespace
}  // namespace retort
