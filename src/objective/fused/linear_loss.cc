#include "objective/fused/linear_loss.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/error.h"
#include "objective/fused/head_gemm.h"
#include "objective/fused/known_gradients.h"

namespace retort {
namespace {

// A chunk: fewer rows make slow matrix products and rewrite the head's gradient more often, more take memory.
constexpr std::int64_t kChunkBytes = 256 << 20;  // of fp32 logits
// More on a GPU, which waits for the launches of each chunk.
constexpr std::int64_t kMaxChunkRowsCpu = 1024, kMaxChunkRowsGpu = 2048;
// Of fp32 logits that one thread keeps in its cache through all terms.
constexpr std::int64_t kBlockBytes = 256 << 10;

[[noreturn]] void fail(std::string found, std::string expected) {
  throw Error({.where = "fused_linear_loss",
               .found = std::move(found),
               .expected = std::move(expected),
               .advice = ""},
              ErrorKind::failure);
}

// Chunks of equal size: a last one of a few rows would be slow.
std::int64_t default_chunk_rows(std::int64_t targets, std::int64_t vocab, at::Device device) {
  const std::int64_t most = std::clamp<std::int64_t>(kChunkBytes / (4 * vocab), 1,
                                                     device.is_cpu() ? kMaxChunkRowsCpu : kMaxChunkRowsGpu);
  const std::int64_t chunks = std::max<std::int64_t>(1, (targets + most - 1) / most);
  return (targets + chunks - 1) / chunks;
}

// Buffers and gradients of one call.
struct Pass {
  LinearLossInput input;
  std::span<Weighted<LogitTerm>> terms;
  // Tokens: the first rows of the student's head, and of the teacher's.
  std::int64_t vocab = 0, teacher_vocab = 0;
  std::int64_t chunk_rows = 0;
  bool with_teacher = false;
  // See logits_dtype; the student's are replaced by gradients.
  at::Tensor student_logits;   // [chunk_rows, V_S]
  at::Tensor teacher_logits;   // [chunk_rows, teacher_vocab]
  at::Tensor values;           // fp32 [K, T]
  at::Tensor hidden_gradient;  // [T, H] or undefined
  at::Tensor head_gradient;    // fp32 [V, H] or undefined

