#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>

#include "base/error.h"
#include "base/progress.h"

namespace retort {
namespace {

struct Loggers {
  std::mutex mutex;
  spdlog::logger screen{"retort", std::make_shared<spdlog::sinks::stderr_color_sink_mt>()};
  std::shared_ptr<spdlog::logger> file;
  Loggers() { screen.set_pattern("%^%v%$"); }
};

Loggers& loggers() {
  static Loggers instance;
  return instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    default:
      return spdlog::level::warn;
  }
}

}  // namespace

void log_message(LogLevel level, std::string_view text) {
  Loggers& state = loggers();
  const std::lock_guard lock(state.mutex);
  clear_progress_line();
  state.screen.log(spdlog_level(level), spdlog::string_view_t(text.data(), text.size()));
  if (state.file) state.file->log(spdlog_level(level), spdlog::string_view_t(text.data(), text.size()));
}

void set_log_level(LogLevel level) { loggers().screen.set_level(spdlog_level(level)); }

void set_log_file(const std::filesystem::path& path) {
  Loggers& state = loggers();
  const std::lock_guard lock(state.mutex);
  state.file.reset();
  if (path.empty()) return;
  try {
    state.file = std::make_shared<spdlog::logger>(
        "file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string()));
    state.file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    state.file->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& error) {
    throw Error({.where = path.string(), .found = error.what(), .expected = "", .advice = ""},
                ErrorKind::failure);
  }
}

}  // namespace retort
