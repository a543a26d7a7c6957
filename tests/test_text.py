#!/usr/bin/env python3
"""What weir makes of bytes that are no UTF-8 is what Python makes of them, and its JSON is JSON.

Usage: test_text.py [EXAMPLE]. The example program text is driven; by default that of
$WEIR_BUILDDIR. WEIR_TEST_SEED sets the seed. Prints TAP.
"""

import json
import os
import random
import subprocess
import sys

SEED = int(os.environ.get("WEIR_TEST_SEED", "20250318"), 0)
PIECES = [b"a", b"plain ASCII text, of more than one vector", b"\xc3\xa9", b"\xe2\x82\xac",
          b"\xf0\x9f\x98\x80", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xf4\x8f\xbf\xbf", b"\0", b"\x1f",
          b'"', b"\\", b"/", b"\x7f", b"\t"]
EDGES = bytes.fromhex("00 1f 20 22 5c 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


def expected(line):
    try:
        line.decode("utf-8")
        valid = len(line)
    except UnicodeDecodeError as error:
        valid = error.start
    text = line.decode("utf-8", "replace")
    plain = valid == len(line) and not any(c < " " or c in '"\\' for c in text)
    return {"valid": valid, "borrowed": plain, "text": text}


def check(program, lines):
    lines = [line.replace(b"\n", b"\r") for line in lines]
    run = subprocess.run([program], input=b"".join(line + b"\n" for line in lines),
                         capture_output=True, timeout=600, check=False)
    if run.returncode != 0 or run.stderr:
        return f"status {run.returncode}: {run.stderr[-1000:]!r}"
    # Lines end with LF alone: what else Python takes for the end of one may stand in the text.
    answers = run.stdout.decode("utf-8").split("\n")
    if len(answers) != len(lines) + 1 or answers[-1]:
        return f"{len(answers) - 1} lines for {len(lines)}"
    for line, answer in zip(lines, answers):
        if json.loads(answer) != expected(line):
            return f"{line!r}: {answer!r}, not {expected(line)!r}"
    return None


def mutated(rng):
    line = bytearray(b"".join(rng.choices(PIECES, k=rng.randrange(12))))
    for _ in range(rng.randrange(3)):
        if line:
            line[rng.randrange(len(line))] = rng.randrange(256)
    return bytes(line[:rng.randrange(len(line) + 1)] if rng.random() < 0.3 else line)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else \
        os.path.join(os.environ["WEIR_BUILDDIR"], "examples", "text")
    rng = random.Random(SEED)
    tests = [
        ("sequences of edges are repaired as by Python",
         [bytes((a, b, c)) for a in EDGES for b in EDGES for c in EDGES]),
        ("longer sequences of edges are", [bytes(rng.choices(EDGES, k=rng.randrange(40)))
                                           for _ in range(10000)]),
        ("text with faults is", [mutated(rng) for _ in range(20000)]),
        ("random bytes are", [rng.randbytes(rng.randrange(200)) for _ in range(3000)]),
        ("a few long lines are", [rng.randbytes(100000), b"a" * 100000, b"\x01" * 100000,
                                  b"\xe2\x82\xac" * 50000, b"\xe2\x82" * 50000]),
    ]
    print(f"1..{len(tests)}\n# WEIR_TEST_SEED={SEED}")
    for number, (name, lines) in enumerate(tests, 1):
        problem = check(program, lines)
        print(f"{'not ok' if problem else 'ok'} {number} - {name}")
        if problem:
            print(f"# {problem[:2000]}")


main()