  bool wants_gradient() const { return hidden_gradient.defined() || head_gradient.defined(); }
};

// Runs all terms on rows of fp32 logits of the whole head; `first` counts targets.
void run_terms(Pass& pass, std::int64_t first, const at::Tensor& student, const at::Tensor& teacher,
               const at::Tensor& gradient) {
  const std::int64_t rows = student.size(0);
  const std::int64_t padding = student.size(1) - pass.vocab;
  const auto tokens = [&](const at::Tensor& x) {
    return x.defined() && padding > 0 ? x.narrow(1, 0, pass.vocab) : x;
  };
  LogitChunk chunk;
  chunk.student = tokens(student);
  chunk.teacher = teacher;
  if (padding > 0) {
    chunk.padding = student.narrow(1, pass.vocab, padding);
    if (gradient.defined()) chunk.padding_gradient = gradient.narrow(1, pass.vocab, padding);
  }
  chunk.labels = pass.input.labels.narrow(0, first, rows);
  chunk.weights = pass.input.weights.narrow(0, first, rows);
  chunk.first = first;
  for (std::size_t k = 0; k < pass.terms.size(); ++k)
    pass.values[static_cast<std::int64_t>(k)]
        .narrow(0, first, rows)
        .copy_(pass.terms[k].term->chunk(chunk, pass.terms[k].lambda, tokens(gradient)));
}

// On the CPU: each thread takes a few rows through all terms while they are in its cache, collects their
// gradient beside them and writes it over the student's logits.
void run_terms_in_blocks(Pass& pass, std::int64_t first, const at::Tensor& student,
                         const at::Tensor& teacher) {
  const std::int64_t rows = student.size(0);
  const std::int64_t block_rows = std::clamp<std::int64_t>(kBlockBytes / (4 * student.size(1)), 1, rows);
  at::parallel_for(
      0, (rows + block_rows - 1) / block_rows, 1, [&](std::int64_t begin_block, std::int64_t end_block) {
        const at::NoGradGuard no_grad;  // not inherited by worker threads
        at::Tensor gradient;
        if (pass.wants_gradient())
          gradient = at::empty({block_rows, student.size(1)}, student.options().dtype(at::kFloat));
        for (std::int64_t block = begin_block; block < end_block; ++block) {
          const std::int64_t begin = block * block_rows, size = std::min(block_rows, rows - begin);
          const at::Tensor s = student.narrow(0, begin, size);
          const at::Tensor t = teacher.defined() ? teacher.narrow(0, begin, size).to(at::kFloat) : teacher;
          const at::Tensor g = gradient.defined() ? gradient.narrow(0, 0, size).zero_() : gradient;
          run_terms(pass, first + begin, s.to(at::kFloat), t, g);
          if (g.defined()) s.copy_(g);
        }
      });
}

void run_chunk(Pass& pass, std::int64_t first, std::int64_t rows) {
  const LinearLossInput& in = pass.input;
  const at::Tensor head = in.student_head.detach();
  const at::Tensor hidden = in.student_hidden.narrow(0, first, rows);
  at::Tensor student = pass.student_logits.narrow(0, 0, rows);
  project(hidden, head, student);
  at::Tensor teacher;
  if (in.panel != nullptr) {
    teacher = mix_teachers(*in.panel, in.labels.narrow(0, first, rows), first, pass.vocab);
  } else if (pass.with_teacher) {
    teacher = pass.teacher_logits.narrow(0, 0, rows);
    project(in.teacher_hidden.narrow(0, first, rows), in.teacher_head.narrow(0, 0, pass.teacher_vocab),
            teacher);
  }
  at::Tensor gradient;  // of the logits, in the head's dtype
  if (student.device().is_cpu()) {
    run_terms_in_blocks(pass, first, student, teacher);
    gradient = student;
  } else {
    at::Tensor sum;
    if (pass.wants_gradient()) sum = at::zeros_like(student);
    run_terms(pass, first, student, teacher, sum);
    gradient = sum.defined() ? sum.to(head.scalar_type()) : sum;
  }
  if (pass.hidden_gradient.defined())
    pass.hidden_gradient.narrow(0, first, rows).copy_(rows_gradient(gradient, head));
  if (pass.head_gradient.defined()) add_head_gradient(gradient, hidden, pass.head_gradient);
}

void check(const LinearLossInput& in, std::int64_t vocab, std::int64_t teacher_vocab, bool with_teacher) {
  if (in.student_hidden.dim() != 2 || in.student_head.dim() != 2 ||
      in.student_hidden.size(1) != in.student_head.size(1) ||
      in.student_hidden.scalar_type() != in.student_head.scalar_type())
    fail("student hidden states and head of different width or dtype", "[T, H] and [V, H]");
  const bool one = with_teacher && in.panel == nullptr;
  if (one && (!in.teacher_hidden.defined() || !in.teacher_head.defined()))
    fail("no teacher", "one, for the terms at hand");
  if (one && (in.teacher_hidden.size(1) != in.teacher_head.size(1) ||
              in.teacher_hidden.scalar_type() != in.teacher_head.scalar_type()))
    fail("teacher hidden states and head of different width or dtype", "[T, H] and [V, H]");
  bool too_few = vocab > in.student_head.size(0) || (one && teacher_vocab > in.teacher_head.size(0));
  if (in.panel != nullptr)
    for (const PanelMember& member : in.panel->members) {
      too_few |= vocab > member.model->head_weight().size(0);
      if (member.rows.size(0) != in.student_hidden.size(0) ||
          member.weights.size(0) != in.student_hidden.size(0))
        fail("a teacher's hidden states or weights of another length", "one row per target");
    }
  if (too_few)
    fail("a head with fewer rows than the vocabulary's " +
             std::to_string(vocab > in.student_head.size(0) ? vocab : teacher_vocab) + " tokens",
         "at least as many");
  const std::int64_t targets = in.student_hidden.size(0);
  if (in.labels.size(0) != targets || in.weights.size(0) != targets ||
      (one && in.teacher_hidden.size(0) != targets))
    fail("hidden states, labels and weights of different lengths", "one row per target");
  if (in.labels.device().is_cpu() && in.labels.numel() > 0) {
    const auto [least, most] = in.labels.aminmax();
    if (least.item<std::int64_t>() < 0 || most.item<std::int64_t>() >= vocab)
      fail("labels from " + std::to_string(least.item<std::int64_t>()) + " to " +
               std::to_string(most.item<std::int64_t>()),
           "0 to " + std::to_string(vocab - 1));
  }
}

}  // namespace

LinearLossOutput fused_linear_loss(const LinearLossInput& input, std::span<Weighted<LogitTerm>> terms,
                                   std::int64_t chunk_rows) {
  Pass pass;
  pass.terms = terms;
  pass.with_teacher =
      std::any_of(terms.begin(), terms.end(), [](const auto& t) { return t.term->needs_teacher(); });
  pass.vocab = input.real_vocab > 0 ? input.real_vocab : input.student_head.size(0);
  if (input.real_vocab == 0 && input.teacher_head.defined())
    pass.vocab = std::min(pass.vocab, input.teacher_head.size(0));
  if (input.real_vocab == 0 && input.panel != nullptr)
    for (const PanelMember& member : input.panel->members)
      pass.vocab = std::min(pass.vocab, member.model->head_weight().size(0));
  pass.teacher_vocab = input.teacher_vocab > 0 ? input.teacher_vocab : pass.vocab;
  check(input, pass.vocab, pass.teacher_vocab, pass.with_teacher);

  const bool recording = at::GradMode::is_enabled();
  const bool hidden_wanted = recording && input.student_hidden.requires_grad();
  const bool head_wanted = recording && input.student_head.requires_grad();
  at::Tensor sums;  // fp64 [K]
  {
    const at::NoGradGuard no_grad;
    pass.input = input;
    const std::int64_t targets = input.student_hidden.size(0);
    pass.chunk_rows =
        std::min(targets, chunk_rows > 0 ? chunk_rows
                                         : default_chunk_rows(targets, input.student_head.size(0),
                                                              input.student_hidden.device()));
    const at::TensorOptions fp32 = input.student_head.options().dtype(at::kFloat);
    pass.values = at::empty({static_cast<std::int64_t>(terms.size()), targets}, fp32);
    pass.student_logits = at::empty({pass.chunk_rows, input.student_head.size(0)},
                                    fp32.dtype(logits_dtype(input.student_head)));
    if (pass.with_teacher && input.panel == nullptr)
      pass.teacher_logits =
          at::empty({pass.chunk_rows, pass.teacher_vocab}, fp32.dtype(logits_dtype(input.teacher_head)));
    if (hidden_wanted) pass.hidden_gradient = at::empty_like(input.student_hidden);
    if (head_wanted) pass.head_gradient = at::zeros(input.student_head.sizes(), fp32);
    for (std::int64_t first = 0; first < targets; first += pass.chunk_rows)
      run_chunk(pass, first, std::min(pass.chunk_rows, targets - first));
    sums = pass.values.to(at::kDouble).mv(input.weights.to(at::kDouble));
  }

  LinearLossOutput output;
  at::Tensor total = at::zeros({}, sums.options());
  for (std::size_t k = 0; k < terms.size(); ++k) {
    const at::Tensor sum = sums[static_cast<std::int64_t>(k)];
    total = total + sum * terms[k].lambda;
    output.term_sums.push_back(sum.to(at::kFloat));
  }
  output.total = total.to(at::kFloat);
  output.values = pass.values;
  if (hidden_wanted || head_wanted)
    output.total = with_known_gradients(output.total, {input.student_hidden, input.student_head},
                                        {std::move(pass.hidden_gradient), std::move(pass.head_gradient)});
  return output;
}

}  // namespace retort
