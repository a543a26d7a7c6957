#!/usr/bin/env python3
"""weir-bench as a user calls it: its options, its table and its JSON; no time is judged.

Usage: test_bench.py [PROGRAM]. Without PROGRAM it is tools/weir-bench of $WEIR_BUILDDIR. Prints TAP.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

QUICK = ("--rounds", "9", "--time-ms", "1")
CASES = ["codec/pack", "codec/unpack"]
BYTES_CASES = [f"bytes/send-{256 << n}" for n in range(7)]
CODEC_PEERS = {
    "codec/pack": {"weir", "msgpack-c", "msgpack-c-template", "msgpack-c-opaque", "memcpy"},
    "codec/unpack": {"weir", "msgpack-c", "msgpack-c-zone", "memcpy"},
}

ALLOCATORS = {"glibc", "mimalloc", "jemalloc", "tcmalloc", "weir-malloc"}
MEM_PEERS = {
    "mem/arena": {"weir", "bump", "bump-unchecked"} | ALLOCATORS,
    "mem/pair": {"weir", "weir-called", "freelist"} | ALLOCATORS,
    "mem/window": {"weir", "weir-called", "freelist"} | ALLOCATORS,
    "mem/shared": {"shared-1", "shared-2", "numbered-1", "numbered-2", "crowded-2"},
    "mem/remote-1": {"weir", "queue"} | ALLOCATORS,
    "mem/remote-32": {"weir", "queue"} | ALLOCATORS,
    "mem/remote-1024": {"weir", "queue"} | ALLOCATORS,
}

READERS = {"weir", "weir-each", "msgpuck-check", "msgpuck", "msgpack-c", "memcpy"}
ARRAYS_PEERS = {
    "arrays/u32-encode": READERS - {"msgpuck-check"},
    "arrays/u32-decode": READERS,
    "arrays/f64-encode": READERS - {"msgpuck-check"},
    "arrays/f64-decode": READERS,
}

ENCODERS = {"weir", "msgpack-c", "msgpack-c-template", "msgpack-c-opaque", "msgpuck",
            "msgpuck-sized", "libmpack", "memcpy", "struct"}
VALUES_PEERS = {
    "values/encode": ENCODERS,
    "values/walk": {"weir", "weir-check", "weir-trusted", "msgpack-c", "msgpuck", "msgpuck-check",
                    "libmpack", "struct"},
    "values/tree": {"weir", "msgpack-c-zone", "msgpack-c"},
    "values/check": {"weir", "weir-skip", "msgpuck-check", "msgpuck-skip", "libmpack"},
    "values/find": {"weir", "weir-find", "weir-loop", "msgpack-c", "msgpuck", "msgpuck-check", "libmpack"},
    "values/find-shuffled": {"weir", "weir-find", "weir-loop", "msgpack-c", "msgpuck", "msgpuck-check", "libmpack"},
    "values/bin-4k": {"weir", "weir-borrowed", "msgpack-c-vref", "copy"},
    "values/bin-64k": {"weir", "weir-borrowed", "msgpack-c-vref", "copy"},
    "values/bin-1m": {"weir", "weir-borrowed", "msgpack-c-vref", "copy"},
    "values/stream": {"weir", "weir-views", "weir-slice", "weir-joined", "weir-walk", "msgpack-c",
                      "msgpack-c-walk", "msgpack-c-execute", "libmpack"},
}


ECHO_PEERS = {"weir", "uring", "epoll", "epoll-each", "weir-poll", "libuv"}
RPC_PEERS = {"weir", "uring", "epoll-msgpack-c", "libuv-msgpack-c"}
STREAM_PEERS = {"weir", "uring", "write", "sendmsg"}
IO_CASES = {
    "io/tcp-64-16x32": ECHO_PEERS,
    "io/unix-64-1x1": ECHO_PEERS,
    "io/tcp-rpc-16x32": RPC_PEERS,
    "io/unix-stream-64k": STREAM_PEERS,
}


class Wrong(Exception):
    """What a test expected and did not find."""


def expect(condition, *what):
    if not condition:
        raise Wrong(" ".join(str(part) for part in what))


def strict_json(text):
    """The value of @text, which must be JSON to the letter: NaN and Infinity are not."""
    def refuse(name):
        raise Wrong(f"{name} is not JSON")
    return json.loads(text, parse_constant=refuse)


class Bench:
    def __init__(self, program):
        self.program = program

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250,
                              check=False)

    def good(self, *arguments):
        done = self.run(*arguments)
        expect(done.returncode == 0, "status", done.returncode, done.stderr)
        expect(done.stderr == "", "on stderr:", done.stderr)
        return done.stdout

    def refused(self, status, *arguments):
        done = self.run(*arguments)
        expect(done.returncode == status, arguments, "gave status", done.returncode)
        expect(done.stdout == "", arguments, "printed", done.stdout)
        expect(done.stderr.startswith("weir-bench: "), arguments, "said", done.stderr)
        return done.stderr


def test_list(bench):
    """--list names groups, cases and contenders"""
    lines = bench.good("--list").splitlines()
    expect(any(line.startswith("codec: ") for line in lines), lines)
    for case in BYTES_CASES + CASES + list(MEM_PEERS) + list(VALUES_PEERS) + list(ARRAYS_PEERS) + list(IO_CASES):
        expect(any(line.startswith(f"  {case}: ") for line in lines), case, "is missing in", lines)
    words = {line.split()[0] for line in lines if line.startswith("    ")}
    for peers in [*CODEC_PEERS.values(), *MEM_PEERS.values(), *VALUES_PEERS.values(),
                  *ARRAYS_PEERS.values()]:
        expect(peers <= words, peers - words, "are not listed")


def test_list_filtered(bench):
    """--list with a part of a name or a glob names only what matches"""
    for pattern in ("codec/unpack", "c/unp", "*/unpack", "codec/[u]*"):
        text = bench.good("--list", "--filter", pattern)
        expect("codec/unpack" in text and "codec/pack" not in text, pattern, "gives", text)


def test_help(bench):
    """--help and --version go to stdout"""
    text = bench.good("--help")
    for option in ("--list", "--filter", "--rounds", "--time-ms", "--cpu", "--json", "--version"):
        expect(option in text, option, "is not in the help")
    expect(bench.good("--version").startswith("weir-bench "), "no version")


def test_unknown_filter(bench):
    """a filter that nothing matches is an error"""
    for pattern in ("no such case", "codec/pac?x", "codec/[x]*"):
        expect(pattern in bench.refused(64, "--filter", pattern), "the pattern is not named")
        bench.refused(64, "--list", "--filter", pattern)


def test_bad_numbers(bench):
    """numbers out of range are refused"""
    for arguments in (("--rounds", "3"), ("--rounds", "8"), ("--rounds", "0"), ("--rounds", "-9"),
                      ("--rounds", "9x"), ("--rounds", ""), ("--rounds", "99999999999999999999"),
                      ("--time-ms", "0"), ("--time-ms", "60001"), ("--cpu", "-1"),
                      ("--cpu", "1000000")):
        bench.refused(64, *arguments)


def test_bad_usage(bench):
    """unknown options and stray words are refused"""
    for arguments in (("--frobnicate",), ("codec",), ("--rounds",)):
        bench.refused(64, *arguments)


def test_bad_file(bench):
    """a JSON file that cannot be created is an error before anything is timed"""
    bench.refused(73, "--json", "/nonexistent/x.json", *QUICK)


def check_contender(case, entry):
    where = f"{case} {entry['name']}:"
    expect(entry["available"] is True, where, "is not there")
    expect(entry["ops_per_round"] > 0 and entry["ops_per_round"] % 65536 == 0, where, entry)
    for key in ("ns_per_op", "min_ns_per_op", "max_ns_per_op", "mb_per_s", "ratio"):
        value = entry[key]
        expect(isinstance(value, (int, float)) and math.isfinite(value) and value > 0,
               where, key, value)
    expect(entry["min_ns_per_op"] <= entry["ns_per_op"] <= entry["max_ns_per_op"], where, entry)
    expect(entry["spread"] >= 0, where, entry)
    rounds = entry["rounds_ns_per_op"]
    expect(len(rounds) == 9, where, len(rounds), "rounds")
    expect(math.isclose(sorted(rounds)[4], entry["ns_per_op"]), where, "is not the median")
    expect(math.isclose(min(rounds), entry["min_ns_per_op"]), where, "is not the least")


def check_ratios(case, contenders):
    """The ratio is the median of the rounds' own ratios to the first contender."""
    base = contenders[0]["rounds_ns_per_op"]
    for entry in contenders:
        ratios = sorted(mine / first for mine, first in zip(entry["rounds_ns_per_op"], base))
        expect(math.isclose(ratios[4], entry["ratio"]), case, entry["name"], "has ratio",
               entry["ratio"], "and not", ratios[4])


