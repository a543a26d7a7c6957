/* SPDX-License-Identifier: MIT */
/* weir-bench: options, the table and the JSON. */
#include "bench.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sysexits.h>

#include <json-c/json.h>

#include <weir/base.h>

/* What a line of text about the machine may be long. */
#define TEXT_MAX 256

/* The Makefile hands over the compiler's flags as they are, BENCH_FLAGS; here they become text. */
#define TEXT_OF_EXPANDED(...) #__VA_ARGS__
#define TEXT_OF(...) TEXT_OF_EXPANDED(__VA_ARGS__)
#ifdef BENCH_FLAGS
static const char flags[] = TEXT_OF(BENCH_FLAGS);
#else
static const char flags[] = "unknown";
#endif

#ifdef __clang__
#define BENCH_COMPILER "clang " __clang_version__
#else
#define BENCH_COMPILER "gcc " __VERSION__
#endif

struct settings {
    struct bench_options options;
    const char *filter; /* NULL: everything */
    const char *json;   /* NULL: none; "-": standard output, and no table */
    int cpu;            /* -1: not pinned */
    bool list;
};

/* Where and how it is measured. */
struct machine {
    char cpu[TEXT_MAX];
    char kernel[TEXT_MAX];
    bool assertions;
};

static const char usage[] =
    "Usage: weir-bench [OPTION]...\n"
    "Time weir against its peers, side by side.\n"
    "\n"
    "  -l, --list            name the cases and their contenders, and time nothing\n"
    "  -f, --filter PATTERN  only cases whose GROUP/CASE matches: a glob if PATTERN has any of\n"
    "                        *?[, else a part of the name\n"
    "  -r, --rounds N        rounds to take the median of, 9..10000 (default 15)\n"
    "  -t, --time-ms N       milliseconds per contender and round, 1..60000 (default 5)\n"
    "  -c, --cpu N           run on this CPU only\n"
    "  -j, --json FILE       write the results to FILE as JSON; - is standard output and leaves\n"
    "                        the table out\n"
    "  -h, --help            print this text\n"
    "  -V, --version         print the version\n"
    "\n"
    "In the table, ns/op is the median over the rounds, spread the distance of the quartiles in\n"
    "percent of it, and ratio the median of the rounds' own ratios to the first contender's time:\n"
    "above 1 is slower than weir. MB is 10^6 bytes.\n"
    "\n"
    "Exit status: 0; 64 wrong usage; 70 contenders disagree or fail; 73, 74 the JSON file cannot\n"
    "be created or written.\n";

/* --- the machine ----------------------------------------------------------------------------- */

/* Copy printable ASCII only: what becomes JSON must be valid UTF-8. */
static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; n + 1 < size && from[n] != '\0' && from[n] != '\n'; n++)
        to[n] = (char)(from[n] >= ' ' && from[n] <= '~' ? from[n] : '?');
    to[n] = '\0';
}

static void read_cpu_model(char *to, size_t size)
{
    char line[TEXT_MAX];
    FILE *file = fopen("/proc/cpuinfo", "re");

    copy_text(to, size, "unknown");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value != NULL) {
            copy_text(to, size, value + 1 + strspn(value + 1, " \t"));
            break;
        }
    }
    fclose(file);
}

static void look_at_machine(struct machine *machine)
{
    struct utsname name;
    char text[2 * TEXT_MAX];

    read_cpu_model(machine->cpu, sizeof machine->cpu);
    copy_text(machine->kernel, sizeof machine->kernel, "unknown");
    if (uname(&name) == 0) {
        snprintf(text, sizeof text, "%s %s %s", name.sysname, name.release, name.machine);
        copy_text(machine->kernel, sizeof machine->kernel, text);
    }
#ifdef NDEBUG
    machine->assertions = false;
#else
    machine->assertions = true;
#endif
}

/* --- options --------------------------------------------------------------------------------- */

