#include "cli/verb.h"

int main(int argc, char** argv) { return retort::run_command_line(argc, argv); }
