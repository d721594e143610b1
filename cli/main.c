/* velta: the command. Chooses the sub-command; each is one file of this folder. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command *const commands[] = {
    &cli_import,  &cli_search,  &cli_apply,  &cli_inspect, &cli_verify,
    &cli_salvage, &cli_compact, &cli_export, &cli_tag,     &cli_bench,
};

static void print_help(FILE *to) {
    fputs("velta finds rows by meaning and by value in one query.\n\nusage: velta COMMAND [OPTION]... STORE\n\n", to);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(to, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n'velta COMMAND --help' tells the options. A first round:\n\n"
          "  velta import --table packages --vectors embedding=vectors.npy rows.jsonl packages.velta\n"
          "  velta search --table packages --like vim --where \"section = 'editors'\" packages.velta\n\n"
          "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 salvaged with losses, 130 interrupted.\n",
          to);
}

int main(int argument_count, char **arguments) {
    if (argument_count < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = arguments[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("velta %s\n", velta_version());
        return CLI_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i]->name) == 0) {
            arguments[1] = cli_begin(name); /* getopt's messages start with it */
            int code = commands[i]->run(argument_count - 1, arguments + 1);
            if (fflush(stdout) != 0 && code == CLI_OK) {
                code = cli_fail(CLI_FAILED, "the output could not be written");
            }
            return code;
        }
    }
    fprintf(stderr, "velta: there is no command '%s'; 'velta --help' lists them\n", name);
    return CLI_USAGE;
}