/* A whole decimal number of min..max, or an error on stderr. */
static bool parse_number(const char *option, const char *text, long min, long max, long *ret)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        bench_complain("--%s: '%s' is not a number of %ld..%ld", option, text, min, max);
        return false;
    }
    *ret = value;
    return true;
}

/* Returns -1 to go on, or the exit status. */
static int parse_option(int option, struct settings *settings)
{
    long number;

    switch (option) {
    case 'l':
        settings->list = true;
        return -1;
    case 'f':
        settings->filter = optarg;
        return -1;
    case 'j':
        settings->json = optarg;
        return -1;
    case 'r':
        if (!parse_number("rounds", optarg, BENCH_ROUNDS_MIN, BENCH_ROUNDS_MAX, &number))
            return EX_USAGE;
        settings->options.rounds = (unsigned)number;
        return -1;
    case 't':
        if (!parse_number("time-ms", optarg, 1, BENCH_TIME_MS_MAX, &number))
            return EX_USAGE;
        settings->options.time_ms = (unsigned)number;
        return -1;
    case 'c':
        if (!parse_number("cpu", optarg, 0, CPU_SETSIZE - 1, &number))
            return EX_USAGE;
        settings->cpu = (int)number;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EX_OK;
    case 'V':
        printf("weir-bench %s\n", weir_version());
        return EX_OK;
    default:
        fputs("Try 'weir-bench --help'.\n", stderr);
        return EX_USAGE;
    }
}

