"""What the tests of `weir serve` and its clients share: a running service, and a client in Python."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import tools_support
from tools_support import expect, equal, short

msgpack = tools_support.need_msgpack()

LIMIT_SECONDS = 60  # for anything that should happen soon

# What the service and those who send to it are to use, if anything else than what they choose.
BACKEND = ["--backend", os.environ["WEIR_TEST_BACKEND"]] if "WEIR_TEST_BACKEND" in os.environ else []


class Skip(Exception):
    """A test that cannot be run here, and why."""


def wait_for(what, condition, seconds=LIMIT_SECONDS):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, "waited in vain for", what)
        time.sleep(0.005)


HEAD_BYTES = 48


def log_messages(data):
    """The messages of a log: what lies behind the heads of its blocks."""
    found = []
    at = 0
    while at < len(data):
        expect(data[at:at + 4] == b"\xc7\x2d\x77B", "no head of a block at offset", at)
        size = int.from_bytes(data[at + 4:at + 8], "big")
        expect(len(data) - at - HEAD_BYTES >= size, "the block at offset", at, "is cut off")
        found.append(data[at + HEAD_BYTES:at + HEAD_BYTES + size])
        at += HEAD_BYTES + size
    return b"".join(found)


def connect(address, timeout=LIMIT_SECONDS):
    """A socket connected to "unix:PATH" or "tcp:HOST:PORT"."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        name = "\0" + rest[1:] if rest.startswith("@") else rest
    else:
        host, _, port = rest.rpartition(":")
        host = host.strip("[]")
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = (host, int(port))
    sock.settimeout(timeout)
    try:
        sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


class Client:
    """A MessagePack-RPC client. Answers come as lists, as they are on the wire."""

    def __init__(self, address):
        self.sock = connect(address)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False,
                                         max_buffer_size=1 << 30)
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method, *params, number=None):
        """Send a request, return its id."""
        if number is None:
            self.number += 1
            number = self.number
        self.send(msgpack.packb([0, number, method, list(params)]))
        return number

    def notify(self, method, *params):
        self.send(msgpack.packb([2, method, list(params)]))

    def answer(self):
        """The next answer; None at the end of the connection."""
        while True:
            for message in self.unpacker:
                return message
            data = self.sock.recv(1 << 18)
            if not data:
                return None
            self.unpacker.feed(data)

    def answers(self, count):
        return [self.answer() for _ in range(count)]

    def call(self, method, *params):
        """The result of a call that succeeds."""
        number = self.request(method, *params)
        answer = self.answer()
        expect(answer is not None, "no answer to", method)
        equal(answer[:3], [1, number, None], method, short(params))
        return answer[3]

    def error(self, method, *params):
        """The error text of a call that fails."""
        number = self.request(method, *params)
        answer = self.answer()
        expect(answer is not None and answer[:2] == [1, number] and answer[3] is None,
               method, short(params), short(answer))
        expect(isinstance(answer[2], str), short(answer))
        return answer[2]

    def at_end(self):
        """Whether the service has closed the connection, which it must do soon."""
        try:
            return self.answer() is None
        except ConnectionResetError:
            return True


class Server:
    """`weir serve` in a directory of its own."""

    def __init__(self, weir, *options, listen=None, directory=None, log="log", wait=True, **popen):
        self.temporary = None if directory else tempfile.TemporaryDirectory()
        self.directory = pathlib.Path(directory or self.temporary.name)
        self.log = self.directory / log
        self.final = self.directory / "final"
        self.errors = self.directory / "stderr"
        listen = listen or [f"unix:{self.directory}/sock"]
        arguments = [weir.program, "serve", "--log", str(self.log), "--final-stat",
                     str(self.final), *BACKEND]
        for address in listen:
            arguments += ["--listen", address]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([*arguments, *options], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=errors, **popen)
        self.addresses = []
        if wait:
            wait_for("the service to listen", lambda: self.listening(len(listen)))

    def listening(self, count):
        expect(self.process.poll() is None, "the service ended:", self.stderr())
        self.addresses = re.findall(r"^weir serve: listening on (.*)\n", self.stderr(), re.M)
        return len(self.addresses) == count

    def stderr(self):
        return self.errors.read_text(errors="backslashreplace")

    def said(self):
        """What it said, without the lines of every run."""
        return [line.removeprefix("weir serve: ") for line in self.stderr().splitlines()
                if "listening on " not in line and "signal: finishing" not in line]

    def client(self, which=0):
        return Client(self.addresses[which])

    def stat(self):
        with self.client() as client:
            return client.call("stat")

    def records(self):
        """What the log holds."""
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 30)
        unpacker.feed(self.messages())
        return list(unpacker)

    def messages(self):
        """The bytes of what the log holds, without the heads of its blocks."""
        return log_messages(self.log.read_bytes())

    def finish(self, status=0, signal_number=signal.SIGTERM, seconds=LIMIT_SECONDS):
        """End it, and check that it gave everything back."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        equal(self.process.wait(seconds), status, "exit status;", self.stderr())
        if status == 0:
            final = msgpack_of_json(self.final)
            equal((final["pool"]["blocks_in_use"], final["connections"]["open"]), (0, 0),
                  "blocks and connections at the end")
            return final
        return None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        if self.process.poll() is None:
            if kind is None:
                self.finish()
            else:
                self.process.kill()
                self.process.wait()
                print("# the service said: " + self.stderr().replace("\n", "\n# "))
        if self.temporary:
            self.temporary.cleanup()


def msgpack_of_json(path):
    return tools_support.json.loads(pathlib.Path(path).read_text())


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory() as directory:
        yield pathlib.Path(directory)


def run(tests):
    """Run the tests, functions of a Weir; Skip skips one."""
    weir = tools_support.Weir(tools_support.program())
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        start = time.monotonic()
        try:
            test(weir)
        except Skip as why:
            print(f"ok {number} - {test.__doc__} # SKIP {why}", flush=True)
        except Exception as error:  # one broken test must not hide the others
            failed += 1
            print(f"not ok {number} - {test.__doc__}")
            print("# " + f"{type(error).__name__}: {error}".replace("\n", "\n# "), flush=True)
        else:
            print(f"ok {number} - {test.__doc__}", flush=True)
        if os.environ.get("WEIR_TEST_TIMES"):
            print(f"# {time.monotonic() - start:.1f} s", flush=True)
    return min(failed, 100)
