#include "base/bus_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>

namespace retort {
namespace {

void say(const char* text, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(STDERR_FILENO, text, size);
    if (written <= 0) return;
    text += written;
    size -= static_cast<std::size_t>(written);
  }
}
void say(const char* text) { say(text, std::strlen(text)); }

std::uintptr_t hexadecimal(const char*& at) {
  std::uintptr_t value = 0;
  for (;; ++at) {
    if (*at >= '0' && *at <= '9')
      value = value * 16 + static_cast<std::uintptr_t>(*at - '0');
    else if (*at >= 'a' && *at <= 'f')
      value = value * 16 + static_cast<std::uintptr_t>(*at - 'a' + 10);
    else
      return value;
  }
}

// The path of "begin-end rights offset device inode   path" if the address lies between; null otherwise.
const char* path_in(const char* line, std::uintptr_t address) {
  const std::uintptr_t begin = hexadecimal(line);
  if (*line++ != '-') return nullptr;
  const std::uintptr_t end = hexadecimal(line);
  return address >= begin && address < end ? std::strchr(line, '/') : nullptr;
}

// Nothing here may allocate or lock: the signal may have come in the middle of either.
void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  char line[4096 + 128];
  std::size_t length = 0;
  say("error: ");
  for (char c; maps >= 0 && ::read(maps, &c, 1) == 1;) {
    if (c != '\n') {
      if (length + 1 < sizeof line) line[length++] = c;
      continue;
    }
    line[length] = '\0';
    length = 0;
    if (const char* path = path_in(line, address)) {
      say(path);
      say(": ");
      break;
    }
  }
  say("a mapped file became shorter while it was read, or its disk failed; expected files that nobody "
      "changes. "
      "Start again when the file is whole.\n");
  ::_exit(1);
}

}  // namespace

void install_bus_error_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace retort
