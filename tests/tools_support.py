"""What the tests of the program weir share: running it, TAP, and MessagePack written by hand.

The encoder and the JSON text here are written from the specification and from the rules in
`weir cat --help`, independently of the program; python3-msgpack is a third opinion.
"""

import base64
import ctypes
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import threading

MEGABYTE = 1 << 20
RESERVED = "the reserved byte 0xc1"


class Wrong(Exception):
    """What a test expected and did not find."""


def expect(condition, *what):
    if not condition:
        raise Wrong(" ".join(part if isinstance(part, str) else repr(part) for part in what))


def equal(got, wanted, *what):
    expect(got == wanted, *what, "\n  got   ", short(got), "\n  wanted", short(wanted))


def short(value):
    text = repr(value)
    return text if len(text) < 2000 else text[:1000] + " ... " + text[-900:]


class Weir:
    def __init__(self, program):
        self.program = str(program)
        # A sanitizer reserves address space by the terabyte: no limit on it then.
        content = pathlib.Path(program).read_bytes()
        self.sanitized = b"__asan_init" in content or b"__tsan_init" in content

    def bound(self, limit_bytes):
        """A preexec_fn that limits what the program may map."""
        if limit_bytes is None or self.sanitized:
            return None
        return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))

    def run(self, *arguments, given=b"", limit_bytes=None, timeout=100, **more):
        more.setdefault("stdout", subprocess.PIPE)
        if "stdin" not in more:
            more["input"] = given
        return subprocess.run([self.program, *arguments], stderr=subprocess.PIPE, check=False,
                              preexec_fn=self.bound(limit_bytes), timeout=timeout, **more)

    def good(self, *arguments, **more):
        """stdout of a run that succeeds and says nothing on stderr."""
        done = self.run(*arguments, **more)
        equal((done.returncode, done.stderr), (0, b""), arguments, short(more))
        return done.stdout

    def bad(self, status, stderr, *arguments, stdout=b"", **more):
        """A run that fails in exactly this way."""
        done = self.run(*arguments, **more)
        equal((done.returncode, done.stderr.decode(errors="backslashreplace"), done.stdout),
              (status, stderr, stdout), arguments, short(more))

    def pack(self, text, *options):
        return self.good("pack", *options, given=text if isinstance(text, bytes) else text.encode())

    def cat(self, data, *options):
        return self.good("cat", *options, given=data).decode()


# What takes constant memory may map so much, and is given four times that.
LITTLE_MEMORY = 24 * MEGABYTE


def big_chunks(weir):
    """How many chunks of a megabyte make a large file."""
    return 10 if weir.sanitized else 4 * LITTLE_MEMORY // MEGABYTE