def check_document(document, cases):
    for key in ("compiler", "processor", "kernel", "version"):
        expect(isinstance(document[key], str) and document[key], key, "is missing")
    expect(isinstance(document["flags"], str), "no flags")
    expect(document["rounds"] == 9 and document["time_ms"] == 1, "not as asked for")
    names = [f"{case['group']}/{case['case']}" for case in document["cases"]]
    expect(names == cases, names, "are not", cases)
    for name, case in zip(names, document["cases"]):
        contenders = case["contenders"]
        expect({entry["name"] for entry in contenders} == CODEC_PEERS[name], name, contenders)
        expect(contenders[0]["name"] == "weir" and contenders[0]["ratio"] == 1, name, "begins wrong")
        for entry in contenders:
            check_contender(name, entry)
        check_ratios(name, contenders)


def test_json_on_stdout(bench):
    """--json - prints JSON and nothing else, with every contender's figures"""
    check_document(strict_json(bench.good("--filter", "codec/", "--json", "-", *QUICK)), CASES)


def test_json_in_file(bench):
    """--json FILE leaves the table on stdout, which has the same medians"""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "x.json")
        table = bench.good("--filter", "codec/unpack", "--json", str(path), *QUICK).splitlines()
        document = strict_json(path.read_text(encoding="utf-8"))
    check_document(document, ["codec/unpack"])
    for head in ("compiler", "flags", "processor", "kernel"):
        expect(any(line.startswith(f"{head} ") for line in table), head, "is missing in", table)
    for entry in document["cases"][0]["contenders"]:
        figure = f"{entry['ns_per_op']:.2f}"
        expect(any(f" {entry['name']} " in line and f" {figure} " in line for line in table),
               entry["name"], figure, "is not in", table)
        expect(any(entry["note"] in line for line in table), "no note on", entry["name"])


