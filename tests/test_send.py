#!/usr/bin/env python3
"""weir send and weir stat: batches, windows, refusals, services that misbehave, the terminal.

Usage: test_send.py [PROGRAM]. Without PROGRAM it is tools/weir of $WEIR_BUILDDIR. Prints TAP.
"""

import json
import os
import pty
import re
import resource
import socket
import subprocess
import sys
import threading
import time

import service_support
from service_support import Server, equal, expect, msgpack, scratch

pack = msgpack.packb
SUMMARY = re.compile(r"weir send: (\d+) records, (\d+) bytes, [\d.]+ s, \d+ records/s, "
                     r"(\d+) acknowledged\n$")


def send(weir, *arguments, status=0, **more):
    """Run weir send; what it said and the numbers of its summary."""
    done = weir.run("send", *service_support.BACKEND, *arguments, **more)
    text = done.stderr.decode(errors="backslashreplace")
    equal((done.returncode, done.stdout), (status, b""), arguments, text)
    found = SUMMARY.search(text)
    return text, tuple(map(int, found.groups())) if found else None


def values(count, largest=300):
    return [{"n": i, "text": "s" * (i * 7919 % largest)} for i in range(count)]


class Fake:
    """A service that answers as @answer(message) says: bytes to send, or None to close."""

    def __init__(self, directory, answer):
        self.address = f"unix:{directory}/fake"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{directory}/fake")
        self.listener.listen(1)
        self.answer = answer
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        sock, _ = self.listener.accept()
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 30)
        with sock:
            while data := sock.recv(1 << 16):
                unpacker.feed(data)
                for message in unpacker:
                    reply = self.answer(message)
                    if reply is None:
                        return
                    try:
                        sock.sendall(reply)
                    except OSError:
                        return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


# --- sending ---------------------------------------------------------------------------------

def test_files(weir):
    """files, standard input, repeated: everything arrives in order and is acknowledged"""
    first, second = values(3000), [b"x" * 5000, None, b"y" * 200000, 1.5]
    with scratch() as directory, Server(weir, listen=["tcp:127.0.0.1:0"]) as server:
        (directory / "a").write_bytes(b"".join(map(pack, first)))
        (directory / "b").write_bytes(b"".join(map(pack, second)))
        (directory / "empty").write_bytes(b"")
        sizes = [(directory / name).stat().st_size for name in "ab"]
        files = [str(directory / name) for name in ("a", "empty", "b")]
        _, summary = send(weir, server.addresses[0], *files)
        equal(summary, (3004, sum(sizes), 3004))
        _, summary = send(weir, "--repeat", "3", server.addresses[0], *files)
        equal(summary, (3 * 3004, 3 * sum(sizes), 3 * 3004))
        _, summary = send(weir, server.addresses[0], given=b"".join(map(pack, first)))
        equal(summary, (3000, sizes[0], 3000))
        with open(directory / "b", "rb") as opened:
            _, summary = send(weir, "--repeat", "2", server.addresses[0], "-", stdin=opened)
        equal(summary, (8, 2 * sizes[1], 8))
        equal(server.records(), 4 * (first + second) + first + 2 * second)
        _, summary = send(weir, server.addresses[0])
        equal(summary, (0, 0, 0))


def test_shapes(weir):
    """every window and batch size gives the same log"""
    wanted = values(500, 3000)
    data = b"".join(map(pack, wanted))
    for window, records, size in ((1, 1, "1"), (1, 64, "16K"), (2, 3, "1M"), (1000, 4096, "1G"),
                                  (7, 100, "100"), (65536, 1, "16K")):
        with Server(weir) as server:
            _, summary = send(weir, "--window", str(window), "--batch-records", str(records),
                              "--batch-bytes", size, server.addresses[0], given=data)
            equal(summary, (500, len(data), 500))
            equal(server.messages(), data, window, records, size)
            requests = server.stat()["connections"]["requests"]
            if records == 1:
                equal(requests, 501)


