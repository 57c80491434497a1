#include "base/interrupt.h"

#include <csignal>

namespace retort {
namespace {

volatile std::sig_atomic_t requested = 0, kills = 1;

void on_signal(int signal) {
  if (requested != 0 && kills != 0) std::signal(signal, SIG_DFL), std::raise(signal);
  requested = 1;
}

}  // namespace

void install_interrupt_handler() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}
void interrupts_only_stop() {
  kills = 0;
  std::signal(SIGTERM, SIG_DFL);
}
bool interrupt_requested() { return requested != 0; }
void clear_interrupt() { requested = 0; }

}  // namespace retort