def missing_peers(document, cases):
    """Names of contenders that were left out of @document, which has @cases: name to peers."""
    names = [f"{case['group']}/{case['case']}" for case in document["cases"]]
    expect(names == list(cases), names)
    missing = set()
    for name, case in zip(names, document["cases"]):
        contenders = case["contenders"]
        expect({entry["name"] for entry in contenders} == cases[name], name, contenders)
        expect(contenders[0]["ratio"] == 1, name, "begins wrong")
        for entry in contenders:
            if entry["available"]:
                expect(entry["min_ns_per_op"] > 0 and len(entry["rounds_ns_per_op"]) == 9, entry)
            else:
                expect(entry["reason"], entry)
                missing.add(entry["name"])
    return missing


def test_mem(bench):
    """the group mem runs, with one and two threads; what configure did not find is left out"""
    document = strict_json(bench.good("--filter", "mem/", "--json", "-", *QUICK))
    missing = missing_peers(document, MEM_PEERS)
    optional = {"mimalloc", "jemalloc", "tcmalloc"}
    if not os.environ.get("WEIR_MALLOC"):
        optional.add("weir-malloc")
    expect(missing <= optional, missing, "are left out")


def test_values(bench):
    """the group values compares what all its contenders do, and runs; peers may be missing"""
    cases = {"values/stream": VALUES_PEERS["values/stream"]}
    document = strict_json(bench.good("--filter", "values/stream", "--json", "-", *QUICK))
    missing = missing_peers(document, cases)
    expect(missing <= {"msgpuck", "msgpuck-check", "msgpuck-sized", "libmpack"}, missing,
           "are left out")