def test_slow_input(weir):
    """what has come through a pipe is sent before more comes"""
    with Server(weir) as server:
        with subprocess.Popen([weir.program, "send", server.addresses[0]], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            for i in range(3):
                process.stdin.write(pack([i, "slow"]))
                process.stdin.flush()
                service_support.wait_for("the record", lambda: len(server.records()) == i + 1)
            process.stdin.close()
            text = process.stderr.read().decode()
            equal(process.wait(60), 0)
        equal(SUMMARY.search(text).groups()[2], "3")


def test_bad_input(weir):
    """values before a fault are sent, the fault is reported with its offset"""
    with scratch() as directory, Server(weir) as server:
        bad = directory / "bad"
        bad.write_bytes(pack("one") + pack("two") + b"\xc1")
        text, summary = send(weir, server.addresses[0], str(bad), status=1)
        expect(text.startswith(f"weir send: {bad}: offset 8: "), text)
        equal(summary, (2, 8, 2))
        bad.write_bytes(pack("three") + pack("four")[:3])
        text, summary = send(weir, server.addresses[0], str(bad), status=1)
        expect(text.startswith(f"weir send: {bad}: offset 6: "), text)
        equal(summary, (1, 6, 1))
        text, _ = send(weir, server.addresses[0], str(directory / "none"), status=66)
        expect("No such file" in text, text)
        equal(server.records(), ["one", "two", "three"])


# --- services that misbehave -----------------------------------------------------------------

def test_no_service(weir):
    """no service: status 69, and why"""
    with scratch() as directory:
        text, _ = send(weir, f"unix:{directory}/none", status=69)
        equal(text, f"weir send: unix:{directory}/none: cannot connect: No such file or directory\n")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            address = f"tcp:127.0.0.1:{sock.getsockname()[1]}"
            text, _ = send(weir, address, status=69)
        equal(text, f"weir send: {address}: cannot connect: Connection refused\n")
        # A queue of connections that is full: connecting waits, for a second.
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"{directory}/full")
            sock.listen(0)
            with socket.socket(socket.AF_UNIX) as first:
                first.connect(f"{directory}/full")
                text, _ = send(weir, "--connect-timeout", "1", f"unix:{directory}/full",
                               status=69, timeout=30)
        expect("cannot connect: Connection timed out" in text, text)


def test_refused(weir):
    """records that the service refuses: its words are shown, status 1"""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    with Server(weir, preexec_fn=limit, restore_signals=False) as server:
        data = b"".join(pack(b"r" * 98) for _ in range(1000))
        text, summary = send(weir, "--batch-records", "1", "--window", "1", server.addresses[0],
                             given=data, status=1)
        equal(summary, (1000, 100000, 33))  # of 100 bytes and a head each
        expect("1 records refused: append: the log cannot be written to for now: " in text and "EFBIG" in text, text)
        equal(text.count("refused"), 5)
        expect("more of this is not shown" in text, text)


def test_too_large(weir):
    """a record above the service's --max-message: the reason can be understood"""
    with Server(weir, "--max-message", "64K") as server:
        data = pack("fits") + pack(b"l" * 100000)
        text, summary = send(weir, server.addresses[0], given=data, status=1)
        expect("connection lost" in text, text)
        expect("the largest record sent has 100005 bytes" in text, text)
        expect("--max-message" in text, text)
        expect(summary[:2] == (2, 100010) and summary[2] < 2, summary)


def test_deep_record(weir):
    """a record nested too deeply is refused, the others of other requests are stored"""
    with Server(weir) as server:
        # weir send itself checks what it reads, at the same depth.
        data = pack(1) + b"\x91" * 129 + b"\x01"
        text, summary = send(weir, server.addresses[0], given=data, status=1)
        expect("offset 129" in text and "deep" in text, text)
        equal(summary[2], 1)


def test_closing_service(weir):
    """a service that closes midway: what was not acknowledged is counted, status 1"""
    with scratch() as directory:
        count = 0

        def answer(message):
            nonlocal count
            count += 1
            return pack([1, message[1], None, count]) if count <= 10 else None
        data = b"".join(map(pack, values(5000)))
        with Fake(directory, answer) as fake:
            text, summary = send(weir, "--batch-records", "10", fake.address, given=data, status=1)
        expect("connection lost" in text, text)
        # Closing with requests unread may cost some answers on the way.
        expect(summary[2] <= 100 and summary[2] % 10 == 0, summary)


def test_out_of_order(weir):
    """answers in any order are taken"""
    with scratch() as directory:
        kept = []

        def answer(message):
            kept.append(pack([1, message[1], None, 1]))
            if len(kept) < 8:
                return b""
            reply = b"".join(reversed(kept))
            kept.clear()
            return reply
        with Fake(directory, answer) as fake:
            _, summary = send(weir, "--window", "8", "--batch-records", "5", fake.address,
                              given=b"".join(pack(i) for i in range(400)))
        equal(summary[2], 400)


def test_nonsense(weir):
    """a service that sends something else than answers"""
    for reply in (b"\xc1", b"\x01", pack([1, 4711, None, 1]), pack([2, "hello", []]),
                  pack([0, 0, "ping", []]), pack([1, 64, None, 1])):
        with scratch() as directory, Fake(directory, lambda _, reply=reply: reply) as fake:
            text, summary = send(weir, fake.address, given=pack(1), status=1)
        expect("connection lost" in text, reply, text)
        equal(summary[2], 0)
    with scratch() as directory:
        with Fake(directory, lambda m: pack([1, m[1], {"code": 5}, None])) as fake:
            text, _ = send(weir, fake.address, given=pack(1), status=1)
        expect("an error that is not text, 7 bytes" in text, text)


