// The fused head beside the dense formula, as PyTorch users write it: 0.9 · forward KL + 0.1 · cross entropy,
// forward and backward, at the size of Qwen2.5's vocabulary and at a small student's. Rounds alternate; the
// least time counts. Memory is the peak above what the inputs and their gradients take.
//   fused_loss_bench [small|large|all] [rounds] [dense targets at most]
// On a busy machine OMP_NUM_THREADS=1 and the ratio of processor time are steadier.
// The dense formula needs about 8 · targets · vocabulary · 4 bytes: where that is more than half the
// machine's free memory it gets fewer targets, and its time and memory are scaled up.
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "base/machine.h"
#include "objective/fused/linear_loss.h"
#include "objective/terms/cross_entropy.h"
#include "objective/terms/forward_kl.h"

namespace retort {
namespace {

struct Size {
  const char* name;
  std::int64_t targets, vocab, hidden;
  at::ScalarType dtype;
};

struct Measured {
  double seconds = 1e30, cpu_seconds = 1e30, megabytes = 0, loss = 0;
};

LinearLossInput make_input(const Size& size) {
  torch::manual_seed(1);
  const auto normal = [&](std::int64_t rows, double scale) {
    return (at::randn({rows, size.hidden}) * scale).to(size.dtype);
  };
  LinearLossInput in;
  const double scale = 3 / std::sqrt(static_cast<double>(size.hidden));
  in.student_hidden = normal(size.targets, 1).requires_grad_();
  in.student_head = normal(size.vocab, scale).requires_grad_();
  in.teacher_hidden = normal(size.targets, 1);
  in.teacher_head = normal(size.vocab, scale);
  in.labels = at::randint(size.vocab, {size.targets}, at::kLong);
  in.weights = at::ones({size.targets});
  return in;
}

double dense(const LinearLossInput& in, std::int64_t targets) {
  at::Tensor log_t;
  {
    const at::NoGradGuard no_grad;
    log_t = in.teacher_hidden.narrow(0, 0, targets).mm(in.teacher_head.t()).to(at::kFloat).log_softmax(1);
  }
  const at::Tensor log_s =
      in.student_hidden.narrow(0, 0, targets).mm(in.student_head.t()).to(at::kFloat).log_softmax(1);
  const at::Tensor kl = at::kl_div(log_s, log_t, at::Reduction::Sum, /*log_target=*/true);
  const at::Tensor ce = at::nll_loss(log_s, in.labels.narrow(0, 0, targets), {}, at::Reduction::Sum);
  const at::Tensor total = 0.9 * kl + 0.1 * ce;
  total.backward();
  return total.item<double>();
}

double fused(const LinearLossInput& in, std::vector<Weighted<LogitTerm>>& terms) {
  const at::Tensor total = fused_linear_loss(in, terms).total;
  total.backward();
  return total.item<double>();
}

template <class F>
void measure(const LinearLossInput& in, Measured& best, F&& run) {
  in.student_hidden.mutable_grad().reset();
  in.student_head.mutable_grad().reset();
  reset_peak_memory();
  const double before = static_cast<double>(resident_memory_bytes());
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu_start = std::clock();
  best.loss = run();
  best.cpu_seconds =
      std::min(best.cpu_seconds, static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
  best.seconds =
      std::min(best.seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  const double gradients = static_cast<double>(in.student_hidden.nbytes() + in.student_head.nbytes());
  best.megabytes =
      std::max(best.megabytes, (static_cast<double>(peak_memory_bytes()) - before - gradients) / (1 << 20));
}

double available_bytes() {
  std::ifstream file("/proc/meminfo");
  double kilobytes = 0;
  for (std::string line; std::getline(file, line);)
    if (line.rfind("MemAvailable:", 0) == 0) kilobytes = std::atof(line.c_str() + 13);
  return kilobytes * 1024;
}

void compare(const Size& size, int rounds, std::int64_t most_dense_targets) {
  const LinearLossInput in = make_input(size);
  std::vector<Weighted<LogitTerm>> terms;
  terms.push_back({std::make_unique<ForwardKl>(), 0.9});
  terms.push_back({std::make_unique<CrossEntropy>(), 0.1});
  const auto fitting =
      static_cast<std::int64_t>(available_bytes() / 2 / (32.0 * static_cast<double>(size.vocab)));
  const std::int64_t dense_targets = std::min({size.targets, fitting, most_dense_targets});
  const double share = static_cast<double>(dense_targets) / static_cast<double>(size.targets);
  Measured ours, theirs;
  for (int round = 0; round < rounds; ++round) {
    measure(in, ours, [&] { return fused(in, terms); });
    measure(in, theirs, [&] { return dense(in, dense_targets); });
  }
  std::printf(
      "%-5s %-8s T %ld V %ld H %ld | fused %.3f s %.0f MiB | dense (%ld targets) %.3f s %.0f MiB | ratio of "
      "time %.2f, of "
      "processor time %.2f",
      size.name, at::toString(size.dtype), size.targets, size.vocab, size.hidden, ours.seconds,
      ours.megabytes, dense_targets, theirs.seconds / share, theirs.megabytes / share,
      ours.seconds * share / theirs.seconds, ours.cpu_seconds * share / theirs.cpu_seconds);
  if (dense_targets == size.targets)
    std::printf(", loss differs by %.1g", std::abs(ours.loss / theirs.loss - 1));
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  using namespace retort;
  const std::string which = argc > 1 ? argv[1] : "all";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  const std::int64_t most = argc > 3 ? std::atoll(argv[3]) : 1 << 30;
  std::printf("%s, %d threads\n", machine().cpu.c_str(), at::get_num_threads());
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat}) {
    if (which != "large") compare({"small", 1100, 8192, 512, dtype}, 4 * rounds, most);
    if (which != "small") compare({"large", 4096, 151936, 896, dtype}, rounds, most);
  }
}
