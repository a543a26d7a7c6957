/* SPDX-License-Identifier: MIT */
/* The program `weir`: finds the command and calls it. */
#include "weir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "report.h"

static const struct command {
    const char *name;
    char *full_name; /* argv[0] of the command */
    const char *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"pack", (char[]){"weir pack"}, "turn JSON into MessagePack", weir_cmd_pack},
    {"cat", (char[]){"weir cat"}, "show MessagePack as JSON, one value per line", weir_cmd_cat},
    {"check", (char[]){"weir check"}, "say whether files are well-formed MessagePack",
     weir_cmd_check},
    {"diff", (char[]){"weir diff"}, "say where the values of two files differ first",
     weir_cmd_diff},
    {"serve", (char[]){"weir serve"}, "keep a log of records for MessagePack-RPC clients",
     weir_cmd_serve},
    {"send", (char[]){"weir send"}, "append MessagePack values to the log of a service",
     weir_cmd_send},
    {"stat", (char[]){"weir stat"}, "show the counters of a service, or what files are made of",
     weir_cmd_stat},
    {"features", (char[]){"weir features"}, "show what the library can do here, and why not",
     weir_cmd_features},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int help(void)
{
    printf("Usage: weir COMMAND [OPTION]... [ARGUMENT]...\n"
           "       weir --help | --version\n"
           "\n"
           "Work with MessagePack, the binary form of JSON-like data.\n"
           "\n"
           "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-8s  %s\n", commands[i].name, commands[i].summary);
    printf("\n"
           "'weir COMMAND --help' describes a command and its options.\n"
           "\n"
           "Example:\n"
           "  $ echo '{\"id\": 1, \"tags\": [\"a\", \"b\"]}' | weir pack > record.mp\n"
           "  $ weir cat record.mp\n"
           "  {\"id\":1,\"tags\":[\"a\",\"b\"]}\n"
           "\n"
           "Exit status: 0 all is well, 1 the data is at fault, 64 and above as in sysexits.h.\n");
    return report_stdout("weir");
}

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int help_about(const char *name)
{
    static char option[] = "--help";
    const struct command *command = find(name);

    if (command == NULL)
        return report_usage("weir", "unknown command '%s'", name);
    char *arguments[] = {command->full_name, option, NULL};
    return command->run(2, arguments);
}

/* A descriptor that is closed would be given to the next file that is opened. Take it with one
 * that fails when it is used. */
static int occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return EX_OSERR;
    }
    return EX_OK;
}

int main(int argc, char **argv)
{
    int status = occupy_standard_descriptors();
    if (status != EX_OK)
        return status;
    if (argc < 2)
        return report_usage("weir", "a command is missing");
    const char *name = argv[1];
    if (is_help(name) || (strcmp(name, "help") == 0 && (argc == 2 || is_help(argv[2]))))
        return help();
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return report_version();
    if (strcmp(name, "help") == 0)
        return argc == 3 ? help_about(argv[2]) : report_usage("weir", "one command is expected");
    const struct command *command = find(name);
    if (command == NULL)
        return report_usage("weir", "unknown %s '%s'", name[0] == '-' ? "option" : "command", name);
    argv[1] = command->full_name;
    return command->run(argc - 1, argv + 1);
}