def piped(weir, arguments, chunk, count, limit_bytes=LITTLE_MEMORY):
    """Write @chunk @count times into a run that may map so much. Returns (status, output bytes)."""
    child = subprocess.Popen([weir.program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             preexec_fn=weir.bound(limit_bytes))

    def feed():
        with child.stdin:
            for _ in range(count):
                child.stdin.write(chunk)
    thread = threading.Thread(target=feed)
    thread.start()
    size = 0
    while got := child.stdout.read1(MEGABYTE):
        size += len(got)
    thread.join()
    child.stdout.close()
    return child.wait(timeout=60), size


def forbid_io_uring():
    """In a child, before it runs a program: io_uring_setup(2) fails with EPERM, as in containers."""
    program = b"".join(struct.pack("=HBBI", *row) for row in [
        (0x20, 0, 0, 0),                # load the number of the system call
        (0x15, 0, 1, 425),              # io_uring_setup, the same on all machines but alpha
        (0x06, 0, 0, 0x00050000 | 1),   # SECCOMP_RET_ERRNO, EPERM
        (0x06, 0, 0, 0x7fff0000)])      # SECCOMP_RET_ALLOW
    memory = ctypes.create_string_buffer(program)
    filters = struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    if prctl(38, 1, 0, 0, 0) != 0 or prctl(22, 2, filters) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


# --- MessagePack by hand ---------------------------------------------------------------------

class F32(float):
    """A float of 32 bits."""


class RawFloat(bytes):
    """A float by its bits, big-endian: 4 or 8 bytes."""


class RawStr(bytes):
    """A str by its bytes."""


class Ext:
    def __init__(self, code, data):
        self.code, self.data = code, data


class Pairs(list):
    """A map as a list of pairs."""


def head(size, fix, fix_max, *tags):
    """The head of something with a length: @tags are those for 8, 16 and 32 bits, None: not there."""
    if fix is not None and size <= fix_max:
        return bytes([fix | size])
    for tag, form, top in zip(tags, ">B >H >I".split(), (0xff, 0xffff, 0xffffffff)):
        if tag is not None and size <= top:
            return bytes([tag]) + struct.pack(form, size)
    raise ValueError(size)


def encode_int(value):
    if 0 <= value < 0x80 or -32 <= value < 0:
        return struct.pack(">B", value & 0xff)
    forms = ((0xcc, "B"), (0xcd, "H"), (0xce, "I"), (0xcf, "Q")) if value >= 0 else \
            ((0xd0, "b"), (0xd1, "h"), (0xd2, "i"), (0xd3, "q"))
    for tag, form in forms:
        try:
            return bytes([tag]) + struct.pack(">" + form, value)
        except struct.error:
            pass
    raise ValueError(value)


def encode_ext(value):
    size = len(value.data)
    fixed = {1: 0xd4, 2: 0xd5, 4: 0xd6, 8: 0xd7, 16: 0xd8}
    start = bytes([fixed[size]]) if size in fixed else head(size, None, 0, 0xc7, 0xc8, 0xc9)
    return start + struct.pack(">b", value.code) + value.data


def encode(value):
    """The shortest MessagePack of a value, by the specification."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return encode_int(value)
    if isinstance(value, F32):
        return b"\xca" + struct.pack(">f", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, RawFloat):
        return (b"\xca" if len(value) == 4 else b"\xcb") + value
    if isinstance(value, (str, RawStr)):
        data = value.encode() if isinstance(value, str) else bytes(value)
        return head(len(data), 0xa0, 31, 0xd9, 0xda, 0xdb) + data
    if isinstance(value, bytes):
        return head(len(value), None, 0, 0xc4, 0xc5, 0xc6) + value
    if isinstance(value, Ext):
        return encode_ext(value)
    if isinstance(value, (dict, Pairs)):
        pairs = list(value.items()) if isinstance(value, dict) else value
        return head(len(pairs), 0x80, 15, None, 0xde, 0xdf) + \
            b"".join(encode(key) + encode(item) for key, item in pairs)
    return head(len(value), 0x90, 15, None, 0xdc, 0xdd) + b"".join(map(encode, value))


DOCUMENT = [None, True, 7, 200, 70000, 2 ** 40, -3, -200, -70000, -2 ** 40, 1.5, "str", "s" * 40,
            "s" * 300, b"", b"bin", Ext(1, b"x"), Ext(2, b"xyz"), [], [1, [2, [3]]],
            {"k": {"l": [1]}, "m": "n"}, Pairs([(n, [n]) for n in range(20)]), list(range(20))]
INTEGER, FLOAT, STR, BIN, EXT, ARRAY, MAP = "an integer", "a float", "a str", "a bin", "an ext", \
    "an array", "a map"


def parts(data, at=0, path=""):
    """Of the value at @at: its end, and (offset, end of its head, name, contained values, path) of it
    and of all in it, read straight from the specification."""
    tag = data[at]
    found = []
    if tag < 0x80 or tag >= 0xe0 or tag in (0xc0, 0xc2, 0xc3):
        return at + 1, [(at, at + 1, INTEGER, 0, path)]
    fixed = {0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8, 0xca: 4, 0xcb: 8}
    if tag in fixed:
        end = at + 1 + fixed[tag]
        return end, [(at, end, FLOAT if tag in (0xca, 0xcb) else INTEGER, 0, path)]
    if 0xd4 <= tag <= 0xd8:
        end = at + 2 + (1 << (tag - 0xd4))
        return end, [(at, end, EXT, 0, path)]
    if 0xa0 <= tag < 0xc0:
        end = at + 1 + (tag & 31)
        return end, [(at, end, STR, 0, path)]
    if tag < 0xa0:
        length, start = tag & 15, at + 1
        name = MAP if tag < 0x90 else ARRAY
    else:
        name, width = {0xc4: (BIN, 1), 0xc5: (BIN, 2), 0xc6: (BIN, 4), 0xc7: (EXT, 1), 0xc8: (EXT, 2),
                       0xc9: (EXT, 4), 0xd9: (STR, 1), 0xda: (STR, 2), 0xdb: (STR, 4),
                       0xdc: (ARRAY, 2), 0xdd: (ARRAY, 4), 0xde: (MAP, 2), 0xdf: (MAP, 4)}[tag]
        start = at + 1 + width
        length = int.from_bytes(data[at + 1:start], "big")
        if name in (BIN, EXT, STR):
            end = start + length + (name == EXT)
            return end, [(at, end, name, 0, path)]
    count = length * (2 if name == MAP else 1)
    found.append((at, start, name, count, path))
    end = start
    for index in range(count):
        step = index
        if name == MAP:
            step = key_of(data, key) if index % 2 else f"~@{index // 2}"
            key = end
        end, inner = parts(data, end, f"{path}/{step}")
        found += inner
    return end, found


def key_of(data, at):
    """A short key as a path has it."""
    return data[at + 1:at + 1 + (data[at] & 31)].decode() if data[at] >= 0xa0 else data[at]


def place(offset, path):
    return f"offset {offset}, {path}" if path else f"offset {offset}"


# --- and its JSON ------------------------------------------------------------------------------

FORMS = ("$bin", "$ext", "$time", "$float", "$f32", "$map", "$str")


def base64_of(data):
    return base64.b64encode(bytes(data)).decode()


def is_utf8(data):
    try:
        bytes(data).decode()
    except UnicodeDecodeError:
        return False
    return True


def string_of(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\x7f")


def plain_key(key):
    """The key as text if JSON can have it."""
    if isinstance(key, RawStr) and is_utf8(key):
        key = bytes(key).decode()
    return key if isinstance(key, str) and "\0" not in key else None


def json_of_map(pairs):
    names = [plain_key(key) for key, _ in pairs]
    plain = None not in names and len(set(names)) == len(names) and \
        not (len(names) == 1 and names[0] in FORMS)
    if plain:
        return "{" + ",".join(f"{string_of(name)}:{json_of(item)}"
                              for name, (_, item) in zip(names, pairs)) + "}"
    return '{"$map":[' + ",".join(f"[{json_of(key)},{json_of(item)}]" for key, item in pairs) + "]}"


def special_float(value):
    """nan, inf and the like of big-endian bits."""
    number = struct.unpack(">f" if len(value) == 4 else ">d", value)[0]
    if number in (float("inf"), float("-inf")):
        return "inf" if number > 0 else "-inf"
    usual = value in (b"\x7f\xc0\0\0", b"\x7f\xf8\0\0\0\0\0\0")
    return "nan" if usual else "nan:" + value.hex()


def json_of(value):
    """The line of weir cat. F32 values must be given with few digits, so that repr() is right."""
    if isinstance(value, F32):
        return f'{{"$f32":{float(value)!r}}}'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, RawFloat):
        name = "$f32" if len(value) == 4 else "$float"
        return f'{{"{name}":"{special_float(value)}"}}'
    if isinstance(value, RawStr):
        if is_utf8(value):
            return string_of(bytes(value).decode())
        return f'{{"$str":"{base64_of(value)}"}}'
    if isinstance(value, bytes):
        return f'{{"$bin":"{base64_of(value)}"}}'
    if isinstance(value, Ext):
        return f'{{"$ext":[{value.code},"{base64_of(value.data)}"]}}'
    if isinstance(value, (dict, Pairs)):
        return json_of_map(list(value.items()) if isinstance(value, dict) else value)
    if isinstance(value, list):
        return "[" + ",".join(map(json_of, value)) + "]"
    if isinstance(value, str):
        return string_of(value)
    return json.dumps(value)


# --- TAP ---------------------------------------------------------------------------------------

def program():
    """tools/weir, or what the command line says; ends the test if it was not built."""
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                        os.path.join(os.environ["WEIR_BUILDDIR"], "tools", "weir"))
    if not path.exists():
        skip_all(f"{path} was not built: configure found no json-c")
    return path


def skip_all(why):
    if os.environ.get("WEIR_TEST_NO_SKIP"):
        print(f"Bail out! {why}")
        sys.exit(1)
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def need_msgpack():
    """The module msgpack, if need be by another python3: a first one on the PATH may lack it."""
    try:
        import msgpack
        return msgpack
    except ImportError:
        system = "/usr/bin/python3"
        if os.path.exists(system) and not os.environ.get("WEIR_TEST_PYTHON"):
            os.environ["WEIR_TEST_PYTHON"] = system
            os.execv(system, [system, *sys.argv])
        skip_all("there is no python3-msgpack")
        raise


def run_tests(tests, weir):
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        try:
            test(weir)
        except Exception as error:  # one broken test must not hide the others
            failed += 1
            print(f"not ok {number} - {test.__doc__}")
            print("# " + f"{type(error).__name__}: {error}".replace("\n", "\n# "), flush=True)
        else:
            print(f"ok {number} - {test.__doc__}", flush=True)
    return min(failed, 100)
