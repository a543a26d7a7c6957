/* SPDX-License-Identifier: MIT */
/*
 * weir: the program's commands. Each is called with its own name as argv[0] ("weir cat", as
 * getopt_long() prints it) and returns the exit status, see report.h.
 */
#ifndef TOOLS_WEIR_H
#define TOOLS_WEIR_H

int weir_cmd_pack(int argc, char **argv);
int weir_cmd_cat(int argc, char **argv);
int weir_cmd_check(int argc, char **argv);
int weir_cmd_diff(int argc, char **argv);
int weir_cmd_serve(int argc, char **argv);
int weir_cmd_send(int argc, char **argv);
int weir_cmd_features(int argc, char **argv);
int weir_cmd_stat(int argc, char **argv);

#endif