def test_bytes(bench):
    """the group bytes runs, after it showed that linked and copied bytes are the same"""
    document = strict_json(bench.good("--filter", "bytes/", "--json", "-", *QUICK))
    names = [f"{case['group']}/{case['case']}" for case in document["cases"]]
    expect(names == BYTES_CASES, names)
    for name, case in zip(names, document["cases"]):
        contenders = case["contenders"]
        expect([entry["name"] for entry in contenders] == ["linked", "copied"], name, contenders)
        expect(all(entry["min_ns_per_op"] > 0 for entry in contenders), contenders)


def test_arrays(bench):
    """arrays of numbers are encoded and decoded the same by all, and timed; msgpuck may be missing"""
    document = strict_json(bench.good("--filter", "arrays/", "--json", "-", *QUICK))
    missing = missing_peers(document, ARRAYS_PEERS)
    expect(missing <= {"msgpuck", "msgpuck-check"}, missing, "are left out")


def test_io(bench):
    """the group io: every answer of every server is the right one, and what they cost is told"""
    if not os.environ.get("WEIR_TEST_NO_SKIP"):
        done = bench.run("--filter", "io/unix-64-1x1", *QUICK)
        if "needs io_uring" in done.stderr:
            return
    for case, peers in IO_CASES.items():
        document = strict_json(bench.good("--filter", case, "--json", "-", *QUICK))
        missing = missing_peers(document, {case: peers})
        expect(missing <= {"libuv", "libuv-msgpack-c"}, missing, "are left out")
        for entry in document["cases"][0]["contenders"]:
            if not entry["available"]:
                continue
            figures = entry["figures"]
            expect(figures["kmsg/s"] > 0 and figures["cpu-us/msg"] > 0, case, entry)
            expect((figures["calls/msg"] is None) == entry["name"].startswith("libuv"), case, entry)
            trips = [figures[key] for key in ("p50-us", "p99-us", "p99.9-us")]
            if case.endswith("x1"):
                expect(0 < trips[0] <= trips[1] <= trips[2], case, entry)
            else:
                expect(trips == [None] * 3, case, entry)


TESTS = [test_list, test_list_filtered, test_help, test_unknown_filter, test_bad_numbers,
         test_bad_usage, test_bad_file, test_json_on_stdout, test_json_in_file,
         test_mem, test_values, test_bytes, test_arrays, test_io]


def main():
    program = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                           os.path.join(os.environ["WEIR_BUILDDIR"], "tools", "weir-bench"))
    if not program.exists():
        if os.environ.get("WEIR_TEST_NO_SKIP"):
            print(f"Bail out! {program} was not built")
            return 1
        print("1..0 # SKIP weir-bench was not built: configure found no json-c")
        return 0
    print(f"1..{len(TESTS)}")
    failed = 0
    for number, test in enumerate(TESTS, 1):
        try:
            test(Bench(str(program)))
        except Exception as error:  # one broken test must not hide the others
            failed += 1
            print(f"not ok {number} - {test.__doc__}")
            print("# " + f"{type(error).__name__}: {error}".replace("\n", "\n# "))
        else:
            print(f"ok {number} - {test.__doc__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
