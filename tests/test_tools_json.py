#!/usr/bin/env python3
"""weir pack and weir cat: what they make of each other's output, of python3-msgpack's, and of JSON
that is none.

Usage: test_tools_json.py [PROGRAM]. WEIR_TEST_SEED sets the seed of the random documents.
"""

import json
import math
import os
import random
import struct
import sys

import tools_support as support
from tools_support import (Ext, F32, Pairs, RawFloat, RawStr, Weir, Wrong, encode, equal, expect,
                           json_of)

SEED = int(os.environ.get("WEIR_TEST_SEED", "20240917"), 0)
POWERS = sorted({sign * (2 ** bits + near) for bits in range(65) for near in (-1, 0, 1)
                 for sign in (1, -1)} | {0})
INTEGERS = [number for number in POWERS if -2 ** 63 <= number < 2 ** 64]
NANS = [RawFloat(bytes.fromhex(bits)) for bits in
        ("7fc00000", "7f800000", "ff800000", "7f800001", "ffc00000", "7fffffff",
         "7ff8000000000000", "7ff0000000000000", "fff0000000000000", "7ff0000000000001",
         "fff8000000000000", "7fffffffffffffff")]
FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 123456789012345.6, 1e-4, 1e-5, 5e-324, 1e22, 1e23,
          2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, 9007199254740993.0]
SINGLES = [F32(x) for x in (0.0, -0.0, 1.0, -2.5, 0.125, 1e9, 65504.0, 1.5e-5, 3.0e38)]
SIZES = (0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 255, 256, 257, 65535, 65536)


def both_ways(weir, *values):
    """cat shows these values as expected, and pack makes the same bytes of that again."""
    data = b"".join(map(encode, values))
    lines = "".join(json_of(value) + "\n" for value in values)
    equal(weir.cat(data), lines)
    equal(weir.pack(lines), data)


def test_integers(weir):
    """integers around every power of two are exact, both ways"""
    both_ways(weir, *INTEGERS)
    both_ways(weir, INTEGERS)


def test_wide_integers(weir):
    """integers in a longer form than they need are shown the same, and packed short"""
    wide = b"\xcc\x01\xcd\0\x01\xce\0\0\0\x01\xcf" + b"\0" * 7 + b"\x01" + b"\xd0\x01\xd1\xff\xff" \
        b"\xd2\xff\xff\xff\xff\xd3" + b"\xff" * 8 + b"\xd3" + b"\0" * 7 + b"\x80"
    text = weir.cat(wide)
    equal(text.split(), "1 1 1 1 1 -1 -1 -1 128".split())
    equal(weir.pack(text), b"\x01" * 5 + b"\xff" * 3 + b"\xcc\x80")


def test_floats(weir):
    """floats of 64 bits read as Python writes them, special ones by name or bits"""
    both_ways(weir, *FLOATS, *NANS)


def test_many_floats(weir):
    """120,000 floats of 64 bits, every power of two among them, come out as by repr()"""
    source = random.Random(SEED)
    bits = [source.getrandbits(64) for _ in range(60000)]
    bits += [power << 52 for power in range(2047)] + [(power << 52) - 1 for power in range(1, 2047)]
    bits += [source.getrandbits(source.randint(1, 52)) for _ in range(10000)]
    numbers = [struct.unpack(">d", struct.pack(">Q", each))[0] for each in bits]
    numbers += [round(source.uniform(-1e4, 1e4), source.randint(0, 6)) for _ in range(26000)]
    # An integer by a power of ten, and what is next to it.
    for _ in range(10000):
        near = source.randrange(10 ** source.randint(1, 17)) / 10.0 ** source.randint(0, 18)
        numbers += [near, -math.nextafter(near, math.inf)]
    numbers += [sign * power for power in map(float, (f"1e{n}" for n in range(-20, 20))) for sign in (1, -1)]
    numbers = [number for number in numbers if number - number == 0]
    both_ways(weir, *numbers)


