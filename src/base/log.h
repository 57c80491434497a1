// Messages for the user: to standard error, and to a run's log.txt once one is opened. Results go to standard
// output.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string_view>

namespace retort {

enum class LogLevel { debug, info, warning };

// The only function here that spdlog sees: its headers do not compile beside LibTorch's fmt.
void log_message(LogLevel level, std::string_view text);
void set_log_level(LogLevel level);
// Also append to this file from now on (with time stamps); an empty path closes it.
void set_log_file(const std::filesystem::path& path);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace retort
