#!/usr/bin/env python3
"""weir diff: where the values of two files differ first, and what it says of files that are bad.

Usage: test_tools_diff.py [PROGRAM]. Prints TAP.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading

import tools_support as support
from tools_support import DOCUMENT, F32, MEGABYTE, RESERVED, Pairs, Weir, encode, equal, expect, parts, \
    place

SHOWN = 60
HINT = "Try 'weir diff --help'.\n"


class Files:
    """Two files, and runs of diff on them."""

    def __init__(self, weir, directory):
        self.weir = weir
        self.a, self.b = (pathlib.Path(directory, name) for name in "ab")

    def run(self, one, other, *options, **more):
        self.a.write_bytes(one)
        self.b.write_bytes(other)
        done = self.weir.run("diff", *options, str(self.a), str(self.b), **more)
        return done.returncode, done.stdout.decode(errors="backslashreplace"), done.stderr.decode()

    def same(self, one, other, *options):
        equal(self.run(one, other, *options), (0, "", ""), options)

    def differ(self, one, other, wanted_one, wanted_other, *options):
        """@wanted_: what stands behind the names of the files. Both ways, and without a word."""
        equal(self.run(one, other, *options), (1, f"{self.a}: {wanted_one}\n{self.b}: {wanted_other}\n", ""))
        equal(self.run(other, one, *options), (1, f"{self.a}: {wanted_other}\n{self.b}: {wanted_one}\n", ""))
        equal(self.run(one, other, "--quiet", *options), (1, "", ""))


def with_files(test):
    def run(weir):
        with tempfile.TemporaryDirectory() as directory:
            test(Files(weir, directory))
    run.__doc__ = test.__doc__
    return run


@with_files
def test_same(files):
    """files of the same values are the same, however they are encoded"""
    data = encode(DOCUMENT)
    files.same(b"", b"")
    files.same(data * 3, data * 3, "-e")
    longer = b"\xdd" + struct.pack(">I", len(DOCUMENT)) + data[3:]
    files.same(b"\x01\xc0" + data, b"\xcd\x00\x01\xc0" + longer)
    equal(files.weir.good("diff", "-", str(files.a), given=b"\x01\xc0" + data), b"")
    equal(files.weir.good("diff", str(files.a), str(files.a)), b"")


@with_files
def test_each_part(files):
    """diff finds each part of a document that is another one, by number, offset and path"""
    data, other = encode(DOCUMENT), b"\xcb\x40\x88\x4a\x00\x00\x00\x00\x00"
    before, before_other = b"\x07\xa1a", b"\xcc\x07\xd9\x01a"  # values of the same kind
    for at, _, _, _, path in parts(data)[1]:
        end, _ = parts(data, at)
        shown = files.weir.cat(data[at:end]).rstrip("\n")
        cut = len(shown) > SHOWN
        shown = shown[:SHOWN] + "..." if cut else shown
        wanted = (f"value 2, {place(at + len(before), path)}: {shown}",
                  f"value 2, {place(at + len(before_other), path)}: 777.25")
        if at % 7 != 0:  # the program is run three times for each
            equal(files.run(before + data, before_other + data[:at] + other + data[end:]),
                  (1, f"{files.a}: {wanted[0]}\n{files.b}: {wanted[1]}\n", ""))
        else:
            files.differ(before + data, before_other + data[:at] + other + data[end:], *wanted)


@with_files
def test_counts(files):
    """an array or map that goes on in one file only is told by its count"""
    files.differ(encode([1, 2]), encode([1, 2, 3]), "value 0, offset 0: an array of 2",
                 "value 0, offset 0: an array of 3")
    files.differ(encode({"k": [{}]}), encode({"k": [{"l": 1}]}), "value 0, offset 4, /k/0: a map of 0",
                 "value 0, offset 4, /k/0: a map of 1")
    # What differs before the end of the shorter one comes first.
    files.differ(encode([1, 2]), encode([1, 3, 3]), "value 0, offset 2, /1: 2", "value 0, offset 2, /1: 3")
    files.differ(encode([[1], 2]), encode([[1, 1], 3]), "value 0, offset 1, /0: an array of 1",
                 "value 0, offset 1, /0: an array of 2")
    files.differ(encode(Pairs([(1, 2), (3, 4)])), encode(Pairs([(3, 4), (1, 2)])),
                 "value 0, offset 1, /~@0: 1", "value 0, offset 1, /~@0: 3")


@with_files
def test_ends(files):
    """one file ends where the other goes on"""
    files.differ(b"", b"\x05", "value 0, offset 0: the end of the file", "value 0, offset 0: 5")
    files.differ(b"\x01\xa1x", b"\xcc\x01\xa1x" + encode(["x" * 100]) + b"\x07",
                 "value 2, offset 3: the end of the file",
                 f"value 2, offset 4: [\"{'x' * (SHOWN - 2)}...")


@with_files
def test_kinds(files):
    """values of different types are no more the same than they look in JSON"""
    for one, other in ((1, 1.0), (F32(1.5), 1.5), ("a", b"a"), (0.0, -0.0), (None, False), ([], {}), (1, "1")):
        shown = [files.weir.cat(encode(value)).rstrip() for value in (one, other)]
        expect(shown[0] != shown[1], one, other)
        files.differ(encode([one]), encode([other]), *(f"value 0, offset 1, /0: {text}" for text in shown))
    files.same(b"\xd6\xff\0\0\0\x07", b"\xd7\xff" + bytes(7) + b"\x07")
    files.same(b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf8" + bytes(6), "-e")


@with_files
def test_encodings(files):
    """--encoding tells values that are the same in other bytes, and shows the bytes"""
    files.differ(b"\x92\xc0\x01", b"\x92\xc0\xcd\x00\x01", "value 0, offset 2, /1: 1 (01)",
                 "value 0, offset 2, /1: 1 (cd 00 01)", "-e")
    files.differ(b"\x05\xa3abc", b"\x05\xd9\x03abc", 'value 1, offset 1: "abc" (a3 61 62 63)',
                 'value 1, offset 1: "abc" (d9 03 61 62 63)', "--encoding")
    files.differ(b"\x91\x01", b"\xdc\x00\x01\x01", "value 0, offset 0: [1] (91 01)",
                 "value 0, offset 0: [1] (dc 00 01 01)", "--encoding")
    bytes_shown = " ".join(["78"] * 14)
    files.differ(b"\xd9\x20" + b"x" * 32, b"\xda\x00\x20" + b"x" * 32,
                 f"value 0, offset 0: \"{'x' * 32}\" (d9 20 {bytes_shown} ...)",
                 f"value 0, offset 0: \"{'x' * 32}\" (da 00 20 {bytes_shown[3:]} ...)", "--encoding")
    # Another value is told as without the option.
    files.differ(b"\x01", b"\xcd\x00\x02", "value 0, offset 0: 1", "value 0, offset 0: 2", "--encoding")


@with_files
def test_cut(files):
    """what is long is cut between characters, and it is said how far strs and bins are the same"""
    for size in (SHOWN - 2, SHOWN - 1):
        text = "x" * size
        cut = size + 2 > SHOWN
        shown = f'"{text}...' + f" ({size} bytes, 0 as in the other)" if cut else f'"{text}"'
        files.differ(encode(text), encode("y"), f"value 0, offset 0: {shown}", 'value 0, offset 0: "y"')
    for shift in range(4):
        text = "x" * shift + "\u20ac" * 30
        whole = (SHOWN - 1 - shift) // 3
        files.differ(encode(text), encode(1), f"value 0, offset 0: \"{text[:shift + whole]}...",
                     "value 0, offset 0: 1")
    long_one, long_other = "x" * 200000 + "a", "x" * 200000 + "bc"
    files.differ(encode([long_one]), encode([long_other]),
                 f"value 0, offset 1, /0: \"{'x' * 59}... (200001 bytes, 200000 as in the other)",
                 f"value 0, offset 1, /0: \"{'x' * 59}... (200002 bytes, 200000 as in the other)")
    files.differ(encode("x" * 100), encode("x" * 101),
                 f"value 0, offset 0: \"{'x' * 59}... (100 bytes, 100 as in the other)",
                 f"value 0, offset 0: \"{'x' * 59}... (101 bytes, 100 as in the other)")
    files.differ(encode(list(range(100))), encode(None),
                 "value 0, offset 0: " + files.weir.cat(encode(list(range(100))))[:SHOWN] + "...",
                 "value 0, offset 0: null")
    # A key of the other side that a terminal would obey.
    files.differ(encode({"\x1b[2J": 1}), encode({"\x1b[2J": 2}), "value 0, offset 6, /\\x1b[2J: 1",
                 "value 0, offset 6, /\\x1b[2J: 2")


@with_files
def test_bad_files(files):
    """a bad file is no difference, one that cannot be opened neither"""
    a, b = files.a, files.b
    reserved = f"offset 1: {RESERVED}\n"
    equal(files.run(b"\x01\xc1", b"\x01\x02"), (65, "", f"weir diff: {a}: {reserved}"))
    equal(files.run(b"\x01\x02", b"\x01\xc1", "-q"), (65, "", f"weir diff: {b}: {reserved}"))
    equal(files.run(b"\x01\x91\xc1", b"\x01"), (65, "", f"weir diff: {a}: offset 2, /0: {RESERVED}\n"))
    equal(files.run(b"\x01", b"\x01\x92\x05"),
          (65, "", f"weir diff: {b}: offset 1: the bytes end within an array\n"))
    # What lies behind the first difference is not looked at.
    equal(files.run(b"\x01\xc1", b"\x02\x02")[0::2], (1, ""))
    deep = b"\x91" * 200 + b"\0"
    equal(files.run(deep, deep)[0], 65)
    equal(files.run(deep, deep, "-d200"), (0, "", ""))
    equal(files.run(encode("x" * 100), b"\xc0", "--max-value=50"),
          (65, "", f"weir diff: {a}: offset 0: a message above the limit of bytes\n"))
    none = f"{a}/none", f"{b}.none"
    files.weir.bad(66, f"weir diff: {none[1]}: No such file or directory\n", "diff", str(a), none[1])
    files.weir.bad(66, f"weir diff: {none[0]}: Not a directory\nweir diff: {none[1]}: No such file or "
                   "directory\n", "diff", *none)
    os.mkdir(f"{a}.d")
    files.weir.bad(66, f"weir diff: {a}.d: Is a directory\n", "diff", f"{a}.d", str(a))


@with_files
def test_usage(files):
    """wrong usage, and an output that takes nothing"""
    weir = files.weir
    for arguments in ((), ("a",), ("a", "b", "c")):
        weir.bad(64, "weir diff: two files are expected\n" + HINT, "diff", *arguments)
    weir.bad(64, "weir diff: standard input cannot be both files\n" + HINT, "diff", "-", "-")
    weir.bad(64, "weir diff: unrecognized option '--frob'\n" + HINT, "diff", "--frob")
    weir.bad(64, f"weir diff: --depth needs a number of 1..1024, not '1025'\n{HINT}", "diff", "-d1025")
    weir.bad(64, "weir diff: --max-value needs a number of 1..4294967295 bytes (K, M and G may follow it), not "
             f"'x'\n{HINT}", "diff", "--max-value=x")
    with open("/dev/full", "wb") as full:
        files.run(b"\x01", b"\x02")
        done = weir.run("diff", str(files.a), str(files.b), stdout=full)
        equal((done.returncode, done.stderr),
              (74, b"weir diff: writing to standard output: No space left on device\n"))
        equal(weir.run("diff", "-q", str(files.a), str(files.b), stdout=full).returncode, 1)


@with_files
def test_big(files):
    """two files of 100 MB in constant memory, one through a pipe; the last value differs"""
    weir = files.weir
    record = encode({"id": 123456, "name": "a name of some length", "tags": ["x", "y"], "data": b"z" * 150})
    # The same values in other bytes, so that all are looked into.
    other = record.replace(encode(123456), b"\xcf" + struct.pack(">Q", 123456))
    count, chunks = MEGABYTE // len(record), support.big_chunks(weir)
    with open(files.a, "wb") as out:
        for _ in range(chunks):
            out.write(record * count)
        out.write(b"\x01")
    child = subprocess.Popen([weir.program, "diff", str(files.a), "-"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, preexec_fn=weir.bound(support.LITTLE_MEMORY))

    def feed():
        with child.stdin:
            for _ in range(chunks):
                child.stdin.write(other * count)
            child.stdin.write(b"\x02")
    thread = threading.Thread(target=feed)
    thread.start()
    said = child.stdout.read().decode()
    thread.join()
    child.stdout.close()
    values = count * chunks
    equal((child.wait(timeout=60), said),
          (1, f"{files.a}: value {values}, offset {values * len(record)}: 1\n"
              f"(stdin): value {values}, offset {values * len(other)}: 2\n"))


TESTS = [test_same, test_each_part, test_counts, test_ends, test_kinds, test_encodings, test_cut,
         test_bad_files, test_usage, test_big]

if __name__ == "__main__":
    sys.exit(support.run_tests(TESTS, Weir(support.program())))