def single(number):
    return struct.unpack(">f", struct.pack(">f", number))[0]


def is_shortest(text, number):
    """Whether no decimal of fewer digits reads back as the float of 32 bits."""
    digits = len(text.lstrip("-").split("e")[0].replace(".", "").strip("0"))
    if digits <= 1:
        return True
    mantissa, exponent = f"{number:.{digits - 2}e}".split("e")
    step = 10.0 ** -(digits - 2) if digits > 2 else 1.0
    for near in (-step, 0, step):
        candidate = float(f"{float(mantissa) + near:.{max(digits - 2, 0)}f}e{exponent}")
        try:
            if single(candidate) == number:
                return False
        except OverflowError:
            pass
    return True


def test_singles(weir):
    """floats of 32 bits stay such, with the shortest digits"""
    both_ways(weir, *SINGLES)
    source = random.Random(SEED)
    bits = [source.getrandbits(32) for _ in range(20000)]
    bits += [power << 23 for power in range(255)] + [(power << 23) - 1 for power in range(1, 255)]
    bits += [source.getrandbits(source.randint(1, 23)) for _ in range(3000)]
    numbers = [struct.unpack(">f", struct.pack(">I", each))[0] for each in bits]
    numbers = [number for number in numbers if number - number == 0]
    data = b"".join(encode(F32(number)) for number in numbers)
    lines = weir.cat(data)
    equal(weir.pack(lines), data)
    for line, number in zip(lines.splitlines(), numbers):
        text = line[len('{"$f32":'):-1]
        expect(line.startswith('{"$f32":') and single(float(text)) == number, line, number)
        expect("." in text or "e" in text, line)
        expect(is_shortest(text, number), line, "is not shortest for", number)


def test_bytes(weir):
    """str, bin and ext of every length form"""
    source = random.Random(SEED)
    for size in SIZES:
        both_ways(weir, "x" * size, source.randbytes(size), Ext(5, source.randbytes(size)),
                  RawStr(b"\xff" + b"x" * size))
    both_ways(weir, *(Ext(code, b"ab") for code in (-128, -2, -1, 0, 1, 127)))


def test_text(weir):
    """every character of one byte, and some of more, in strings and keys"""
    ascii_text = "".join(map(chr, range(128)))
    both_ways(weir, ascii_text, "é€😀\u2028\ufeff\U0010ffff", {ascii_text[1:]: 1, "é": 2, "😀": 3})
    equal(weir.cat(encode("\0\x01\b\t\n\v\f\r\x1f\x7f\"\\/")),
          '"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\\"\\\\/"\n')
    equal(weir.pack(r'"\u0000\ud83d\ude00\u00e9\/\u000A"'), encode("\0😀é/\n"))
    both_ways(weir, *map(RawStr, (b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82",
                                  b"\x80", b"a" * 20 + b"\xf0\x9f\x98")))


def test_maps(weir):
    """maps are JSON objects when they can be, $map otherwise"""
    many = [f"key{number}" for number in range(1000)]
    both_ways(weir, {}, {"": 1}, {"a": {"b": {}}}, dict.fromkeys(many, 0),
              Pairs([(1, "one"), ("two", 2)]), Pairs([("a", 1), ("a", 2)]), Pairs([("a\0b", 1)]),
              Pairs([(RawStr(b"\xff"), None)]), Pairs([(name, 0) for name in many + ["key500"]]),
              Pairs([(Pairs([(None, [])]), {"x": Pairs([(b"", F32(1))])}), ("y", {})]),
              Pairs([({"a": 1}, 1), ("b", {"c": 2})]), Pairs([(1.5, 1), (True, 2), (b"k", 3)]),
              {"a": Pairs([(1, {"b": {"c": Pairs([(2, {"d": 1})])}})]), "e": {"f": {}}})
    for form in support.FORMS:
        both_ways(weir, {form: 1}, {form: [5, "aGk="]}, {form: "aGk=", "x": 1}, {"x": {form: {}}},
                  {form + "x": 1}, {form[:-1]: 1})


