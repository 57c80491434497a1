#include "cli/registry.h"
#include "cli_edge/program.h"
#include "model/jemalloc_options.h"

int main(int argc, char** argv) {
  return retort::run_program(
      {.name = "retort",
       .summary = "Retort distills, fine-tunes, shrinks, judges and runs language models.",
       .version = retort::version_text,
       .footer =
           "Each verb explains itself: retort VERB --help.\nA recipe strings verbs together: retort run "
           "recipes/quickstart.yaml",
       .verbs = retort::verbs()},
      argc, argv);
}