static int parse_options(int argc, char **argv, struct settings *settings)
{
    static char name[] = "weir-bench"; /* getopt's messages begin with it, however it was called */
    static const struct option options[] = {
        {"list", no_argument, NULL, 'l'},
        {"filter", required_argument, NULL, 'f'},
        {"rounds", required_argument, NULL, 'r'},
        {"time-ms", required_argument, NULL, 't'},
        {"cpu", required_argument, NULL, 'c'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;

    if (argc > 0)
        argv[0] = name;
    while ((option = getopt_long(argc, argv, "lf:r:t:c:j:hV", options, NULL)) != -1) {
        int status = parse_option(option, settings);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        bench_complain("'%s' is no option; cases are chosen with --filter", argv[optind]);
        return EX_USAGE;
    }
    return -1;
}

/* --- which cases ----------------------------------------------------------------------------- */

static bool is_wanted(const struct bench_group *group, const struct bench_case *item,
                      const char *filter)
{
    char name[TEXT_MAX];

    if (filter == NULL)
        return true;
    snprintf(name, sizeof name, "%s/%s", group->name, item->name);
    if (strpbrk(filter, "*?[") != NULL)
        return fnmatch(filter, name, 0) == 0;
    return strstr(name, filter) != NULL;
}

static size_t count_wanted(const struct bench_group *group, const char *filter)
{
    size_t count = 0;

    for (size_t i = 0; i < group->case_count; i++)
        count += is_wanted(group, &group->cases[i], filter);
    return count;
}

static size_t count_all_wanted(const char *filter)
{
    size_t count = 0;

    for (size_t i = 0; bench_groups[i] != NULL; i++)
        count += count_wanted(bench_groups[i], filter);
    return count;
}

static void list_cases(const char *filter)
{
    for (size_t g = 0; bench_groups[g] != NULL; g++) {
        const struct bench_group *group = bench_groups[g];
        if (count_wanted(group, filter) == 0)
            continue;
        printf("%s: %s\n", group->name, group->summary);
        for (size_t i = 0; i < group->case_count; i++) {
            const struct bench_case *item = &group->cases[i];
            if (!is_wanted(group, item, filter))
                continue;
            printf("  %s/%s: %s\n", group->name, item->name, item->op);
            for (size_t c = 0; c < item->contender_count; c++) {
                const struct bench_contender *contender = &item->contenders[c];
                if (contender->missing != NULL)
                    printf("    %-18s left out: %s\n", contender->name, contender->missing);
                else
                    printf("    %s\n", contender->name);
            }
        }
    }
}

/* --- the table ------------------------------------------------------------------------------- */

static void print_head(const struct settings *settings, const struct machine *machine)
{
    printf("weir-bench %s\n", weir_version());
    printf("compiler    %s\n", BENCH_COMPILER);
    printf("flags       %s (assertions %s)\n", flags, machine->assertions ? "on" : "off");
    printf("processor   %s\n", machine->cpu);
    printf("kernel      %s\n", machine->kernel);
    printf("measured    %u rounds of %u ms each", settings->options.rounds,
           settings->options.time_ms);
    if (settings->cpu >= 0)
        printf(", on CPU %d", settings->cpu);
    putchar('\n');
}

static void print_group_head(const struct bench_group *group)
{
    printf("\n%s: %s\n", group->name, group->summary);
    printf("%-18s %-18s %12s %12s %8s %10s %7s\n", "case", "contender", "ns/op", "min ns/op",
           "spread", "MB/s", "ratio");
    fflush(stdout);
}

/* The names of what a case reports beside time, above their columns. */
static void print_figure_names(const struct bench_case *item)
{
    if (item->figures == NULL)
        return;
    printf("%-89s", "");
    for (size_t i = 0; i < BENCH_FIGURES_MAX && item->figures[i] != NULL; i++)
        printf(" %11s", item->figures[i]);
    putchar('\n');
}

/* Behind a line of the table. */
static void print_figures(const struct bench_case *item, const struct bench_result *result)
{
    for (size_t i = 0; item->figures != NULL && i < BENCH_FIGURES_MAX && item->figures[i] != NULL;
         i++) {
        if (isnan(result->figures[i]))
            printf(" %11s", "-");
        else
            printf(" %11.3f", result->figures[i]);
    }
    putchar('\n');
}

static void print_case(const struct bench_group *group, const struct bench_case *item,
                       const struct bench_result *results)
{
    char name[TEXT_MAX];

    print_figure_names(item);
    snprintf(name, sizeof name, "%s/%s", group->name, item->name);
    for (size_t i = 0; i < item->contender_count; i++) {
        const struct bench_result *result = &results[i];
        printf("%-18s %-18s ", i == 0 ? name : "", result->contender->name);
        if (result->ops == 0) {
            printf("left out: %s\n", result->contender->missing);
            continue;
        }
        printf("%12.2f %12.2f %7.1f%% ", result->median_ns, result->min_ns, 100 * result->spread);
        if (result->mb_per_s > 0)
            printf("%10.1f ", result->mb_per_s);
        else
            printf("%10s ", "-");
        if (result->ratio > 0)
            printf("%7.2f", result->ratio);
        else
            printf("%7s", "-");
        print_figures(item, result);
    }
    fflush(stdout);
}

/* What exactly the contenders of a group's cases are, once where cases in a row share them. */
static void print_notes(const struct bench_group *group, const char *filter)
{
    const struct bench_contender *before = NULL;
    for (size_t i = 0; i < group->case_count; i++) {
        const struct bench_case *item = &group->cases[i];
        if (!is_wanted(group, item, filter))
            continue;
        printf("%s%s/%s: %s\n", item->contenders != before ? "\n" : "", group->name, item->name,
               item->op);
        if (item->contenders == before)
            continue;
        before = item->contenders;
        for (size_t c = 0; c < item->contender_count; c++) {
            const struct bench_contender *contender = &item->contenders[c];
            if (contender->note != NULL && contender->missing == NULL)
                printf("  %-18s %s\n", contender->name, contender->note);
        }
    }
    fflush(stdout);
}

/* --- the JSON -------------------------------------------------------------------------------- */

static void out_of_memory(void)
{
    bench_complain("out of memory");
    exit(EX_OSERR);
}

static json_object *new_object(void)
{
    json_object *object = json_object_new_object();

    if (object == NULL)
        out_of_memory();
    return object;
}

static json_object *new_array(void)
{
    json_object *array = json_object_new_array();

    if (array == NULL)
        out_of_memory();
    return array;
}

/* @value may be NULL, which is JSON's null. */
static void put(json_object *object, const char *key, json_object *value)
{
    if (json_object_object_add(object, key, value) != 0)
        out_of_memory();
}

static void push(json_object *array, json_object *value)
{
    if (json_object_array_add(array, value) != 0)
        out_of_memory();
}

static void put_text(json_object *object, const char *key, const char *text)
{
    json_object *value = text != NULL ? json_object_new_string(text) : NULL;

    if (text != NULL && value == NULL)
        out_of_memory();
    put(object, key, value);
}

static void put_count(json_object *object, const char *key, uint64_t number)
{
    json_object *value = json_object_new_uint64(number);

    if (value == NULL)
        out_of_memory();
    put(object, key, value);
}

/* JSON has no infinities: what is not finite is null. */
static json_object *new_number(double number)
{
    json_object *value = isfinite(number) ? json_object_new_double(number) : NULL;

    if (isfinite(number) && value == NULL)
        out_of_memory();
    return value;
}

static void put_bool(json_object *object, const char *key, bool truth)
{
    json_object *value = json_object_new_boolean(truth);

    if (value == NULL)
        out_of_memory();
    put(object, key, value);
}

static json_object *describe_run(const struct settings *settings, const struct machine *machine)
{
    json_object *run = new_object();

    put_text(run, "program", "weir-bench");
    put_text(run, "version", weir_version());
    put_text(run, "compiler", BENCH_COMPILER);
    put_text(run, "flags", flags);
    put_bool(run, "assertions", machine->assertions);
    put_text(run, "processor", machine->cpu);
    put_text(run, "kernel", machine->kernel);
    put_count(run, "rounds", settings->options.rounds);
    put_count(run, "time_ms", settings->options.time_ms);
    if (settings->cpu >= 0)
        put_count(run, "pinned_cpu", (uint64_t)settings->cpu);
    else
        put(run, "pinned_cpu", NULL);
    return run;
}

static json_object *describe_figures(const struct bench_case *item,
                                     const struct bench_result *result)
{
    json_object *object = new_object();

    for (size_t i = 0; i < BENCH_FIGURES_MAX && item->figures[i] != NULL; i++)
        put(object, item->figures[i], new_number(result->figures[i]));
    return object;
}

static json_object *describe_result(const struct bench_case *item,
                                    const struct bench_result *result, unsigned rounds)
{
    json_object *object = new_object();

    put_text(object, "name", result->contender->name);
    put_text(object, "note", result->contender->note);
    put_bool(object, "available", result->ops != 0);
    if (result->ops == 0) {
        put_text(object, "reason", result->contender->missing);
        return object;
    }
    put_count(object, "ops_per_round", result->ops);
    put(object, "ns_per_op", new_number(result->median_ns));
    put(object, "min_ns_per_op", new_number(result->min_ns));
    put(object, "max_ns_per_op", new_number(result->max_ns));
    put(object, "spread", new_number(result->spread));
    put(object, "mb_per_s", result->mb_per_s > 0 ? new_number(result->mb_per_s) : NULL);
    put(object, "ratio", result->ratio > 0 ? new_number(result->ratio) : NULL);
    json_object *all = new_array();
    for (unsigned i = 0; i < rounds; i++)
        push(all, new_number(result->rounds_ns[i]));
    put(object, "rounds_ns_per_op", all);
    if (item->figures != NULL)
        put(object, "figures", describe_figures(item, result));
    return object;
}

static json_object *describe_case(const struct bench_group *group, const struct bench_case *item,
                                  const struct bench_result *results, unsigned rounds)
{
    json_object *object = new_object();
    json_object *contenders = new_array();

    put_text(object, "group", group->name);
    put_text(object, "case", item->name);
    put_text(object, "op", item->op);
    for (size_t i = 0; i < item->contender_count; i++)
        push(contenders, describe_result(item, &results[i], rounds));
    put(object, "contenders", contenders);
    return object;
}

static int write_json(json_object *object, FILE *file, const char *path)
{
    const char *text = json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
    if (text == NULL)
        out_of_memory();
    bool failed = fputs(text, file) < 0 || fputc('\n', file) < 0;
    failed = fflush(file) != 0 || failed;
    if (failed) {
        bench_complain("%s: %s", path, strerror(errno));
        return EX_IOERR;
    }
    return EX_OK;
}

/* --- the run --------------------------------------------------------------------------------- */

/* Run what is wanted of @group, print it unless the JSON goes there, and add it to @cases. */
static int run_group(const struct bench_group *group, const struct settings *settings,
                     json_object *cases)
{
    bool table = settings->json == NULL || strcmp(settings->json, "-") != 0;
    void *context = NULL;
    int rc = group->setup(&context);

    if (rc < 0)
        return rc;
    if (table)
        print_group_head(group);
    for (size_t i = 0; rc == 0 && i < group->case_count; i++) {
        const struct bench_case *item = &group->cases[i];
        if (!is_wanted(group, item, settings->filter))
            continue;
        struct bench_result *results = calloc(item->contender_count, sizeof *results);
        if (results == NULL)
            out_of_memory();
        rc = bench_run_case(item, context, &settings->options, results);
        if (rc == 0 && table)
            print_case(group, item, results);
        if (rc == 0)
            push(cases, describe_case(group, item, results, settings->options.rounds));
        bench_results_free(results, item->contender_count);
        free(results);
    }
    group->teardown(context);
    if (rc == 0 && table)
        print_notes(group, settings->filter);
    return rc;
}

static int run_groups(const struct settings *settings, const struct machine *machine, FILE *json)
{
    json_object *run = describe_run(settings, machine);
    json_object *cases = new_array();
    int status = EX_OK;

    put(run, "cases", cases);
    for (size_t i = 0; bench_groups[i] != NULL && status == EX_OK; i++) {
        const struct bench_group *group = bench_groups[i];
        if (count_wanted(group, settings->filter) != 0 && run_group(group, settings, cases) < 0)
            status = EX_SOFTWARE;
    }
    if (status == EX_OK && json != NULL)
        status = write_json(run, json, settings->json);
    json_object_put(run);
    return status;
}

static int pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        return EX_OK;
    bench_complain("--cpu %d: %s", cpu, strerror(errno));
    return EX_USAGE;
}

static int run(const struct settings *settings)
{
    struct machine machine;
    FILE *json = NULL;

    if (settings->cpu >= 0 && pin(settings->cpu) != EX_OK)
        return EX_USAGE;
    bool to_stdout = settings->json != NULL && strcmp(settings->json, "-") == 0;
    if (to_stdout)
        json = stdout;
    else if (settings->json != NULL && (json = fopen(settings->json, "we")) == NULL) {
        bench_complain("%s: %s", settings->json, strerror(errno));
        return EX_CANTCREAT;
    }
    look_at_machine(&machine);
    if (!to_stdout)
        print_head(settings, &machine);
    int status = run_groups(settings, &machine, json);
    if (json != NULL && !to_stdout && fclose(json) != 0 && status == EX_OK) {
        bench_complain("%s: %s", settings->json, strerror(errno));
        status = EX_IOERR;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .options = {.rounds = BENCH_ROUNDS_DEFAULT, .time_ms = BENCH_TIME_MS_DEFAULT},
        .cpu = -1,
    };
    int status = parse_options(argc, argv, &settings);

    if (status >= 0)
        return status;
    if (count_all_wanted(settings.filter) == 0) {
        bench_complain("no case matches '%s'; --list names them all", settings.filter);
        return EX_USAGE;
    }
    if (!settings.list)
        status = run(&settings);
    else {
        list_cases(settings.filter);
        status = EX_OK;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        bench_complain("standard output: %s", strerror(errno));
        return EX_IOERR;
    }
    return status;
}