def test_many_keys(weir):
    """keys that are hard on a table: 16, 17 and 200,000 of them, with and without a repetition"""
    for count in (15, 16, 17, 18, 31, 32, 33, 200000):
        names = [str(number) for number in range(count)]
        both_ways(weir, dict.fromkeys(names, 0), Pairs([(name, 0) for name in names + names[-1:]]),
                  Pairs([(name, 0) for name in names[:1] + names]))


def test_nested_maps(weir):
    """a map inside a map, 120 deep, each with many keys behind it: linear, not depth times size"""
    document = "x" * 5000000
    for level in range(120):
        document = {"a": document, **dict.fromkeys(map(str, range(level)), 0)}
    both_ways(weir, document)


TIMES = {
    "1970-01-01T00:00:00Z": "d6ff00000000",
    "2001-02-03T04:05:06Z": "d6ff3a7b8372",
    "2106-02-07T06:28:15Z": "d6ffffffffff",
    "2106-02-07T06:28:16Z": "d7ff0000000100000000",
    "2001-02-03T04:05:06.789000000Z": "d7ffbc1cbd003a7b8372",
    "1970-01-01T00:00:00.000000001Z": "d7ff0000000400000000",
    "2514-05-30T01:53:03.999999999Z": "d7ffee6b27ffffffffff",
    "2514-05-30T01:53:04Z": "c70cff000000000000000400000000",
    "1969-12-31T23:59:59.999999999Z": "c70cff3b9ac9ffffffffffffffffff",
    "0000-01-01T00:00:00Z": "c70cff00000000fffffff1868b8400",
    "9999-12-31T23:59:59.999999999Z": "c70cff3b9ac9ff0000003afff4417f",
    "2000-02-29T12:00:00Z": "d6ff38bbb4c0",
}
NO_TIMES = ["c70cff00000000fffffff1868b83ff", "c70cff000000000000003afff44180", "d7ffee6b280000000000",
            "c703ff000000", "d4ff00", "d8ff00000000000000000000000000000000", "c700ff"]


def test_times(weir):
    """timestamps of every form, and what is an ext -1 but none of them"""
    for text, data in TIMES.items():
        data = bytes.fromhex(data)
        equal(weir.cat(data), f'{{"$time":"{text}"}}\n')
        equal(weir.pack(f'{{"$time":"{text}"}}'), data, text)
    for text in NO_TIMES:
        data = bytes.fromhex(text)
        line = weir.cat(data)
        expect(line.startswith('{"$ext":[-1,"'), text, line)
        equal(weir.pack(line), data)
    equal(weir.pack('{"$time":"2001-02-03T04:05:06.5Z"}'), bytes.fromhex("d7ff773594003a7b8372"))


def random_value(source, depth):
    kinds = [lambda: None, lambda: source.random() < 0.5, lambda: source.choice(INTEGERS),
             lambda: source.choice(FLOATS), lambda: source.choice(SINGLES),
             lambda: source.choice(NANS), lambda: random_text(source),
             lambda: source.randbytes(source.choice((0, 1, 7, 40))),
             lambda: Ext(source.choice((-128, -2, 0, 127)), source.randbytes(source.randrange(20))),
             lambda: RawStr(source.randbytes(source.randrange(6)))]
    if depth > 0:
        items = range(source.choice((0, 1, 2, 3, 16, 17)))
        kinds += 4 * [lambda: [random_value(source, depth - 1) for _ in items],
                      lambda: {random_text(source): random_value(source, depth - 1) for _ in items},
                      lambda: Pairs([(random_value(source, depth - 1),
                                      random_value(source, depth - 1)) for _ in items[:4]])]
    return source.choice(kinds)()


def random_text(source):
    letters = "ab$\"\\/\n\0\x1f\x7fé€😀 mapstr"
    return source.choice(support.FORMS) if source.random() < 0.1 else \
        "".join(source.choices(letters, k=source.choice((0, 1, 2, 5, 31, 32, 300))))


