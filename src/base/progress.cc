#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

namespace retort {
namespace {

std::atomic<bool> line_drawn = false;

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string count_text(double count) {
  if (count >= 1e9) return fmt::format("{:.2f}G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f}M", count / 1e6);
  if (count >= 1e4) return fmt::format("{:.1f}k", count / 1e3);
  return fmt::format("{:.0f}", count);
}

}  // namespace

Progress::Progress(std::string label, std::uint64_t total, std::string unit, std::uint64_t start)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(start),
      done_(start),
      began_(std::chrono::steady_clock::now()),
      drawn_(began_),
      terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() { draw(true); }

void Progress::update(std::uint64_t done, std::string_view note) {
  done_ = done;
  note_ = note;
  const auto now = std::chrono::steady_clock::now();
  if (now - drawn_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000))) return;
  drawn_ = now;
  draw(false);
}

void Progress::draw(bool last) {
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done_ - start_) / elapsed : 0;
  std::string line = label_ + " ";
  if (total_ > 0) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    if (terminal_) {
      constexpr int kWidth = 24;
      const int filled = static_cast<int>(share * kWidth);
      for (int i = 0; i < kWidth; ++i) line += i < filled ? "█" : "░";
    }
    line += fmt::format(" {:3.0f}% {}/{} {}", share * 100, count_text(done_), count_text(total_), unit_);
  } else {
    line += fmt::format("{} {}", count_text(done_), unit_);
  }
  line += fmt::format(" · {}/s", count_text(rate));
  if (last)
    line += " · " + duration_text(elapsed);
  else if (total_ > 0 && rate > 0)
    line += fmt::format(" · {} left",
                        duration_text(static_cast<double>(total_ - std::min(done_, total_)) / rate));
  if (!note_.empty()) line += " · " + note_;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
    line_drawn = !last;
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

void clear_progress_line() {
  if (line_drawn.exchange(false)) std::fputs("\r\033[K", stderr);
}

}  // namespace retort
