// A mapped file that another process cuts short raises SIGBUS where its lost bytes are read, in the middle of
// anything: the program says which file it was and ends with exit code 1.
#pragma once

namespace retort {

// Called once by a program's main.
void install_bus_error_handler();

}  // namespace retort
