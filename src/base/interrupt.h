// Ctrl-C as a wish, not an end: the first one asks long work to write a checkpoint and stop, the second one
// kills.
#pragma once

namespace retort {

// Called once by a program, before work that looks at interrupt_requested().
void install_interrupt_handler();
// For a dialogue: no number of Ctrl-C ends it, and SIGTERM ends it at once.
void interrupts_only_stop();
bool interrupt_requested();
void clear_interrupt();

}  // namespace retort
