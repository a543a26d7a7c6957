#!/usr/bin/env python3
"""What the program weir does to the values of a file: forms that check is asked to insist on, parts
that cat is asked to show, and as MessagePack-C shows them.

Usage: test_tools_values.py [PROGRAM]. WEIR_TEST_SEED sets the seed. Prints TAP.
"""

import os
import random
import struct
import sys
import tempfile

import tools_support as support
from tools_support import DOCUMENT, MEGABYTE, Ext, Pairs, RawStr, Weir, big_chunks, encode, equal, expect, \
    parts, piped, place

SEED = int(os.environ.get("WEIR_TEST_SEED", "20261123"), 0)
TWICE = "a key that was there before"
ORDER = "a key that is not in the order of their bytes"
INTEGER = "an integer that is not in its shortest form"
LENGTH = "a length that is not in its shortest form"
NO_UTF8 = "a str that is not UTF-8"


def sorted_maps(value):
    """The value with the pairs of its maps in canonical order, from the description of it."""
    if isinstance(value, (dict, Pairs)):
        pairs = value if isinstance(value, Pairs) else value.items()
        return Pairs(sorted(((key, sorted_maps(item)) for key, item in pairs),
                            key=lambda pair: encode(pair[0])))
    return [sorted_maps(item) for item in value] if isinstance(value, list) else value


def longer_forms(data):
    """(offset, path, data with one value in a longer form, whether it is an integer) for each value
    that has such a form."""
    for at, head_end, name, _, path in parts(data)[1]:
        tag, longer = data[at], None
        if name == "an integer" and tag < 0x80:
            longer = b"\xcc" + data[at:at + 1]
        elif name == "an integer" and tag >= 0xe0:
            longer = b"\xd1\xff" + data[at:at + 1]
        elif name == "a str" and tag < 0xc0:
            longer = b"\xd9" + bytes([tag & 31])
            head_end = at + 1
        elif name in ("an array", "a map") and tag < 0xa0:
            longer = (b"\xdc" if tag >= 0x90 else b"\xdf\0\0") + bytes([0, tag & 15])
        elif tag == 0xc4:
            longer = b"\xc5\0" + data[at + 1:at + 2]
            head_end = at + 2
        elif tag == 0xd4:
            longer = b"\xc7\x01"
            head_end = at + 1
        if longer is not None:
            yield at, path, data[:at] + longer + data[head_end:], name == "an integer"


def test_canonical(weir):
    """check --canonical takes the shortest and sorted form and says where a value has another one"""
    data = encode(sorted_maps(DOCUMENT))
    weir.good("check", "--canonical", given=data * 3)
    cases = 0
    for offset, path, longer, is_integer in longer_forms(data):
        wanted = f"(stdin): {place(offset + len(data), path)}: {INTEGER if is_integer else LENGTH}\n"
        weir.bad(1, wanted, "check", "--canonical", given=data + longer)
        weir.good("check", given=data + longer)
        cases += 1
    expect(cases > 50, cases)
    for given, offset, path, reason in (
            (b"\x82\xa1b\0\xa1a\0", 4, "/~@1", ORDER), (b"\x82\xa1b\0\x01\0", 4, "/~@1", ORDER),
            (b"\x82\xa1b\0\xa1b\0", 4, "/~@1", TWICE), (b"\x91\x82\xa1b\0\xa1b\0", 5, "/0/~@1", TWICE),
            (b"\xcf" + bytes(8), 0, "", INTEGER), (b"\xd0\x05", 0, "", INTEGER)):
        weir.bad(1, f"(stdin): {place(offset, path)}: {reason}\n", "check", "--canonical", given=given)


def test_unique_keys(weir):
    """check --unique-keys says where a map has a key again"""
    weir.good("check", "--unique-keys", given=encode(DOCUMENT) * 2)
    for keys, equal_ones in ((("a", "b", "a"), True), ((1, 1.0, "1", RawStr(b"1"), b"1"), True),
                             ((1, 1.0, "1", b"1", True, None), False), ((Ext(1, b"x"), Ext(2, b"x")), False),
                             (([1], [2], [1]), True), ((b"b", b"b"), True)):
        given = b"\x05" + encode([Pairs((key, key) for key in keys)])
        if not equal_ones:
            weir.good("check", "--unique-keys", given=given)
            continue
        encoded = [encode(key) for key in keys]
        index = next(n for n, key in enumerate(encoded) if key in encoded[:n])
        offset = 3 + 2 * sum(map(len, encoded[:index]))
        weir.bad(1, f"(stdin): offset {offset}, /0/~@{index}: {TWICE}\n", "check", "--unique-keys",
                 given=given)
        weir.good("check", given=given)
    # The same number in another form is the same key; the order does not matter.
    weir.bad(1, f"(stdin): offset 5, /~@2: {TWICE}\n", "check", "--unique-keys",
             given=b"\x83\x07\0\x01\0\xcd\x00\x07\0")
    # Many keys, in no order, the last one twice.
    keys = list(range(100000))
    random.Random(1).shuffle(keys)
    data = b"\xdf" + struct.pack(">I", len(keys) + 1)
    body = b"".join(encode(key) + b"\xc0" for key in keys)
    weir.good("check", "--unique-keys", given=data + body + b"\xa0\xc0")
    weir.bad(1, f"(stdin): offset {5 + len(body)}, /~@{len(keys)}: {TWICE}\n", "check", "--unique-keys",
             given=data + body + encode(keys[-1]) + b"\xc0")