def test_random(weir):
    """random documents of all types"""
    print(f"# seed {SEED}")
    source = random.Random(SEED)
    both_ways(weir, *(random_value(source, 4) for _ in range(1500)))


def test_python_packs(weir):
    """what python3-msgpack packs is shown, and packed again to the same bytes"""
    msgpack = support.need_msgpack()
    source = random.Random(SEED + 1)
    values = INTEGERS + FLOATS + ["", "é", b"\0\xff", [], {}, {"k": [1, {"b": None}]}, True, None,
                                  msgpack.ExtType(3, b"abc"), msgpack.Timestamp(981173106, 789)]
    values += [json_like(source, 4) for _ in range(300)]
    data = b"".join(msgpack.packb(value, use_bin_type=True) for value in values)
    equal(weir.pack(weir.cat(data)), data)
    singles = b"".join(msgpack.packb(float(each), use_single_float=True) for each in SINGLES)
    equal(weir.pack(weir.cat(singles)), singles)


def json_like(source, depth):
    kind = source.randrange(7 if depth > 0 else 5)
    if kind == 5:
        return [json_like(source, depth - 1) for _ in range(source.randrange(20))]
    if kind == 6:
        return {f"k{number}": json_like(source, depth - 1) for number in range(source.randrange(20))}
    return (source.choice(INTEGERS), source.choice(FLOATS), source.random() < 0.5, None,
            random_text(source))[kind]


def test_python_unpacks(weir):
    """what weir packs is read by python3-msgpack as Python reads the JSON"""
    msgpack = support.need_msgpack()
    source = random.Random(SEED + 2)
    values = [json_like(source, 5) for _ in range(300)]
    data = weir.pack("\n".join(json.dumps(value) for value in values))
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(data)
    equal(list(unpacker), values)
    equal(msgpack.unpackb(weir.pack('{"$time":"2001-02-03T04:05:06.000000789Z"}')),
          msgpack.Timestamp(981173106, 789))
    equal(msgpack.unpackb(weir.pack('{"$map":[[1,{"$bin":"AP8="}],[{"$ext":[3,""]},null]]}'),
                          strict_map_key=False), {1: b"\0\xff", msgpack.ExtType(3, b""): None})


GOOD_JSON = [
    ("0", "00"), ("-0", "00"), ("-0.0", "cb8000000000000000"), ("1.0", "cb3ff0000000000000"),
    ("1e2", "cb4059000000000000"), ("1E+2", "cb4059000000000000"), ("1e-999", "cb0000000000000000"),
    ("18446744073709551615", "cfffffffffffffffff"), ("-9223372036854775808", "d38000000000000000"),
    ("18446744073709551616.0", "cb43f0000000000000"), ("99999999999999999999e0", "cb4415af1d78b58c40"),
    ("", ""), (" \n\t\r ", ""), ("1 2\n3", "010203"), ("[][]{}{}", "90908080"),
    ('"a""b"', "a161a162"), ('1"a"2', "01a16102"), ("true[1]null", "c39101c0"), ("1\n", "01"),
    ("[1,2]", "920102"), (" [ 1 , 2 ] ", "920102"), ('{ "a" : { } }', "81a16180"), ("[[[]]]", "919190"),
    ('"\\u0061\\"\\\\\\/\\b\\f\\n\\r\\t"', "a961225c2f080c0a0d09"), ('{"\\u0061":1}', "81a16101"),
    ('{"$f32":1}', "ca3f800000"), ('{"$f32":16777217}', "ca4b800000"), ('{"$f32":0.1}', "ca3dcccccd"),
    ('{"$f32":1.00000017881393432617187499}', "ca3f800001"), # would be ...02 by way of a double
    ('{"$f32":-0.0}', "ca80000000"), ('{"$float":"nan:FFF8000000000001"}', "cbfff8000000000001"),
    ('{"$map":[]}', "80"), ('{"$map":[["a",1],["a",2]]}', "82a16101a16102"), ('{"$str":""}', "a0"),
    ('{"$map":[[{"$map":[]},[]]]}', "818090"), ('{"$ext":[-1,""]}', "c700ff"),
    ('{"$bin":"\\u0061GU="}', "c4026865"), ('{"\\u0024bin":"aGU="}', "c4026865"),
    ('{"$bin":"","$str":""}', "82a42462696ea0a424737472a0"),
]


