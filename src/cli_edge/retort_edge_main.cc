#include "cli_edge/program.h"
#include "cli_edge/registry.h"

int main(int argc, char** argv) {
  return retort::run_program(
      {.name = "retort-edge",
       .summary = "Retort's small half: runs, judges and measures language models on a CPU.",
       .version = retort::version_text,
       .footer = "Each verb explains itself: retort-edge VERB --help.",
       .verbs = retort::edge_verbs()},
      argc, argv);
}