def test_utf8(weir):
    """check --utf8 says where a str is none; a bin may be anything"""
    weir.good("check", "--utf8", given=encode(["\u00fc\u20ac\U0001f600", b"\xff", {"k\u00e9": Ext(1, b"\xff")}]))
    for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xc3", b"abc\xf4\x90\x80\x80", b"x" * 300 + b"\x80"):
        data = encode([1, {"k": RawStr(text)}])
        weir.bad(1, f"(stdin): offset 5, /1/k: {NO_UTF8}\n", "check", "--utf8", given=data)
        weir.bad(1, f"(stdin): offset 3, /~@0: {NO_UTF8}\n", "check", "--utf8",
                 given=b"\0\1\x81" + encode(RawStr(text)) + b"\0")
        weir.good("check", given=data)


def test_first_fault(weir):
    """of several faults check names the first, however the flags are combined"""
    data = b"\x94\xcc\x01\xa1\xff\x82\x01\x01\x01\x01"
    flags = ("--canonical", "--utf8", "--unique-keys")
    for chosen, offset, path, reason in (
            ((0,), 1, "/0", INTEGER), ((1,), 3, "/1", NO_UTF8), ((2,), 8, "/2/~@1", TWICE),
            ((0, 1, 2), 1, "/0", INTEGER), ((1, 2), 3, "/1", NO_UTF8)):
        options = [flags[n] for n in chosen]
        for rest in (b"\xc0", b"\xc1", b""):  # good, with the reserved byte, cut off
            weir.bad(1, f"(stdin): offset {offset}, {path}: {reason}\n", "check", *options,
                     given=data + rest)
    weir.bad(1, "(stdin): offset 10, /3: the reserved byte 0xc1\n", "check", given=data + b"\xc1")


RECORD = encode(sorted_maps({"id": 123456, "name": "a name of some length", "tags": ["x", "y"],
                             "data": b"z" * 150}))