def test_json_accepted(weir):
    """what JSON allows is packed as expected"""
    for text, data in GOOD_JSON:
        equal(weir.pack(text).hex(), data, text)


INTEGER = "an integer outside -9223372036854775808..18446744073709551615"
NUMBER = "a number that is none of JSON's"
WORD = "a word that is not true, false or null"
CHARACTER = "a character that cannot stand here"
BYTE = "a byte that begins no JSON value"
LOW = "a low surrogate (\\udc00..\\udfff) without a high one before it"
HIGH = "a high surrogate (\\ud800..\\udbff) without a low one behind it"
NUL = 'a name with \\u0000 in it (write the object as {"$map":[[key,value]]} with the key as ' \
    '{"$str":"base64"})'
ENDS = "the input ends inside of a value"
PAIR = '"$map" needs an array of [key,value] pairs'
EXT = '"$ext" needs an array of two: a type of -128..127 and base64 with padding (RFC 4648)'
BIN = '"$bin" needs a string: base64 with padding (RFC 4648)'
STR = '"$str" needs a string: base64 with padding (RFC 4648)'
TIME = '"$time" needs a string such as "2001-02-03T04:05:06Z" or "2001-02-03T04:05:06.789Z"'
FLOAT = '"$float" needs "nan", "inf", "-inf" or "nan:" and the 16 hexadecimal digits of a NaN'
SINGLE = '"$f32" needs a number in the range of float 32, "nan", "inf", "-inf" or "nan:" and the ' \
    '8 hexadecimal digits of a NaN'

