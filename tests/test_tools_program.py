#!/usr/bin/env python3
"""The program weir as a user calls it: check, options, files, pipes, errors, memory.

Usage: test_tools_program.py [PROGRAM]. Prints TAP.
"""

import itertools
import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import tempfile

import tools_support as support
from tools_support import DOCUMENT, MEGABYTE, RESERVED, Ext, Pairs, Weir, big_chunks, encode, equal, \
    expect, forbid_io_uring, parts, piped, place


def first_cut(found, cut):
    """What check says of the first @cut bytes: a count is believed only as far as bytes are there."""
    for at, head_end, name, count, path in found:
        if at == cut:
            return at, path, "the bytes end within an array or map"
        if head_end > cut or head_end + count > cut:
            return at, path, f"the bytes end within {name}"
    raise ValueError(cut)


def test_truncations(weir):
    """check finds every truncation of a document at the value that is cut off"""
    data = encode(DOCUMENT)
    _, found = parts(data)
    with tempfile.TemporaryDirectory() as directory:
        files, wanted = [], []
        for cut in range(1, len(data)):
            # Behind two good values: offsets are those of the file.
            path = os.path.join(directory, f"{cut}")
            pathlib.Path(path).write_bytes(b"\x01\xa1a" + data[:cut])
            offset, inside, reason = first_cut(found, cut)
            files.append(path)
            wanted.append(f"{path}: {place(offset + 3, inside)}: {reason}\n")
        for start in range(0, len(files), 200):
            weir.bad(1, "".join(wanted[start:start + 200]), "check", *files[start:start + 200])
        pathlib.Path(directory, "whole").write_bytes(b"\x01\xa1a" + data)
        weir.good("check", os.path.join(directory, "whole"))
    done = weir.run("check", given=b"\x01\xa1a" + data[:5])
    equal((done.returncode, done.stderr.decode()), (1, "(stdin): offset 3: the bytes end within an array\n"))


def test_reserved(weir):
    """check finds the reserved byte wherever a value is"""
    for before, offset, path in ((b"", 0, ""), (b"\x01", 1, ""), (b"\x92\x01", 2, "/1"),
                                 (b"\x81\xa1k", 3, "/k"), (b"\x81", 1, "/~@0"), (b"\x9f\x01", 2, "/1"),
                                 (b"\xdd\0\0\xff\xff", 5, "/0"), (b"\x82\x01\xc0\xff", 4, "/-1"),
                                 (b"\x81\xa2/~\x91", 5, "/~1~0/0"), (b"\x81\xc0", 2, "/~#0"),
                                 (b"\x81\xa2\xc3\xbc", 4, "/\u00fc"), (b"\x81\xa2\x1b\n", 4, "/\\x1b\\x0a"),
                                 (b"\x81\xa2\xc3(", 4, "/\\xc3("), (b"\x81\xa2\xc2\x9b", 4, "/\\xc2\\x9b")):
        weir.bad(1, f"(stdin): {place(offset, path)}: {RESERVED}\n", "check",
                 given=before + b"\xc1\x00\x00")
    # Of a path that is long the beginning.
    for size, shown in ((8187, "/" + "k" * 8187), (8188, "/" + "k" * 8187 + "..."),
                        (100000, "/" + "k" * 8187 + "...")):
        weir.bad(1, f"(stdin): offset {size + 6}, {shown}: {RESERVED}\n", "check",
                 given=b"\x81\xdb" + struct.pack(">I", size) + b"k" * size + b"\xc1")
    weir.good("check", given=b"\xa1\xc1\xc4\x01\xc1\xd4\x01\xc1\xcc\xc1")