def test_silent_service(weir):
    """a service that never answers: --timeout"""
    with scratch() as directory, Fake(directory, lambda _: b"") as fake:
        start = time.monotonic()
        text, _ = send(weir, "--timeout", "1", fake.address, given=pack(1), status=1, timeout=30)
        expect("no answer in time" in text, text)
        expect(0.9 < time.monotonic() - start < 20, time.monotonic() - start)


# --- people ----------------------------------------------------------------------------------

def on_terminal(arguments):
    """Run with a terminal as stderr; status and what was shown."""
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                break
            if not data:
                break
            shown += data
        status = process.wait(60)
    os.close(master)
    return status, shown.decode()


def test_progress(weir):
    """a bar on a terminal, none elsewhere, silence with --quiet"""
    with scratch() as directory, Server(weir) as server:
        path = directory / "values"
        path.write_bytes(b"".join(map(pack, values(4000))))
        arguments = [weir.program, "send", "--window", "1", "--batch-records", "4",
                     server.addresses[0], str(path)]
        status, shown = on_terminal(arguments)
        equal(status, 0)
        expect(re.search(r"\r\[=*> *\] +\d+%  [\d.]+ k?M?B  \d+ records  \d+ records/s", shown),
               shown[:300])
        expect(SUMMARY.search(shown.replace("\r\n", "\n")), shown[-300:])
        status, shown = on_terminal([*arguments, "--quiet"])
        equal((status, shown), (0, ""))
        done = weir.run("send", server.addresses[0], str(path))
        expect(b"\r" not in done.stderr, done.stderr)
        equal(weir.run("send", "-q", server.addresses[0], str(path)).stderr, b"")


def test_stat(weir):
    """weir stat prints the counters as one line of JSON, or as tables"""
    with Server(weir) as server:
        text = weir.good("stat", server.addresses[0]).decode()
        equal(text.count("\n"), 1)
        stat = json.loads(text)
        equal(list(stat), ["pool", "buffers", "ring", "log", "connections"])
        equal(stat["connections"]["open"], 1)
        pool = stat["pool"]
        parts = [*pool["classes"], pool["large"]]
        for name in pool["large"]:
            equal(sum(part[name] for part in parts), pool[name], name)
        expect(sum(part["allocations"] for part in parts) > 0)
        lines = weir.good("stat", "--table", server.addresses[0]).decode().splitlines()
        equal([line for line in lines if not line.startswith(" ")], list(stat))
        rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(" ")}
        equal(rows["block_bytes"], [name for name in pool["classes"][0] if name != "block_bytes"])
        for one in pool["classes"]:
            equal(len(rows[str(one["block_bytes"])]), len(one) - 1)
        with open("/dev/full", "wb") as full:
            done = weir.run("stat", server.addresses[0], stdout=full)
        equal(done.returncode, 74, done.stderr)
    with scratch() as directory:
        weir.bad(69, f"weir stat: unix:{directory}/none: cannot connect: No such file or "
                 "directory\n", "stat", f"unix:{directory}/none")
        with Fake(directory, lambda m: pack([1, m[1], "no", None])) as fake:
            weir.bad(1, f"weir stat: {fake.address}: no\n", "stat", fake.address)
    with scratch() as directory, Fake(directory, lambda m: pack([1, m[1], None, [1]])) as fake:
        equal(weir.good("stat", fake.address), b"[1]\n")
    with scratch() as directory, Fake(directory, lambda m: pack([1, m[1], None, [1]])) as fake:
        weir.bad(1, f"weir stat: {fake.address}: the answer is no map of counters\n", "stat",
                 "--table", fake.address)
    with scratch() as directory, Fake(directory, lambda _: None) as fake:
        done = weir.run("stat", fake.address)
        equal(done.returncode, 69, done.stderr)
    with scratch() as directory, Fake(directory, lambda _: b"") as fake:
        done = weir.run("stat", "--timeout", "1", fake.address)
        equal(done.returncode, 69, done.stderr)


def test_usage(weir):
    """--help, --version, and what is wrong with a command line"""
    for command, word in (("send", "--window"), ("stat", "--timeout")):
        expect(word in weir.good(command, "--help").decode())
        expect(weir.good(command, "--version").startswith(b"weir "))
    weir.bad(64, "weir send: an address is missing\nTry 'weir send --help'.\n", "send")
    weir.bad(64, "weir send: nowhere: not of the form tcp:HOST:PORT or unix:PATH\n"
             "Try 'weir send --help'.\n", "send", "nowhere")
    weir.bad(64, "weir send: --window needs a number of 1..65536, not '0'\n"
             "Try 'weir send --help'.\n", "send", "--window", "0", "unix:x")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(service_support.run(TESTS))