# Text, line, offset, reason.
BAD_JSON = [
    ("18446744073709551616", 1, 0, INTEGER), ("-9223372036854775809", 1, 0, INTEGER),
    ("[1,\n 99999999999999999999]", 2, 5, INTEGER), ("1" * 100, 1, 0, INTEGER),
    ("1e999", 1, 0, "a number beyond the range of float 64"),
    ('{"a":[1,\n-1e309]}', 2, 9, "a number beyond the range of float 64"),
    ("01", 1, 0, NUMBER), ("-01", 1, 0, NUMBER), ("00", 1, 0, NUMBER), ("-", 1, 0, NUMBER),
    ("1.", 1, 0, NUMBER), ("[1.]", 1, 1, NUMBER), ("1.e5", 1, 0, NUMBER), ("1e", 1, 0, NUMBER),
    ("1e+", 1, 0, NUMBER), ("1-2", 1, 0, NUMBER), ("1.2.3", 1, 0, NUMBER), ("0x10", 1, 0, NUMBER),
    ("1true", 1, 0, NUMBER), ("1é", 1, 0, NUMBER), ("-Infinity", 1, 0, NUMBER), (".5", 1, 0, BYTE),
    ("+1", 1, 0, BYTE), ("NaN", 1, 0, BYTE), ("Infinity", 1, 0, BYTE), ("[nan]", 1, 1, WORD),
    ("True", 1, 0, BYTE), ("nul", 1, 0, WORD), ("nulL", 1, 0, WORD), ("truefalse", 1, 0, WORD),
    ("[true1]", 1, 1, WORD), ("'a'", 1, 0, BYTE), ("\ufeff1", 1, 0, BYTE), ("[\v1]", 1, 1, BYTE),
    ("# c", 1, 0, BYTE), ("/* c */ 1", 1, 0, "a comment, which JSON does not have"),
    ("[1, // c\n2]", 1, 4, "a comment, which JSON does not have"),
    ("[1,]", 1, 3, CHARACTER), ("[,1]", 1, 1, CHARACTER), ("[1,,2]", 1, 3, CHARACTER),
    ('{"a":1,}', 1, 7, CHARACTER), ("{,}", 1, 1, "a name in double quotes is missing here"),
    ("[1 2]", 1, 3, "a ',' or ']' is missing here"), ("[1\n\n}", 3, 4, "a ',' or ']' is missing here"),
    ('{"a" 1}', 1, 5, "a ':' is missing here"), ('{"a","b"}', 1, 4, "a ':' is missing here"),
    ('{"a":1 "b":2}', 1, 7, "a ',' or '}' is missing here"), ('{"a":}', 1, 5, CHARACTER),
    ("{1:2}", 1, 1, "a name in double quotes is missing here"), ("[1:2]", 1, 2, CHARACTER),
    ('{"a":1,,"b":2}', 1, 7, "a name in double quotes is missing here"),
    ("]", 1, 0, "a bracket that closes nothing"), ("1]", 1, 1, "a bracket that closes nothing"),
    ("1,2", 1, 1, "a comma outside of arrays and objects"), (":", 1, 0, CHARACTER),
    ("{1:2", 1, 1, "a name in double quotes is missing here"),
    ("[1 2, 01]", 1, 3, "a ',' or ']' is missing here"),
    ('{"a":1,"b":2,"a":3}', 1, 13, 'the name "a" for the second time in an object'),
    ('[{},\n{"x":{"\\u0061":[{"a":1}],\n"b":0,"a":2}}]', 3, 37,
     'the name "a" for the second time in an object'),
    ('{"$bin":"","$bin":""}', 1, 11, 'the name "$bin" for the second time in an object'),
    ('{"a":{"b":1,"b":2},"a":1}', 1, 19, 'the name "a" for the second time in an object'),
    ('{"a\\u0000b":1}', 1, 3, NUL), ('{"x":1,"\\u0000" :1}', 1, 8, NUL), ('{"\\u0000":1', 1, 2, NUL),
    ('"\\ud800"', 1, 7, HIGH), ('"\\ud800x"', 1, 7, HIGH), ('"\\ud800\\n"', 1, 8, HIGH),
    ('"\\ud800\\ud800"', 1, 12, HIGH), ('"\\udc00"', 1, 6, LOW),
    ('"\\x"', 1, 2, "a backslash before a character that it cannot escape"),
    ('"\\u12"', 1, 5, "\\u without four hexadecimal digits"),
    ('"\\u00zz"', 1, 5, "\\u without four hexadecimal digits"),
    ('"a\nb"', 1, 2, "a control character in a string, which must be escaped"),
    ('"a\tb"', 1, 2, "a control character in a string, which must be escaped"),
    ('"\0"', 1, 1, "a control character in a string, which must be escaped"),
    (b'"\xc0\x80"', 1, 1, "a string that is not UTF-8"), (b'"\xed\xa0\x80"', 1, 2, "a string that is not UTF-8"),
    (b'"\xf4\x90\x80\x80"', 1, 2, "a string that is not UTF-8"), (b'"\xe2\x82"', 1, 3, "a string that is not UTF-8"),
    (b"\xff", 1, 0, BYTE), ("\0", 1, 0, BYTE),
    ("[", 1, 1, ENDS), ('[1,\n"a', 2, 6, ENDS), ('{"a"', 1, 4, ENDS), ('"\\', 1, 2, ENDS),
    ('"\\u00', 1, 5, ENDS), ("[1", 1, 2, ENDS), ("[tr", 1, 3, ENDS), ("[-", 1, 2, ENDS),
    ('{"$bin":1}', 1, 0, BIN), ('{"$bin":"a"}', 1, 0, BIN), ('{"$bin":"aGk"}', 1, 0, BIN),
    ('{"$bin":"aG k="}', 1, 0, BIN), ('{"$bin":"aGl="}', 1, 0, BIN), ('{"$bin":"===="}', 1, 0, BIN),
    ('{"$bin":"aGk=aGk="}', 1, 0, BIN), ('{"$bin":"_-=="}', 1, 0, BIN), ('[0,\n{"$str":null}]', 2, 4, STR),
    ('{"$ext":5}', 1, 0, EXT), ('{"$ext":[5]}', 1, 0, EXT), ('{"$ext":[128,""]}', 1, 0, EXT),
    ('{"$ext":[-129,""]}', 1, 0, EXT), ('{"$ext":[1.0,""]}', 1, 0, EXT), ('{"$ext":[1,"!"]}', 1, 0, EXT),
    ('{"$ext":[1,"",2]}', 1, 0, EXT), ('{"$ext":[18446744073709551615,""]}', 1, 0, EXT),
    ('{"$time":0}', 1, 0, TIME), ('{"$time":"2001-02-03"}', 1, 0, TIME),
    ('{"$time":"2001-02-29T00:00:00Z"}', 1, 0, TIME), ('{"$time":"1900-02-29T00:00:00Z"}', 1, 0, TIME),
    ('{"$time":"2001-13-01T00:00:00Z"}', 1, 0, TIME), ('{"$time":"2001-00-01T00:00:00Z"}', 1, 0, TIME),
    ('{"$time":"2001-01-00T00:00:00Z"}', 1, 0, TIME), ('{"$time":"2001-01-01T24:00:00Z"}', 1, 0, TIME),
    ('{"$time":"2001-01-01T00:60:00Z"}', 1, 0, TIME), ('{"$time":"2016-12-31T23:59:60Z"}', 1, 0, TIME),
    ('{"$time":"2001-01-01T00:00:00.Z"}', 1, 0, TIME), ('{"$time":"2001-01-01T00:00:00+00:00"}', 1, 0, TIME),
    ('{"$time":"2001-01-01T00:00:00.1234567890Z"}', 1, 0, TIME), ('{"$time":"2001-01-01 00:00:00Z"}', 1, 0, TIME),
    ('{"$float":1.5}', 1, 0, FLOAT), ('{"$float":"1.5"}', 1, 0, FLOAT), ('{"$float":"NaN"}', 1, 0, FLOAT),
    ('{"$float":"nan:7ff0000000000000"}', 1, 0, FLOAT), ('{"$float":"nan:3ff0000000000000"}', 1, 0, FLOAT),
    ('{"$float":"nan:7ff8"}', 1, 0, FLOAT), ('{"$float":"nan\\u0000"}', 1, 0, FLOAT),
    ('{"$f32":"1"}', 1, 0, SINGLE), ('{"$f32":3.5e38}', 1, 0, SINGLE), ('{"$f32":null}', 1, 0, SINGLE),
    ('{"$f32":"nan:7f800000"}', 1, 0, SINGLE), ('{"$f32":"nan:7ff8000000000000"}', 1, 0, SINGLE),
    ('{"$map":{}}', 1, 0, PAIR), ('{"$map":[[1,2],[3]]}', 1, 15, PAIR + ", and this is no pair"),
    ('{"$map":[[[1,2],[{}, {"$f32":1}]],\n 5]}', 2, 36, PAIR + ", and this is no pair"),
    ('{"$map":[[1,{"$map":0}]]}', 1, 12, PAIR),
]