def test_cut_pipe(weir):
    """check gives the same answer however a pipe cuts the bytes"""
    data = b"\x01" + encode(DOCUMENT) + b"\x92\x01\xc1"
    wanted = f"(stdin): offset {len(data) - 1}, /1: {RESERVED}\n".encode()
    for step in (1, 7, 100):
        child = subprocess.Popen([weir.program, "check"], stdin=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        for at in range(0, len(data), step):
            child.stdin.write(data[at:at + step])
            child.stdin.flush()
        child.stdin.close()
        said = child.stderr.read()
        child.stderr.close()
        equal((child.wait(timeout=60), said), (1, wanted))


def test_limits(weir):
    """check holds values to --depth, --elements and --bytes"""
    deep = b"\x91" * 128 + b"\0"
    path = "/0" * 128
    weir.good("check", given=deep * 3)
    weir.bad(1, f"(stdin): offset 257, {path}: nested deeper than the limit\n", "check",
             given=deep + b"\x91" + deep)
    weir.good("check", "--depth=1024", given=b"\x91" * 1024 + b"\0")
    weir.bad(1, f"(stdin): offset 1024, {path * 8}: nested deeper than the limit\n", "check", "--depth=1024",
             given=b"\x91" * 1025 + b"\0")
    weir.good("check", "-d", "1", given=b"\x91\0\x80\0")
    weir.bad(1, "(stdin): offset 3, /~@0: nested deeper than the limit\n", "check", "-d", "1",
             given=b"\x91\0\x81\x80\0")
    weir.good("check", "-e", "4", given=b"\x93\1\2\3" * 5)
    weir.bad(1, "(stdin): offset 8: a message above the limit of elements\n", "check", "--elements=4",
             given=b"\x93\1\2\3" * 2 + b"\x94\1\2\3\4")
    weir.good("check", "-b", "4", given=b"\x93\1\2\3" * 5)
    weir.bad(1, "(stdin): offset 4: a message above the limit of bytes\n", "check", "--bytes=4",
             given=b"\x93\1\2\3" + b"\xa4abcd")
    weir.bad(1, "(stdin): offset 0: a message above the limit of bytes\n", "check", "-b1K",
             given=b"\xc5\x04\x00" + b"x" * 1024)
    weir.good("check", "-b2K", given=b"\xc5\x04\x00" + b"x" * 1024)
    # Too deep and unfinished, or with a worse fault behind it: the first fault counts.
    weir.bad(1, f"(stdin): offset 129, {path}: nested deeper than the limit\n", "check",
             given=b"\1" + b"\x91" * 500)
    weir.bad(1, f"(stdin): offset 128, {path}: nested deeper than the limit\n", "check",
             given=b"\x91" * 500 + b"\xc1")


HOSTILE = {
    "an array of 2^32-1": b"\xdd\xff\xff\xff\xff", "a map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "a str of 2^32-1": b"\xdb\xff\xff\xff\xff", "a bin of 2^32-1": b"\xc6\xff\xff\xff\xff",
    "an ext of 2^32-1": b"\xc9\xff\xff\xff\xff\x05", "a str of 60 MB": b"\xdb\x03\x93\x87\x00x",
    "an array of 60 M": b"\xdd\x03\x93\x87\x00\x01", "arrays within arrays": b"\xdd\x00\x00\xff\xff" * 200,
    "maps within maps": b"\xdf\x00\x00\x0f\xff" * 200,
}


def test_hostile_heads(weir):
    """a few bytes that announce much are refused at once, with little memory"""
    for name, data in HOSTILE.items():
        for command in ("check", "cat"):
            begun = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = weir.run(command, given=data, limit_bytes=200 * MEGABYTE)
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            took = ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
            equal((done.returncode, done.stdout), (1, b""), name, command, done.stderr)
            expect(b"(stdin): offset 0: " in done.stderr or b"within" in name.encode(), name, done.stderr)
            expect(took < 10, name, command, "took", took)


def test_hostile_depth(weir):
    """ten million arrays within each other are refused as what they are"""
    done = weir.run("check", given=b"\x91" * 10000000, limit_bytes=300 * MEGABYTE)
    place_said = b"(stdin): offset 128, " + b"/0" * 128 + b": nested deeper than the limit\n"
    equal((done.returncode, done.stderr), (1, place_said))
    done = weir.run("cat", given=b"\x91" * 10000000, limit_bytes=300 * MEGABYTE)
    equal((done.returncode, done.stderr), (1, b"weir cat: " + place_said))
    done = weir.run("pack", given=b"[" * 10000000, limit_bytes=300 * MEGABYTE)
    equal(done.returncode, 1)


def test_big_input(weir):
    """100 MB through a pipe in constant memory: check, stat, cat, pack"""
    record = encode({"id": 123456, "name": "a name of some length", "tags": ["x", "y"], "data": b"z" * 150})
    chunk = record * (MEGABYTE // len(record)) + encode("s" * 100000)
    text = b'{"id":123456,"name":"a name of some length","tags":["x","y"],"more":"' + b"z" * 800 + b'"}\n'
    lines = text * (MEGABYTE // len(text)) + b'"' + b"s" * 100000 + b'"'
    for command, data in (("check", chunk), ("stat", chunk), ("cat", chunk), ("pack", lines)):
        status, size = piped(weir, [command], data, big_chunks(weir))
        equal(status, 0, command)
        expect(size > 0 or command == "check", command)


def test_big_value(weir):
    """a value is shown in parts: a str of 40 MB takes its own size and not that of its text"""
    size = 40 * MEGABYTE
    data = b"\xdb" + struct.pack(">I", size) + b"\x01" * size
    equal(piped(weir, ["cat"], data, 1, 160 * MEGABYTE), (0, 6 * size + 3))


def test_several_files(weir):
    """files one after the other, a bad one among them, - for standard input"""
    with tempfile.TemporaryDirectory() as directory:
        def file(name, data):
            path = os.path.join(directory, name)
            pathlib.Path(path).write_bytes(data)
            return path
        one, two = file("one", b"\x01\x02"), file("two", b"\xa3two")
        bad, cut = file("bad", b"\x05\xc1"), file("cut", b"\x92\x01")
        empty, missing = file("empty", b""), os.path.join(directory, "missing")
        equal(weir.good("cat", one, "-", two, empty, given=b"\xc0"), b'1\n2\nnull\n"two"\n')
        weir.good("check", one, two, empty)
        # A value does not go on in the next file.
        weir.bad(1, f"{cut}: offset 0: the bytes end within an array\n", "check", cut, one)
        weir.bad(1, f"{bad}: offset 1: {RESERVED}\n{cut}: offset 0: the bytes end within an array\n",
                 "check", bad, one, cut)
        weir.bad(1, f"weir cat: {bad}: offset 1: {RESERVED}\n", "cat", one, bad, two,
                 stdout=b'1\n2\n5\n"two"\n')
        weir.bad(66, f"weir check: {missing}: No such file or directory\n", "check", missing, one)
        weir.bad(66, f"weir cat: {missing}: No such file or directory\nweir cat: {bad}: offset 1: "
                 f"{RESERVED}\n", "cat", missing, bad, stdout=b"5\n")
        weir.bad(1, f"{bad}: offset 1: {RESERVED}\nweir check: {missing}: No such file or directory\n",
                 "check", bad, missing)
        for command in ("check", "cat", "pack"):
            weir.bad(66, f"weir {command}: {directory}: Is a directory\n", command, directory)
            weir.bad(66, f"weir {command}: {one}/x: Not a directory\n", command, f"{one}/x")
        text = file("text", b"[1")
        more = file("more", b"2]")
        weir.bad(1, f"weir pack: {text}: line 1, offset 2: the input ends inside of a value\n"
                 f"weir pack: {more}: line 1, offset 1: a bracket that closes nothing\n", "pack", text, more,
                 stdout=b"\x02")
        equal(weir.good("pack", file("json", b"[1]"), "-", given=b"2"), b"\x91\x01\x02")
        hidden = file("hidden", b"\x01")
        os.chmod(hidden, 0)
        if not os.access(hidden, os.R_OK):
            weir.bad(66, f"weir check: {hidden}: Permission denied\n", "check", hidden)


def test_standard_descriptors(weir):
    """stdin and stdout that are closed, full or gone"""
    def without(fd):
        return lambda: os.close(fd)

    def run(*arguments, close=None, **more):
        return subprocess.run([weir.program, *arguments], stderr=subprocess.PIPE, check=False, timeout=60,
                              preexec_fn=None if close is None else without(close), **more)
    said = b"writing to standard output: "
    for command, given in (("cat", b"\x01"), ("pack", b"1")):
        done = run(command, close=1, input=given)
        equal((done.returncode, done.stderr),
              (74, b"weir " + command.encode() + b": " + said + b"Bad file descriptor\n"))
        with open("/dev/full", "wb") as full:
            for data in (given, given + b" " * 0 + given * 300000):
                done = run(command, input=data.replace(b"11", b"1 1 "), stdout=full)
                equal((done.returncode, done.stderr),
                      (74, b"weir " + command.encode() + b": " + said + b"No space left on device\n"))
    equal(run("check", close=1, input=b"\x01").returncode, 0)
    with open("/dev/full", "wb") as full:
        for arguments in (("--help",), ("--version",), ("cat", "--help"), ("check", "--version")):
            done = run(*arguments, stdout=full)
            expect(done.returncode == 74 and said + b"No space" in done.stderr, arguments, done.stderr)
    for command in ("cat", "pack", "check"):
        done = run(command, close=0, stdout=subprocess.PIPE)
        equal((done.returncode, done.stderr, done.stdout),
              (74, f"weir {command}: (stdin): Bad file descriptor\n".encode(), b""))


def test_gone_reader(weir):
    """a reader that goes away ends the program without a word, whatever SIGPIPE does"""
    for ignore, statuses in ((False, (-signal.SIGPIPE,)), (True, (74,))):
        for command, given in (("cat", b"\x01" * 1000000), ("pack", b"1 " * 1000000)):
            disposition = signal.SIG_IGN if ignore else signal.SIG_DFL
            child = subprocess.Popen([weir.program, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, restore_signals=False,
                                     preexec_fn=lambda how=disposition: signal.signal(signal.SIGPIPE, how))
            child.stdout.close()
            try:
                child.stdin.write(given)
                child.stdin.close()
            except BrokenPipeError:
                pass
            said = child.stderr.read()
            child.stderr.close()
            status = child.wait(timeout=60)
            expect(status in statuses and said == b"", command, ignore, status, said)


def test_lines_come_at_once(weir):
    """what is complete is written before more is waited for"""
    for command, given, wanted in (("cat", b"\x91\x01\x91", b"[1]\n"), ("pack", b"[1] [", b"\x91\x01")):
        child = subprocess.Popen([weir.program, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        child.stdin.write(given)
        child.stdin.flush()
        equal(os.read(child.stdout.fileno(), 100), wanted)
        child.stdin.close()
        child.stdout.close()
        equal(child.wait(timeout=60), 1)


def test_options(weir):
    """options and commands that are wrong are refused with a hint"""
    def hint(command):
        return f"Try '{command} --help'.\n"
    weir.bad(64, "weir: a command is missing\n" + hint("weir"))
    weir.bad(64, "weir: unknown command 'frobnicate'\n" + hint("weir"), "frobnicate")
    weir.bad(64, "weir: unknown option '--frob'\n" + hint("weir"), "--frob")
    weir.bad(64, "weir: unknown command 'x'\n" + hint("weir"), "help", "x")
    weir.bad(64, "weir: one command is expected\n" + hint("weir"), "help", "cat", "pack")
    for command, names in (("check", ("depth", "elements", "bytes")), ("cat", ("depth", "max-value")),
                           ("pack", ("depth", "max-value"))):
        name = f"weir {command}"
        weir.bad(64, f"{name}: unrecognized option '--frob'\n" + hint(name), command, "--frob")
        weir.bad(64, f"{name}: invalid option -- 'q'\n" + hint(name), command, "-q")
        for option, value in itertools.product(names, ("", "0", "x", "-1", "1x", "1.5", "1KB", "9" * 30)):
            done = weir.run(command, f"--{option}", value)
            equal((done.returncode, done.stdout), (64, b""), command, option, value)
            expect(done.stderr.startswith(f"{name}: --{option} needs a number of 1..".encode()) and
                   done.stderr.endswith(f"not '{value}'\n{hint(name)}".encode()), done.stderr)
        weir.bad(64, f"{name}: option '--depth' requires an argument\n" + hint(name), command, "--depth")
        weir.bad(64, f"{name}: --depth needs a number of 1..1024, not '1025'\n" + hint(name), command,
                 "--depth=1025")
    weir.bad(66, "weir check: --nothing: No such file or directory\n", "check", "--", "--nothing")


def walk(value, depth=0):
    """(type, length, depth) of a value and of all in it, from what was encoded."""
    plain = {type(None): "nil", bool: "bool", int: "integer", float: "float64"}
    if type(value) in plain:
        return [(plain[type(value)], None, depth)]
    if isinstance(value, (str, bytes)):
        return [("str" if isinstance(value, str) else "bin", len(value.encode() if
                 isinstance(value, str) else value), depth)]
    if isinstance(value, Ext):
        return [("ext", len(value.data), depth)]
    if isinstance(value, list) and not isinstance(value, Pairs):
        inside, kind, length = value, "array", len(value)
    else:
        pairs = value if isinstance(value, Pairs) else list(value.items())
        inside, kind, length = [part for pair in pairs for part in pair], "map", len(pairs)
    return [(kind, length, depth)] + [part for item in inside for part in walk(item, depth + 1)]


def test_stat_file(weir):
    """stat counts types, lengths, sizes and depths of a file's values, as JSON and as a table"""
    documents = [DOCUMENT, 5, {"a": DOCUMENT}, []]
    data = b"".join(map(encode, documents))
    stat = json.loads(weir.good("stat", given=data))
    equal(stat.pop("file"), "(stdin)")
    parts = [part for document in documents for part in walk(document)]
    sizes = [len(encode(document)) for document in documents]
    equal(stat["all"], {"values": 4, "bytes": len(data), "elements": len(parts),
                        "depth": max(depth for _, _, depth in parts), "savings_bytes": 0,
                        "value_bytes_least": min(sizes), "value_bytes_most": max(sizes)})
    for kind in [name for name, row in stat["types"].items() if isinstance(row, dict)]:
        lengths = [length for name, length, _ in parts if name == kind]
        row = stat["types"][kind]
        equal(row["count"], len(lengths), kind)
        known = [length for length in lengths if length is not None]
        equal([row["length_least"], row["length_most"]],
              [min(known), max(known)] if known else [None, None], kind)
    equal(sum(row["bytes"] for row in stat["types"].values() if isinstance(row, dict)), len(data))
    depths = [depth for _, _, depth in parts]
    equal(stat["depths"], {"elements": len(parts), "depths": [
        {"depth": n, "elements": depths.count(n)} for n in range(max(depths) + 1)]})
    bucket = {row["up_to_bytes"]: row["values"] for row in stat["sizes"]["sizes"]}
    for limit, count in bucket.items():
        equal(count, sum(limit // 2 < size <= limit or (limit == 1 and size == 1) for size in sizes))
    equal(sum(bucket.values()), 4)
    table = weir.good("stat", "--table", given=data).decode().splitlines()
    equal([line for line in table if not line.startswith(" ")], list(stat))
    expect(["total", str(len(parts)), str(len(data)), "0", "-", "-"] in [line.split() for line in
                                                                        table], table)


def test_stat_several_files(weir):
    """stat of several files names them; what is bad has no line, what cannot be written is told once"""
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, name) for name in ("one", "bad", "\u00fc\"\n", "none")]
        for path, data in zip(paths, (b"\x01", b"\x01\xc1", b"\x02\x03")):
            pathlib.Path(path).write_bytes(data)
        said = f"weir stat: {paths[1]}: offset 1: {RESERVED}\n" \
            f"weir stat: {paths[3]}: No such file or directory\n"
        done = weir.run("stat", *paths)
        equal((done.returncode, done.stderr.decode()), (1, said))
        equal([(line["file"], line["all"]["values"]) for line in map(json.loads, done.stdout.splitlines())],
              [(paths[0], 1), (paths[2], 2)])
        tables = weir.run("stat", "--table", *paths[:2]).stdout.decode().splitlines()
        equal(tables[0], f"==> {paths[0]} <==")
        equal(tables[1:], weir.good("stat", "--table", paths[0]).decode().splitlines())
        with open("/dev/full", "wb") as full:
            done = weir.run("stat", paths[0], paths[2], stdout=full)
        equal((done.returncode, done.stderr),
              (74, b"weir stat: writing to standard output: No space left on device\n"))


def test_stat_savings(weir):
    """stat says what the shortest form of each value would save"""
    head = {1: b"\xd9\x01", 2: b"\xda\x00\x01", 4: b"\xdb\x00\x00\x00\x01"}
    cases = [(b"\xcc\x7f", "integer", 1), (b"\xcc\x80", "integer", 0), (b"\xd0\x07", "integer", 1),
             (b"\xd0\xe0", "integer", 1), (b"\xd0\xdf", "integer", 0), (b"\xcd\x00\xff", "integer", 1),
             (b"\xcf" + bytes(8), "integer", 8), (b"\xd3" + b"\xff" * 8, "integer", 8),
             (b"\xd3" + b"\xff" * 7 + b"\x00", "integer", 6), (b"\xce\x00\x01\x00\x00", "integer", 0),
             (head[1] + b"x", "str", 1), (head[2] + b"x", "str", 2), (head[4] + b"x", "str", 4),
             (b"\xc5\x00\x01x", "bin", 1), (b"\xc6\x00\x00\x00\x00", "bin", 3), (b"\xc4\x00", "bin", 0),
             (b"\xdc\x00\x00", "array", 2), (b"\xdd\x00\x00\x00\x00", "array", 4),
             (b"\xde\x00\x00", "map", 2), (b"\xdf\x00\x00\x00\x00", "map", 4),
             (b"\xc7\x04\x05abcd", "ext", 1), (b"\xc8\x00\x03\x05abc", "ext", 1), (b"\xc7\x00\x05", "ext", 0),
             (b"\xd7\xff" + (7).to_bytes(8, "big"), "timestamp", 4),
             (b"\xc7\x0c\xff" + (1).to_bytes(4, "big") + (7).to_bytes(8, "big"), "timestamp", 5),
             (b"\xc7\x0c\xff" + bytes(4) + b"\xff" * 8, "timestamp", 0),
             (b"\xd6\xff\x00\x00\x00\x00", "timestamp", 0), (b"\xca" + bytes(4), "float32", 0)]
    for data, kind, savings in cases:
        stat = json.loads(weir.good("stat", given=data))
        row = stat["types"][kind]
        equal((row["count"], row["bytes"], row["savings_bytes"]), (1, len(data), savings), data)
        equal(stat["all"]["savings_bytes"], savings, data)


def test_stat_faults(weir):
    """stat says where a file is bad and counts nothing of it; an empty one has no values"""
    stat = json.loads(weir.good("stat"))
    equal(stat["all"], {"values": 0, "bytes": 0, "elements": 0, "depth": 0, "savings_bytes": 0,
                        "value_bytes_least": None, "value_bytes_most": None})
    weir.bad(1, "weir stat: (stdin): offset 1: the reserved byte 0xc1\n", "stat", given=b"\x01\xc1")
    weir.bad(66, "weir stat: /none: No such file or directory\n", "stat", "/none")
    weir.bad(64, "weir stat: one address is expected\nTry 'weir stat --help'.\n", "stat",
             "unix:/none", "tcp:none:1")
    deep = b"\x91" * 1024 + b"\xc0"
    equal(json.loads(weir.good("stat", "--depth=1024", given=deep))["all"]["depth"], 1024)
    weir.bad(1, f"weir stat: (stdin): offset 128, {'/0' * 128}: nested deeper than the limit\n", "stat",
             given=deep)


def test_no_ring(weir):
    """where no ring can be had, reading goes on without one"""
    data = encode(DOCUMENT) * 20000
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "many.mp")
        pathlib.Path(path).write_bytes(data)
        done = subprocess.run([weir.program, "stat", path], preexec_fn=few, capture_output=True,
                              check=True, timeout=60)
        equal(done.stdout, weir.good("stat", path))


def test_features(weir):
    """what is on and why not: chosen, forced off by the system, and wrong usage"""
    names = ["backend", "backend reason", "single issuer", "deferred task work", "registered ring",
             "receive by parts", "registered buffers", "waits for several",
             "kernel submission thread", "debug library"]

    def features(*arguments, **more):
        done = subprocess.run([weir.program, "features", *arguments], capture_output=True,
                              check=True, timeout=60, **more)
        equal(done.stderr, b"")
        rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
        equal([row[0] for row in rows], names)
        return dict(rows)

    polls = features("--backend", "poll")
    equal((polls["backend"], polls["backend reason"]), ("poll", "chosen by option"))
    equal((polls["single issuer"], polls["receive by parts"]), ("io_uring only", "on"))
    equal(polls["registered buffers"], "io_uring only")
    refused = features(preexec_fn=forbid_io_uring)
    equal((refused["backend"], refused["registered ring"]), ("poll", "io_uring only"))
    expect(refused["backend reason"].startswith("io_uring is not allowed here"), refused)
    done = subprocess.run([weir.program, "features", "--backend=uring"], capture_output=True,
                          check=False, preexec_fn=forbid_io_uring, timeout=60)
    equal((done.returncode, done.stdout), (71, b""))
    expect(done.stderr.startswith(b"weir features: the kernel refuses a ring: "), done.stderr)
    hint = "Try 'weir features --help'.\n"
    weir.bad(64, f"weir features: --backend needs auto, uring or poll, not 'epoll'\n{hint}",
             "features", "--backend", "epoll")
    weir.bad(64, f"weir features: unexpected argument 'x'\n{hint}", "features", "x")


def test_help(weir):
    """--help and --version everywhere, and the examples of --help come out as printed"""
    version = weir.good("--version")
    expect(version.startswith(b"weir 0.") and version.endswith(b"\n"), version)
    equal(weir.good("-V"), version)
    text = weir.good("--help").decode()
    for arguments in (("help",), ("-h",), ("help", "--help"), ("help", "-h")):
        equal(weir.good(*arguments).decode(), text)
    commands = [line.split()[0] for line in text.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
    expect({"pack", "cat", "check"} <= set(commands), commands)
    for command in ("pack", "cat", "check", "diff", "stat", "features"):
        equal(weir.good(command, "--version"), version)
        equal(weir.good(command, "-V"), version)
        own = weir.good(command, "--help").decode()
        expect(own.startswith(f"Usage: weir {command} "), own)
        equal(weir.good(command, "-h").decode(), own)
        equal(weir.good("help", command).decode(), own)
        expect(all(len(line) <= 88 for line in own.splitlines()), own)
        text += own
    with tempfile.TemporaryDirectory() as directory:
        os.symlink(weir.program, os.path.join(directory, "weir"))
        examples = check_examples(text, directory)
    equal(examples, 11)


def check_examples(text, directory):
    """Run each "  $ command" of a help text and compare what it prints."""
    wanted, commands = [], 0
    script = "exec 2>&1\n"
    for line in text.splitlines():
        if line.startswith("  $ "):
            commands += 1
            script += line[4:] + "\n"
        elif commands and line.startswith("  ") and script.endswith("\n") and wanted is not None:
            wanted.append(line[2:])
        if not line.startswith("  ") and commands:
            run_example(script, wanted, directory)
            script, wanted = "exec 2>&1\n", []
    run_example(script, wanted, directory)
    return commands


def run_example(script, wanted, directory):
    if script == "exec 2>&1\n":
        return
    environment = dict(os.environ, PATH=directory + ":" + os.environ["PATH"])
    done = subprocess.run(["bash", "-c", script], cwd=directory, env=environment, stdout=subprocess.PIPE,
                          text=True, check=False, timeout=60)
    equal(done.stdout.splitlines(), wanted, script)


TESTS = [test_features, test_truncations, test_reserved, test_cut_pipe, test_limits, test_hostile_heads,
         test_hostile_depth, test_big_input, test_big_value, test_several_files,
         test_standard_descriptors, test_stat_file, test_stat_several_files, test_stat_savings,
         test_stat_faults, test_no_ring,
         test_gone_reader, test_lines_come_at_once, test_options, test_help]

if __name__ == "__main__":
    sys.exit(support.run_tests(TESTS, Weir(support.program())))