def big(weir):
    """A chunk of about a megabyte and how often it makes a large file."""
    return RECORD * (MEGABYTE // len(RECORD)) + encode("s" * 100000), big_chunks(weir)


def test_fault_among_small(weir):
    """a fault among small values, wherever it lies in a piece that is read, is found at its place"""
    rng = random.Random(SEED)
    good = [encode([rng.randrange(1 << rng.randrange(33)), {"k": "x" * rng.randrange(9)}])
            for _ in range(20000)]
    faults = ((b"\x92\x01\xc1", 2, "/1", support.RESERVED, ()),
              (b"\x91\x81\xa1k\x90", 4, "/0/k", "nested deeper than the limit", ("--depth=2",)),
              (b"\x91\xa2\xc3(", 1, "/0", NO_UTF8, ("--utf8",)),
              (b"\x82\x01\x02\x01\x03", 3, "/~@1", TWICE, ("--unique-keys",)))
    size = sum(map(len, good))
    expect(size > 3 * 65536, size)
    lines = weir.cat(b"".join(good)).splitlines(keepends=True)
    for number in range(16):
        fault, offset, path, reason, options = faults[number % len(faults)]
        index = rng.randrange(len(good))
        before = b"".join(good[:index])
        given = before + fault + b"".join(good[index:])
        where = f"(stdin): {place(len(before) + offset, path)}: {reason}\n"
        weir.bad(1, where, "check", *options, given=given)
        if number % len(faults) < 2:
            weir.bad(1, "weir cat: " + where, "cat", *options, given=given,
                     stdout="".join(lines[:index]).encode())


def test_check_big(weir):
    """100 MB through a pipe in constant memory, all forms checked"""
    chunk, count = big(weir)
    for options in (["--canonical", "--utf8"], ["--utf8", "--unique-keys"]):
        equal(piped(weir, ["check", *options], chunk, count), (0, 0), options)


def test_cat_path(weir):
    """cat --path shows what the path of every part of a document leads to, and nothing else"""
    data = encode(DOCUMENT)
    for at, _, _, _, path in parts(data)[1]:
        end, _ = parts(data, at)
        for option in (("--path", path), ("-p" + path,)) if path else (("--path=",),):
            equal(weir.cat(b"\x05" * (path == "") + data, *option),
                  "5\n" * (path == "") + weir.cat(data[at:end]), path)
    given = encode({"a/b": 1, "m~n": 2, "": 3, "7": 4, "\u00fc": 5}) + encode(Pairs([(7, 6), (None, 8)]))
    for path, wanted in (("/a~1b", "1\n"), ("/m~0n", "2\n"), ("/", "3\n"), ("/7", "4\n6\n"), ("/\u00fc", "5\n"),
                         ("/~@1", '"m~n"\nnull\n'), ("/~#1", "2\n8\n")):
        equal(weir.cat(given, "--path", path), wanted, path)


def test_cat_path_missing(weir):
    """cat --path leaves out values without it; if all are, the status says so"""
    given = encode([1, 2]) + encode({"k": 1}) + encode([3]) + encode("x") + encode([4, [5]])
    equal(weir.cat(given, "--path=/1"), "2\n[5]\n")
    equal(weir.cat(given, "--path=/k"), "1\n")
    for path in ("/2", "/k/0", "/01", "/-", "/1/1", "/nothing/at/all"):
        weir.bad(1, "", "cat", "--path", path, given=given)
        weir.bad(1, "", "cat", "--path", path)
    for path in ("x", "/~", "/a~2", "0", "/~@", "/a/~#x"):
        weir.bad(64, f"weir cat: --path needs a JSON pointer as /orders/3, not '{path}'\n"
                 "Try 'weir cat --help'.\n", "cat", "--path", path, given=given)
    weir.bad(64, "weir cat: option '--path' requires an argument\nTry 'weir cat --help'.\n", "cat", "--path")
    # A value is shown after it was checked, whatever lies behind the part.
    weir.bad(1, "weir cat: (stdin): offset 2, /1: the reserved byte 0xc1\n", "cat", "--path=/0",
             given=b"\x92\x01\xc1")
    deep = b"\x91" * 1024 + b"\x07"
    equal(weir.cat(deep, "--depth=1024", "--path=" + "/0" * 1024), "7\n")


def raw_of(value):
    """What MessagePack-C prints of a value."""
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:f}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bytes):
        return '"' + "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in value) + '"'
    if isinstance(value, Ext):
        return f"(ext: {value.code})" + raw_of(value.data)
    if isinstance(value, (dict, Pairs)):
        pairs = value if isinstance(value, Pairs) else value.items()
        return "{" + ", ".join(f"{raw_of(key)}=>{raw_of(item)}" for key, item in pairs) + "}"
    return "[" + ", ".join(map(raw_of, value)) + "]"


def test_cat_raw(weir):
    """cat --raw prints values as MessagePack-C does, a line each"""
    values = [*DOCUMENT, DOCUMENT, [-1.5, "\u00fc\n", b"\0\xff~"]]
    text = "".join(raw_of(value) + "\n" for value in values)
    equal(weir.cat(b"".join(map(encode, values)), "--raw"), text)
    equal(weir.cat(b"".join(map(encode, values)), "-r", "--path="), text)
    equal(weir.cat(encode(DOCUMENT), "-r", "-p/20/k"), '{"l"=>[1]}\n')
    weir.bad(1, "weir cat: (stdin): offset 2: the reserved byte 0xc1\n", "cat", "--raw", given=b"\1\xc0\xc1",
             stdout=b"1\nnil\n")
    equal(weir.cat(b"\x91" * 1024 + b"\x07", "--raw", "--depth=1024"), "[" * 1024 + "7" + "]" * 1024 + "\n")
    with open("/dev/full", "wb") as full:
        for given in (b"\x01", encode("s" * 200000) * 3):
            done = weir.run("cat", "--raw", given=given, stdout=full)
            equal((done.returncode, done.stderr),
                  (74, b"weir cat: writing to standard output: No space left on device\n"))


def test_cat_big(weir):
    """100 MB through a pipe in constant memory, a part of each value, and raw"""
    chunk, count = big(weir)
    shown = MEGABYTE // len(RECORD) * count
    equal(piped(weir, ["cat", "--path=/tags/1"], chunk, count), (0, 4 * shown))
    status, size = piped(weir, ["cat", "--raw"], chunk, count)
    expect(status == 0 and size > len(chunk) * count, status, size)