def test_json_refused(weir):
    """what is no JSON, or no value of ours, is refused with line, offset and reason"""
    for text, line, offset, reason in BAD_JSON:
        data = text.encode() if isinstance(text, str) else text
        before = b"\x01" if text in ("1]", "1,2") else b""
        where = f"weir pack: (stdin): line {line}, offset {offset}: {reason}\n"
        weir.bad(1, where, "pack", given=data, stdout=before)
        # The same behind other values, which are written.
        weir.bad(1, f"weir pack: (stdin): line {line + 2}, offset {offset + 7}: {reason}\n", "pack",
                 given=b"1 \n[2]\n" + data, stdout=b"\x01\x91\x02" + before)


def test_pieces(weir):
    """a value that does not fit a block is put together, and faults in it are found where they are"""
    long = "x" * 70000
    text = json.dumps({"a": long, "b": [long, 1.5, {"$bin": "aGk="}]})
    equal(weir.pack(text), encode({"a": long, "b": [long, 1.5, b"hi"]}))
    many = "\n".join(f'{{"id":{number},"name":"é{number}"}}' for number in range(20000))
    equal(weir.pack(many), b"".join(encode({"id": number, "name": f"é{number}"})
                                    for number in range(20000)))
    weir.bad(1, "weir pack: (stdin): line 2, offset 70000: the name \"a\" for the second time in an "
             "object\n", "pack", given=f'{{"a":"{long[:-9]}",\n"a":1}}'.encode())
    weir.bad(1, f"weir pack: (stdin): line 3, offset 70004: {NUMBER}\n", "pack",
             given=f'["{long[:-2]}"\n\n,01]'.encode())


