// A bar for long work: on a terminal one line with rate and time left, redrawn in place; elsewhere a plain
// line every ten seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

class Progress {
 public:
  // `unit` names what is counted ("tokens", "pairs"); total 0 = unknown.
  Progress(std::string label, std::uint64_t total, std::string unit, std::uint64_t start = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Moves to `done` of total; `note` (loss, score) is shown behind the rate.
  void update(std::uint64_t done, std::string_view note = "");

 private:
  void draw(bool last);

  std::string label_, unit_, note_;
  std::uint64_t total_, start_, done_;
  std::chrono::steady_clock::time_point began_, drawn_;
  bool terminal_;
};

// Wipes the bar, if one is drawn, so that a message can be printed; the next update draws it again.
void clear_progress_line();

}  // namespace retort
