// The command line as a view of the verbs' own options: flags, help and checks all come from their visit().
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>

#include "base/bus_error.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli_edge/program.h"
#include "runtime/kernels/kernel_set.h"

namespace retort {
namespace {

std::string flag_name(const std::string& name) {
  std::string flag = "--" + name;
  for (char& c : flag)
    if (c == '_') c = '-';
  return flag;
}

bool is_list(const Option& option) {
  return std::holds_alternative<std::vector<std::int64_t>*>(option.value) ||
         std::holds_alternative<std::vector<std::string>*>(option.value);
}

std::string default_text(const Option& option) {
  Json shown;
  std::visit([&](const auto* field) { shown = *field; }, option.value);
  if (shown.is_string()) return shown.get<std::string>();
  if (shown.empty()) return "";
  if (shown.is_number_float()) return fmt::format("{}", shown.get<double>());
  if (!shown.is_array()) return shown.dump();
  std::string text;
  for (const Json& item : shown)
    text += (text.empty() ? "" : ",") + (item.is_string() ? item.get<std::string>() : item.dump());
  return text;
}

std::string type_text(const Option& option) {
  if (std::holds_alternative<std::string*>(option.value))
    return option.path == PathRole::none ? "TEXT" : "PATH";
  if (std::holds_alternative<double*>(option.value)) return "NUMBER";
  if (std::holds_alternative<std::int64_t*>(option.value)) return "COUNT";
  return is_list(option) ? "LIST" : "YAML";
}

// One word of the command line as the Json that a recipe would hold.
Json value_from_text(const Option& option, const std::string& text) {
  if (std::holds_alternative<std::string*>(option.value)) return text;
  if (!is_list(option)) return parse_yaml(text, flag_name(option.name));
  if (!option.splits) return Json::array({text});
  const bool numbers = std::holds_alternative<std::vector<std::int64_t>*>(option.value);
  Json list = Json::array();
  for (const std::string& part : CLI::detail::split(text, ','))
    list.push_back(numbers ? parse_yaml(part, flag_name(option.name)) : Json(part));
  return list;
}

void add_options(CLI::App& app, const OptionList& list, Json& given) {
  for (const Option& option : list.options()) {
    std::string help = option.help;
    for (std::size_t i = 0; i < option.choices.size(); ++i)
      help += (i == 0 ? " (" : ", ") + option.choices[i] + (i + 1 == option.choices.size() ? ")" : "");
    const std::string flag = flag_name(option.name);
    if (std::holds_alternative<bool*>(option.value)) {
      app.add_flag_function(
          flag + ",!--no-" + flag.substr(2),
          [&given, &option](std::int64_t count) { given[option.name] = count > 0; }, help);
      continue;
    }
    // A list may be given as --data a,b (if the option splits) or as --data a --data b.
    app.add_option_function<std::vector<std::string>>(
           flag,
           [&given, &option](const std::vector<std::string>& texts) {
             Json value = value_from_text(option, is_list(option) ? texts.front() : texts.back());
             for (std::size_t i = 1; is_list(option) && i < texts.size(); ++i)
               for (const Json& item : value_from_text(option, texts[i])) value.push_back(item);
             given[option.name] = std::move(value);
           },
           help)
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(is_list(option))  // else CLI11 takes the brackets of a YAML list for its own
        ->type_name(type_text(option))
        ->default_str(default_text(option));
  }
}

// "--batch_tokens" is the same flag as "--batch-tokens". CLI11 takes a vector in reverse order.
std::vector<std::string> normalized_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) {
    std::string argument = argv[i];
    const bool stage_override = argument.find('.') < argument.find('=');
    if (argument.rfind("--", 0) == 0 && !stage_override)
      for (std::size_t at = 2; at < argument.size() && argument[at] != '='; ++at)
        if (argument[at] == '_') argument[at] = '-';
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

struct Entry {
  const VerbRow* row;
  std::unique_ptr<Verb> verb;
  OptionList options;
  Json given = Json::object();
  CLI::App* app = nullptr;
};

// Entries hold addresses that CLI11's callbacks keep: the vector never grows past its reserve.
std::vector<Entry> add_verbs(const Program& program, CLI::App& app) {
  std::vector<Entry> entries;
  entries.reserve(program.verbs.size());
  std::map<std::string, CLI::App*> groups;
  for (const VerbRow& row : program.verbs) {
    Entry& entry = entries.emplace_back(Entry{&row, row.make(), {}, Json::object(), nullptr});
    entry.verb->visit(entry.options);
    std::string name(row.name);
    CLI::App* parent = &app;
    if (const auto space = name.find(' '); space != std::string::npos) {
      const std::string group = name.substr(0, space);
      name = name.substr(space + 1);
      if (!groups.contains(group)) {
        groups[group] = app.add_subcommand(group, "see " + program.name + " " + group + " --help");
        groups[group]->require_subcommand(1);
      }
      parent = groups[group];
    }
    entry.app = parent->add_subcommand(name, std::string(row.summary));
    if (!row.example.empty())
      entry.app->footer("Example:\n  " + program.name + " " + std::string(row.example));
    entry.app->allow_extras();
    add_options(*entry.app, entry.options, entry.given);
  }
  return entries;
}

[[noreturn]] void unknown_word(const std::string& word, const std::vector<std::string>& names) {
  const std::string bare = word.substr(0, word.find('='));
  throw Error({.where = "command line",
               .found = "unknown word '" + bare + "'",
               .expected = "",
               .advice = suggest(bare, names)});
}

void run_verb(const Program& program, Entry& entry) {
  const std::string where = program.name + " " + std::string(entry.row->name);
  const std::vector<std::string> extra = entry.verb->take_arguments(entry.app->remaining());
  if (!extra.empty()) {
    std::vector<std::string> names;
    for (const Option& option : entry.options.options()) names.push_back(flag_name(option.name));
    unknown_word(extra.front(), names);
  }
  entry.options.assign(entry.given, where);
  entry.options.check(where);
  if (entry.verb->heeds_interrupts()) install_interrupt_handler();
  entry.verb->run();
}

int parse_and_run(const Program& program, int argc, char** argv) {
  CLI::App app(program.summary, program.name);
  app.set_version_flag(
      "--version", [&program] { return program.name + " " + program.version(); },
      "Print version and kernel set");
  app.require_subcommand(1);
  app.footer(program.footer);
  app.get_formatter()->column_width(36);
  std::vector<Entry> entries = add_verbs(program, app);
  if (argc < 2) {
    std::fputs(app.help().c_str(), stdout);
    return 2;
  }
  std::vector<std::string> arguments = normalized_arguments(argc, argv);
  try {
    app.parse(arguments);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    const CLI::App* group = &app;  // the innermost one named
    for (int i = 1; i < argc && argv[i][0] != '-' && !group->get_subcommands(nullptr).empty(); ++i) {
      const CLI::App* named = nullptr;
      std::vector<std::string> names;
      for (const CLI::App* verb : group->get_subcommands(nullptr)) {
        names.push_back(verb->get_name());
        if (names.back() == argv[i]) named = verb;
      }
      if (named == nullptr) unknown_word(argv[i], names);
      group = named;
    }
    throw Error({.where = "command line", .found = error.what(), .expected = "", .advice = "See --help."});
  }
  for (Entry& entry : entries)
    if (entry.app->parsed()) run_verb(program, entry);
  return interrupt_requested() ? 130 : 0;
}

// What was printed must have arrived, wherever standard output leads.
void flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  if (errno == 0) errno = EIO;  // an earlier write failed
  throw_system_error("standard output", "Not all that was printed has arrived.");
}

}  // namespace

std::string version_text() {
  return fmt::format("{}, kernels {} ({})", RETORT_VERSION, kernel_set().name, kernel_set().summary);
}

void write_result(const std::string& path, const Json& value) {
  if (path.empty()) return;
  if (path == "-")
    std::printf("%s\n", value.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else
    write_json(path, value);
}

int run_program(const Program& program, int argc, char** argv) {
  install_bus_error_handler();
  try {
    const int code = parse_and_run(program, argc, argv);
    flush_output();
    return code;
  } catch (const Error& error) {
    log_message(LogLevel::warning, std::string("error: ") + error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    log_message(LogLevel::warning, std::string("error: ") + error.what());
    return 1;
  }
}

}  // namespace retort