def test_depth(weir):
    """the depth that pack accepts is the depth that cat accepts"""
    for shape in ("[{}]", '{{"a":{}}}', '{{"$map":[[1,{}]]}}', '{{"$map":[[{},1]]}}'):
        for limit, options in ((128, ()), (3, ("--depth", "3")), (1024, ("-d", "1024"))):
            text = '{"$ext":[1,"aGk="]}'
            for _ in range(limit):
                text = shape.format(text)
            data = weir.pack(text, *options)
            equal(weir.cat(data, *options), text + "\n")
            done = weir.run("pack", *options, given=shape.format(text).encode())
            equal((done.returncode, done.stdout), (1, b""), shape, limit)
            expect(b"nested too deep" in done.stderr, done.stderr)
    weir.bad(1, "weir pack: (stdin): line 1, offset 386: arrays and objects are nested too deep\n",
             "pack", given=b"[" * 100000)


def test_sizes(weir):
    """--max-value bounds a value, not the input"""
    numbers = b"[1,2,3]" * 10000
    equal(weir.good("pack", "--max-value", "7", given=numbers), b"\x93\1\2\3" * 10000)
    weir.bad(1, "weir pack: (stdin): line 1, offset 3: a value of more than 6 bytes\n", "pack",
             "--max-value=6", given=b"[1][1,2,3]", stdout=b"\x91\x01")
    weir.bad(1, "weir pack: (stdin): line 1, offset 0: a value of more than 70000 bytes\n", "pack",
             "--max-value=70000", given=b'"' + b"x" * 300000)
    equal(weir.good("cat", "--max-value", "4", given=b"\x93\1\2\3"), b"[1,2,3]\n")
    weir.bad(1, "weir cat: (stdin): offset 1: a message above the limit of bytes\n", "cat",
             "--max-value=3", given=b"\x01\x93\1\2\3", stdout=b"1\n")


def test_cat_faults(weir):
    """cat shows what is good before a fault"""
    weir.bad(1, "weir cat: (stdin): offset 2, /0: the reserved byte 0xc1\n", "cat",
             given=b"\x01\x91\xc1\x02", stdout=b"1\n")
    weir.bad(1, "weir cat: (stdin): offset 4, /0: the bytes end within a str\n", "cat",
             given=b"\x01\x02\x03\x91\xa5abc", stdout=b"1\n2\n3\n")
    deep = b"\x91" * 129 + b"\0"
    weir.bad(1, f"weir cat: (stdin): offset 129, {'/0' * 128}: nested deeper than the limit\n", "cat",
             given=b"\x01" + deep, stdout=b"1\n")


TESTS = [test_integers, test_wide_integers, test_floats, test_many_floats, test_singles, test_bytes,
         test_text, test_maps, test_many_keys, test_nested_maps, test_times, test_random,
         test_python_packs, test_python_unpacks, test_json_accepted, test_json_refused, test_pieces,
         test_depth, test_sizes, test_cat_faults]

if __name__ == "__main__":
    support.need_msgpack()
    sys.exit(support.run_tests(TESTS, Weir(support.program())))
