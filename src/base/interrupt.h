// Ctrl-C as a wish, not an end: the first one asks long work to write a checkpoint and stop, the second one kills.
#pragma once

namespace retort {

// Called once by a program's main.
void install_interrupt_handler();
bool interrupt_requested();
void clear_interrupt();

}  // namespace retort