SCHEMA = {
    "schema": 1,
    "enums": [{"name": "side", "values": [{"name": "buy", "number": 1}, {"name": "sell", "number": -2}]}],
    "records": [
        {"name": "leg", "layout": "array", "fields": [
            {"name": "symbol", "type": "str"},
            {"name": "side", "type": "enum", "of": "side", "presence": "optional"}]},
        {"name": "spread", "layout": "map", "fields": [
            {"name": "id", "type": "u16"},
            {"name": "price", "key": "px", "type": "f64", "presence": "default"},
            {"name": "at", "type": "timestamp", "presence": "optional"},
            {"name": "legs", "type": "array", "element": "record", "of": "leg"},
            {"name": "first", "type": "record", "of": "leg", "presence": "optional"},
            {"name": "code", "type": "chars", "bytes": 3, "presence": "optional"}]}]}


def test_cat_schema(weir):
    """cat --schema shows records with the names of fields and enums, and tells what is no such record"""
    with tempfile.TemporaryDirectory() as place_of_files:
        path = place_of_files + "/schema"
        with open(path, "wb") as file:
            file.write(encode(SCHEMA))
        legs = [["A", 1], ["B"], ["C", -2, "more"], ["D", 7]]
        given = encode({"unknown": [1], "px": 1.5, "legs": legs, "id": 7}) + \
            encode({"id": 8, "at": Ext(-1, b"\0\0\0\x05"), "legs": [], "first": ["F", -2], "code": "abc"})
        shown = '{"id":7,"price":1.5,"legs":[{"symbol":"A","side":"buy"},{"symbol":"B"},' \
            '{"symbol":"C","side":"sell"},{"symbol":"D"}]}\n' \
            '{"id":8,"at":{"$time":"1970-01-01T00:00:05Z"},"legs":[],"first":{"symbol":"F","side":"sell"},' \
            '"code":"abc"}\n'
        equal(weir.cat(given, "--schema", path), shown)
        equal(weir.cat(given, "-s", path, "--path=/legs/0/side"), '"buy"\n')
        equal(weir.cat(given, "-s", path, "-r", "-p/first"), '{"symbol"=>"F", "side"=>"sell"}\n')
        equal(weir.cat(b"", "-s", path), "")
        for value, offset, what in (
                ({"id": 1}, 0, "spread, field legs: is required and missing (ENOENT)"),
                ({"id": -1, "legs": []}, 4, "spread, field id: is too large for its type (EOVERFLOW)"),
                ({"id": "1", "legs": []}, 4, "spread, field id: is of another type or size (EPROTO)"),
                ({"id": 1, "legs": [["A"], ["B", "C"]]}, 17,
                 "leg, field side: is no value of the enum (EPROTO)"),
                ({"id": 1, "legs": [["A"], {}]}, 14, "leg: is of another type or size (EPROTO)"),
                ([], 0, "spread: is of another type or size (EPROTO)")):
            where = len(given) + offset
            weir.bad(1, f"weir cat: (stdin): offset {where}: record {what}\n", "cat", "--schema", path,
                     given=given + encode(value) + given, stdout=(shown + shown).encode())


def test_cat_schema_wrong(weir):
    """cat --schema wants one value that is a schema"""
    with tempfile.TemporaryDirectory() as place_of_files:
        path = place_of_files + "/schema"
        for content, reason in (
                (b"", "a schema is one value"),
                (encode(SCHEMA) * 2, "a schema is one value"),
                (encode(SCHEMA)[:-1], "offset {cut}"),
                (b"\x05", "offset 0: no schema: what is no schema (EPROTO)"),
                (encode({"schema": 2, "records": []}), "offset 0: no schema: a schema of another version (EINVAL)"),
                (encode({"schema": 1, "records": 1}), "offset 17: no schema: records (EPROTO)")):
            with open(path, "wb") as file:
                file.write(content)
            done = weir.run("cat", "-s", path, given=b"\x01")
            equal((done.returncode, done.stdout), (1, b""), reason)
            wanted = f"weir cat: {path}: " + reason.replace("{cut}", "")
            expect(done.stderr.decode().startswith(wanted), done.stderr)
        done = weir.run("cat", "--schema", place_of_files + "/none", given=b"\x01")
        equal((done.returncode, done.stdout), (66, b""))


TESTS = [test_cat_schema, test_cat_schema_wrong, test_canonical, test_unique_keys, test_utf8,
         test_first_fault, test_fault_among_small, test_check_big, test_cat_path,
         test_cat_path_missing, test_cat_raw, test_cat_big]

if __name__ == "__main__":
    print(f"# WEIR_TEST_SEED={SEED}")
    sys.exit(support.run_tests(TESTS, Weir(support.program())))
