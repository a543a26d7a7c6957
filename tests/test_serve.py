#!/usr/bin/env python3
"""weir serve as its clients see it: methods, errors, restarts, overload, signals, full disks.

Usage: test_serve.py [PROGRAM]. Without PROGRAM it is tools/weir of $WEIR_BUILDDIR. Prints TAP.
"""

import os
import pathlib
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import service_support
from service_support import (LIMIT_SECONDS, Client, Server, Skip, equal, expect, msgpack, scratch,
                             wait_for)
from tools_support import forbid_io_uring

pack = msgpack.packb
MIB = 1 << 20


# --- methods ---------------------------------------------------------------------------------

def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_methods(weir):
    """ping, echo, append, read and stat over unix and TCP"""
    with scratch() as directory:
        listen = [f"unix:{directory}/sock", "tcp:127.0.0.1:0", "tcp:localhost:0",
                  f"unix:@weir-test-{os.getpid()}"]
        if has_ipv6():
            listen.append("tcp:[::1]:0")
        with Server(weir, listen=listen, directory=directory) as server:
            equal(server.addresses[0], listen[0])
            equal(server.addresses[3], listen[3])
            for which in range(len(listen)):
                with server.client(which) as client:
                    equal(client.call("ping"), "pong")
                    equal(client.call("echo", {"a": [1, None, 2.5]}), {"a": [1, None, 2.5]})
                    equal(client.call("echo", 1, 2, 3), 1)
                    equal(client.call("append", f"record {which}", which), 2 * which + 2)
                    equal(client.call("read", 2 * which + 1, 10), [f"record {which}", which])
                    equal(client.call("stat")["log"]["records"], 2 * which + 2)
            equal(server.records(), [f"record {i // 2}" if i % 2 == 0 else i // 2
                                     for i in range(2 * len(listen))])
            server.finish()
            expect(not pathlib.Path(directory, "sock").exists(), "the socket file is left")


def test_errors(weir):
    """wrong calls are answered with what is wrong and where"""
    methods = "; there are ping, echo, append, read, stat"
    cases = [
        (("nope",), "unknown method 'nope'" + methods),
        (("",), "unknown method ''" + methods),
        (("pingpong",), "unknown method 'pingpong'" + methods),
        (("\x1b[2J" + "x" * 100,), "unknown method '?[2J" + "x" * 60 + "...'" + methods),
        (("ping", 1), "ping: 1 parameters given, expected: none"),
        (("stat", 1, 2), "stat: 2 parameters given, expected: none"),
        (("echo",), "echo: 0 parameters given, expected: a value to send back"),
        (("append",), "append: 0 parameters given, expected: one or more records"),
        (("read", 1), "read: 1 parameters given, expected: the first record's number and a count"),
        (("read", 1, 2, 3),
         "read: 3 parameters given, expected: the first record's number and a count"),
        (("read", "1", 2), "read: parameter 1 (from) is not an integer"),
        (("read", 1, None), "read: parameter 2 (count) is not an integer"),
        (("read", 1, 2.0), "read: parameter 2 (count) is not an integer"),
        (("read", -1, 2), "read: parameter 1 (from) is negative"),
        (("read", 1, -2**63), "read: parameter 2 (count) is negative"),
        (("read", 0, 1), "read: parameter 1 (from) is 0; records count from 1"),
    ]
    with Server(weir) as server, server.client() as client:
        for call, text in cases:
            equal(client.error(*call), text, call)
        deep = b"\x91" * 129 + b"\x01"
        client.send(b"\x94\x00\x07\xa6append\x93\x01\x92\x01\x02" + b"\x91" * 127 + b"\x90")
        answer = client.answer()
        equal(answer[:3], [1, 7, None])
        client.send(b"\x94\x00\x08\xa6append\x93\x01" + deep + b"\x02")
        answer = client.answer()
        equal(answer[1:], [8, "append: parameter 2, offset 128: nested deeper than the limit",
                           None])
        equal(client.call("read", 1, 9)[:2], [1, [1, 2]])
        equal(client.call("stat")["connections"]["errors"], len(cases) + 1)
        equal(client.call("read", 2**64 - 1, 2**64 - 1), [])
        equal(client.call("read", 1, 0), [])
        equal(client.call("read", 4, 1), [])
        equal(server.said(), [])


def test_wrong_types(weir):
    """a request whose method or parameters are of another type is answered, with its id"""
    method, params = "the method is not a string", "the parameters are not an array"
    cases = [
        (b"\x94\x00\x01\xa4ping\xc0", 1, f"offset 8 of the request: {params}"),
        (b"\x94\x00\x02\xa4ping\x80", 2, f"offset 8 of the request: {params}"),
        (b"\x94\x00\x03\x05\x90", 3, f"offset 3 of the request: {method}"),
        (b"\x94\x00\x04\xc4\x04ping\x90", 4, f"offset 3 of the request: {method}"),
        (b"\x94\x00\xce\xff\xff\xff\xff\xc0\xc0", 2**32 - 1,
         f"offset 7 of the request: {method}"),
    ]
    with Server(weir) as server, server.client() as client:
        for data, number, text in cases:
            client.send(data)
            equal(client.answer(), [1, number, text, None], data)
        for data in (b"\x93\x02\xa4ping\xc0", b"\x93\x02\xa6append\x01", b"\x93\x02\xc0\x90"):
            client.send(data)
        equal(client.call("ping"), "pong")
        counts = client.call("stat")["connections"]
        equal((counts["errors"], counts["requests"], counts["notifications"], counts["malformed"]),
              (len(cases), len(cases) + 2, 3, 0))
        equal(server.said(), [])


def test_echo_bytes(weir):
    """echo sends back the same bytes, whatever the size and the form"""
    with Server(weir) as server, server.client() as client:
        values = [b"\xcc\x01", b"\xcf" + bytes(8), b"\xdb\0\0\0\1a", b"\xdd\0\0\0\2\xc0\xc3",
                  b"\xdf\0\0\0\1\xc2\xc3", b"\xca\x7f\xc0\0\1", b"\xd4\x05\x00", b"\xa3\xff\xfe\xfd",
                  b"\x82\x01\x02\x01\x03"]
        for size in [6, 100, 1023, 1024, 1025, 4095, 4096, 16384, 65535, 65536, 65537, 200000,
                     MIB, 5 * MIB]:
            values.append(b"\xc6" + struct.pack(">I", size - 5) + os.urandom(size - 5))
        for number, value in enumerate(values):
            client.send(b"\x94\x00\xcd" + struct.pack(">H", 1000 + number) + b"\xa4echo\x91" + value)
            wanted = b"\x94\x01\xcd" + struct.pack(">H", 1000 + number) + b"\xc0" + value
            got = bytearray()
            while len(got) < len(wanted):
                got += client.sock.recv(len(wanted) - len(got))
            expect(got == wanted, "value", number, "of", len(value), "bytes")


def test_notifications(weir):
    """notifications get no answer, append does its work all the same"""
    with Server(weir) as server, server.client() as client:
        client.notify("append", "a", "b")
        client.notify("append")
        client.notify("ping")
        client.notify("nope", 1)
        client.notify("read", 1, 1)
        client.notify("echo", 1)
        equal(client.call("append", "c"), 3)
        equal(client.call("read", 1, 9), ["a", "b", "c"])
        counts = client.call("stat")["connections"]
        equal((counts["notifications"], counts["requests"], counts["errors"]), (6, 3, 0))


# --- the flow of bytes -----------------------------------------------------------------------

def test_cut_everywhere(weir):
    """messages that arrive cut at every byte, and byte by byte"""
    calls = [("ping",), ("echo", "x" * 40), ("append", 1, "two", [3]), ("echo", {"k": 1.5}),
             ("append", b"y" * 50)]
    data = b"".join(pack([0, i, call[0], list(call[1:])]) for i, call in enumerate(calls))
    with Server(weir) as server, server.client() as client:
        rounds = 0
        for cut in range(1, len(data)):
            client.send(data[:cut])
            time.sleep(0.001)
            client.send(data[cut:])
            check_calls(client, calls, rounds)
            rounds += 1
        for byte in data:
            client.send(bytes([byte]))
        check_calls(client, calls, rounds)
        equal(len(server.records()), 4 * (rounds + 1))


def check_calls(client, calls, rounds):
    """The answers to the calls of test_cut_everywhere: echo at once, append when durable."""
    answers = dict((answer[1], answer[2:]) for answer in client.answers(len(calls)))
    wanted = {0: [None, "pong"], 1: [None, "x" * 40], 2: [None, 4 * rounds + 3],
              3: [None, {"k": 1.5}], 4: [None, 4 * rounds + 4]}
    equal(answers, wanted)


def test_many_at_once(weir):
    """thousands of requests in one packet, answered in order"""
    count = 5000
    with Server(weir) as server, server.client() as client:
        data = b"".join(pack([0, i, "echo", [i]]) for i in range(count))
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        for i in range(count):
            equal(client.answer(), [1, i, None, i])
        sender.join()
        data = b"".join(pack([0, i, "append", [i]]) for i in range(count))
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        for i in range(count):
            equal(client.answer(), [1, i, None, i + 1])
        sender.join()
        equal(server.records(), list(range(count)))
        stats = client.call("stat")["log"]
        expect(0 < stats["syncs"] <= stats["blocks"] < count, "nothing was grouped:", stats)


def test_many_connections(weir):
    """a hundred connections, each with requests under way"""
    with Server(weir, listen=["tcp:127.0.0.1:0"]) as server:
        clients = [server.client() for _ in range(100)]
        numbers = set()
        for turn in range(10):
            for which, client in enumerate(clients):
                client.request("append", [which, turn], number=turn)
        for which, client in enumerate(clients):
            for turn in range(10):
                answer = client.answer()
                equal(answer[:3], [1, turn, None])
                numbers.add(answer[3])
        equal(numbers, set(range(1, 1001)))
        records = server.records()
        for which in range(100):
            equal([turn for name, turn in records if name == which], list(range(10)))
        for client in clients:
            client.sock.close()
        wait_for("the connections to close",
                 lambda: server.stat()["connections"]["open"] == 1)


def test_malformed(weir):
    """malformed bytes close their connection, with a reason, and no other"""
    good = pack([0, 1, "ping", []])
    cases = [
        (b"\xc1", 0, "the reserved byte 0xc1"),
        (b"\x94\x00\x01\xa4ping\x91\xc1", 9, "the reserved byte 0xc1"),
        (b"\x01", 0, "not a MessagePack-RPC envelope"),
        (b"\xc0", 0, "not a MessagePack-RPC envelope"),
        (b"\x90", 0, "an RPC envelope with another number of elements"),
        (b"\x94\x03\x01\xa1x\x90", 1, "an RPC kind other than 0, 1 or 2"),
        (b"\x94\x00\xa1x\xa1x\x90", 2, "not a MessagePack-RPC envelope"),
        (b"\x94\x00\xff\xa1x\x90", 2, "an RPC kind or id is out of range"),
        (b"\x94\x00\xcf" + b"\x01" + bytes(7) + b"\xa1x\x90", 2, "an RPC kind or id is out of range"),
        (b"\x93\x00\x01\xa1x", 0, "an RPC envelope with another number of elements"),
        (b"\x94\x01\x01\xc0\xc0", 0, "a response, where only requests are expected"),
    ]
    with Server(weir) as server, server.client() as other:
        for number, (data, offset, reason) in enumerate(cases):
            with server.client() as client:
                equal(client.call("ping"), "pong")
                client.send(data)
                expect(client.at_end(), "still open after", data)
                equal(other.call("ping"), "pong")
            line = wait_for("a line about it", lambda: server.said()[number:])[0]
            expect(line.startswith(f"unix: process {os.getpid()}: offset {len(good) + offset}: "),
                   data, line)
            expect(line.endswith("; connection closed"), line)
            expect(reason in line, data, line)
        equal(len(server.said()), len(cases))
        equal(other.call("stat")["connections"]["malformed"], len(cases))


def test_answers_before_fault(weir):
    """what was asked for before malformed bytes is answered, then the connection closes"""
    faults = [b"\x01", b"\x94\x01\x01\xc0\xc0", b"\x94\x00\xc0\xa4ping\x90", b"\xc1"]
    with Server(weir, listen=["tcp:127.0.0.1:0"]) as server:
        for number, fault in enumerate(faults):
            pings = b"".join(pack([0, i, "ping", []]) for i in range(3))
            appends = b"".join(pack([0, i, "append", [i]]) for i in range(5))
            more = pack([0, 9, "append", ["too late"]])
            with server.client() as client:
                client.send(pings + fault + more)
                equal(client.answers(3), [[1, i, None, "pong"] for i in range(3)])
                expect(client.answer() is None, "more than answers")
            with server.client() as client:
                client.send(appends + fault + more)
                equal(client.answers(5), [[1, i, None, 5 * number + i + 1] for i in range(5)])
                expect(client.answer() is None, "more than answers")
        equal(server.records(), [i for _ in faults for i in range(5)])
        wait_for("the lines about it", lambda: len(server.said()) == 2 * len(faults))
        for line in server.said():
            expect("; connection closed" in line, line)
        equal(server.stat()["connections"]["malformed"], 2 * len(faults))


def test_many_lines(weir):
    """a flood of malformed connections fills no disk: lines are left out and counted"""
    with Server(weir) as server:
        begun = time.monotonic()
        for _ in range(400):
            with server.client() as client:
                client.send(b"\xc1")
                expect(client.at_end())
        # A hundred at once, and ten a second.
        most = 102 + 10 * (time.monotonic() - begun)
        expect(50 <= len(server.said()) < most, len(server.said()), "of", most)
        wait_for("time for a line", lambda: knock(server))
        # Counted when they are closed, a moment after the client has seen the end.
        wait_for("all of them counted", lambda: server.stat()["connections"]["malformed"] > 400)


def knock(server):
    with server.client() as client:
        client.send(b"\xc1")
        expect(client.at_end())
    return " lines left out" in server.stderr()


def test_too_large(weir):
    """a message above --max-message closes its connection before it is all there"""
    with Server(weir, "--max-message", "1K") as server:
        with server.client() as client:
            fits = b"\x94\x00\x01\xa4echo\x91\xc5" + struct.pack(">H", 1024 - 12)
            client.send(fits + b"x" * (1024 - 12))
            equal(client.answer(), [1, 1, None, b"x" * (1024 - 12)])
            client.send(b"\x94\x00\x01\xa4echo\x91\xc6" + struct.pack(">I", 1 << 30))
            expect(client.at_end())
        wait_for("a line about it", server.said)
        expect("limit" in server.said()[0], server.said())


def test_broken_clients(weir):
    """clients that vanish, within a message or with answers under way, harm nobody"""
    with Server(weir, listen=["tcp:127.0.0.1:0"]) as server, server.client() as other:
        for number in range(40):
            client = server.client()
            if number % 4 != 3:
                client.send(pack([0, 1, "append", [b"z" * 30000]]))
            if number % 4 == 1:
                # Closing with an answer unread would reset the connection, and overtake what is sent.
                expect(client.answer() is not None)
                client.send(pack([0, 2, "append", [b"z" * 300000]])[:200000])
            if number % 4 == 2:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sock.close()
            equal(other.call("ping"), "pong")
        wait_for("the connections to close",
                 lambda: other.call("stat")["connections"]["open"] == 1)
        cut = [line for line in server.said() if "within a message" in line]
        reset = [line for line in server.said() if "broke the connection" in line]
        expect(len(cut) == 10 and len(reset) >= 10, server.said())
        equal(set(server.records()), {b"z" * 30000})


def test_half_close(weir):
    """a peer that has ended its side still gets every answer"""
    with Server(weir, listen=["tcp:127.0.0.1:0"]) as server:
        for count in (1, 10, 500):
            with server.client() as client:
                client.send(b"".join(pack([0, i, "append", [b"r" * 100]]) for i in range(count)) +
                            b"".join(pack([0, i, "read", [1, 1]]) for i in range(3)))
                client.sock.shutdown(socket.SHUT_WR)
                answers = client.answers(count + 3)
                expect(None not in answers, "the answers end early")
                equal(sorted(answer[3] for answer in answers if isinstance(answer[3], int))[-1],
                      len(server.records()))
                expect(client.answer() is None, "more than answers")
        with server.client() as client:
            client.sock.shutdown(socket.SHUT_WR)
            expect(client.answer() is None)
        equal(server.said(), [])


# --- the log ---------------------------------------------------------------------------------

def test_durable_order(weir):
    """what was answered is in the file; numbers and records agree"""
    with Server(weir) as server, server.client() as client, server.client() as second:
        offset = 0
        for number in range(1, 200):
            record = "r" * random.randrange(3000)
            which = client if number % 2 else second
            equal(which.call("append", record), number)
            data = server.log.read_bytes()
            expect(service_support.log_messages(data[offset:]) == pack(record), "record", number)
            offset = len(data)
        stats = client.call("stat")["log"]
        equal((stats["records"], stats["bytes"], stats["blocks"], stats["syncs"]),
              (199, offset, 199, 199))


def test_exact_bytes(weir):
    """records are stored exactly as received, unusual forms included"""
    forms = [b"\xcf" + bytes(7) + b"\x01", b"\xdb\0\0\0\1a", b"\xdd\0\0\0\1\xc0", b"\xd9\x01\xff",
             b"\xde\0\1\xa1k\xc7\x01\x05z", b"\xca\x7f\x80\0\1", b"\xc6\0\0\0\0"]
    with Server(weir) as server, server.client() as client:
        client.send(b"\x94\x00\x01\xa6append\x97" + b"".join(forms))
        equal(client.answer(), [1, 1, None, 7])
        equal(server.messages(), b"".join(forms))
        client.send(b"\x94\x00\x01\xa4read\x92\x02\x03")
        wanted = b"\x94\x01\x01\xc0\x93" + b"".join(forms[1:4])
        got = b""
        while len(got) < len(wanted):
            got += client.sock.recv(1000)
        equal(got, wanted)


def test_restart(weir):
    """a log is gone on with after a restart; a cut-off block is reported and removed"""
    with scratch() as directory:
        log = directory / "log"
        with Server(weir, directory=directory) as server, server.client() as client:
            equal(client.call("append", *range(1000)), 1000)
        whole = log.read_bytes()
        with Server(weir, directory=directory) as server, server.client() as client:
            equal(client.call("append", {"last": "record", "n": 12345}), 1001)
        last = log.read_bytes()[len(whole):]
        for cut in range(len(last)):
            log.write_bytes(whole + last[:cut])
            with Server(weir, directory=directory) as server, server.client() as client:
                equal(log.read_bytes(), whole)
                why = ("no head of a block, nor padding" if cut < service_support.HEAD_BYTES
                       else "the block is cut off")
                said = [f"{log}: offset {len(whole)}: {why}; {cut} bytes removed"]
                equal(server.said(), said if cut else [])
                equal(client.call("read", 1000, 5), [999])
                equal(client.call("append", "next"), 1001)
                equal(client.call("read", 999, 5), [998, 999, "next"])
            data = log.read_bytes()
            expect(data.startswith(whole), "what was durable")
            equal(service_support.log_messages(data[len(whole):]), pack("next"))


def test_damaged_log(weir):
    """damage in the middle of a log is reported, and reading goes on behind it"""
    with scratch() as directory:
        log = directory / "log"
        with Server(weir, directory=directory) as server, server.client() as client:
            for number in range(1, 4):
                equal(client.call("append", f"record {number}"), number)
        data = bytearray(log.read_bytes())
        start = len(data) // 3
        data[start + service_support.HEAD_BYTES + 3] ^= 1
        log.write_bytes(data)
        with Server(weir, directory=directory) as server, server.client() as client:
            why = "the messages of the block are not those of its checksum"
            equal(server.said(), [f"{log}: offset {start}: {why}"])
            equal(client.call("read", 1, 5), ["record 1"])
            equal(client.error("read", 2, 5), f"read: record 2 is missing in the log: {why}")
            equal(client.call("read", 3, 5), ["record 3"])
            equal(client.call("append", "record 4"), 4)
            equal(client.call("read", 3, 5), ["record 3", "record 4"])
        equal(log.read_bytes()[:len(data)], bytes(data), "what was damaged is left as it is")


def test_segments(weir):
    """a full file is followed by a numbered one, and records are read from all"""
    with scratch() as directory:
        body = b"s" * 3000
        for start in (0, 100):
            with Server(weir, "--segment", "64K", directory=directory) as server:
                with server.client() as client:
                    for number in range(start + 1, start + 101):
                        equal(client.call("append", [number, body]), number)
                    stats = client.call("stat")["log"]
                    equal(stats["records"], start + 100)
                    equal(stats["segment"], 4 if start == 0 else 9)
                    for number in (1, 22, 23, 60, start + 100):
                        got = client.call("read", number, 1000)
                        equal([n for n, _ in got], list(range(number, start + 101)))
        names = sorted(path.name for path in directory.glob("log*"))
        equal(names, ["log"] + [f"log.{i:06}" for i in range(1, 10)])
        found = b"".join(service_support.log_messages((directory / name).read_bytes())
                         for name in names)
        equal(found, b"".join(pack([number, body]) for number in range(1, 201)))


def test_ack_written(weir):
    """--ack written answers without a sync, until the end; --ack durable is what it is without"""
    for when, synced in (("written", False), ("durable", True)):
        with Server(weir, "--ack", when) as server, server.client() as client:
            for number in range(1, 20):
                equal(client.call("append", number), number)
            equal(client.call("stat")["log"]["syncs"] != 0, synced)
            equal(server.records(), list(range(1, 20)))


def test_direct(weir):
    """--direct gives the same log, or says why it is not direct"""
    with Server(weir, "--direct") as server, server.client() as client:
        body = b"d" * 5000
        equal(client.call("append", *[body] * 200), 200)
        equal(client.call("append", "odd"), 201)
        equal(client.call("read", 200, 5), [body, "odd"])
        direct = client.call("stat")["log"]["direct"]
        expect((direct == 0) == (len(server.said()) == 1), direct, server.said())


def test_bad_logs(weir):
    """a log that holds something else, or is none, is refused and left as it is"""
    with scratch() as directory:
        log = directory / "log"
        listen = f"unix:{directory}/sock"

        def refused(status, text):
            done = weir.run("serve", "--listen", listen, "--log", str(log))
            equal((done.returncode, done.stderr.decode()), (status, f"weir serve: {text}\n"))

        for data in (pack([1, 2, 3]) + pack("x" * 100), b"\xc1", b"text\n"):
            log.write_bytes(data)
            refused(1, f"{log}: the file is not a log: it was left as it is")
            equal(log.read_bytes(), data)
        log.unlink()
        log.mkdir()
        done = weir.run("serve", "--listen", listen, "--log", str(log))
        equal(done.returncode, 73, done.stderr)
        log.rmdir()
        os.mkfifo(log)
        done = weir.run("serve", "--listen", listen, "--log", str(log))
        equal(done.returncode, 73, done.stderr)
        expect(b"not a regular file" in done.stderr, done.stderr)


def test_one_server(weir):
    """a second service on the same log or the same address is refused"""
    with scratch() as directory:
        with Server(weir, directory=directory) as server:
            other = f"unix:{directory}/other"
            done = weir.run("serve", "--listen", other, "--log", str(server.log))
            equal((done.returncode, done.stderr.decode()),
                  (75, f"weir serve: {server.log}: another process has the log open\n"))
            done = weir.run("serve", "--listen", server.addresses[0], "--log",
                            str(directory / "log2"))
            equal(done.returncode, 69, done.stderr)
            with server.client() as client:
                equal(client.call("ping"), "pong")
            server.process.kill()
            server.process.wait()
            expect((directory / "sock").is_socket(), "the socket file of a killed service")
        # Nobody listens behind the file any more: it is replaced.
        with Server(weir, directory=directory) as server, server.client() as client:
            equal(client.call("ping"), "pong")
        (directory / "sock").write_text("a file")
        done = weir.run("serve", "--listen", f"unix:{directory}/sock", "--log",
                        str(directory / "log"))
        equal(done.returncode, 69, done.stderr)
        equal((directory / "sock").read_text(), "a file")


def test_read_ranges(weir):
    """reads of any range give the records there, as many as fit 1 MiB, at least one"""
    random.seed(7)
    sizes = [random.choice([1, 5, 30, 200, 1000]) for _ in range(900)]
    sizes[300:300] = [70000, 1, MIB - 5, 1, MIB, 3 * MIB, 2, 65530, 65536, 400000, 400000, 400000]
    records = [bytes([i % 256]) * size for i, size in enumerate(sizes)]
    with scratch() as directory:
        with Server(weir, directory=directory) as server, server.client() as client:
            # In groups and alone, so that index entries fall everywhere.
            at = 0
            while at < len(records):
                count = min(random.choice([1, 3, 50, 400]), len(records) - at)
                while sum(map(len, records[at:at + count])) > 8 * MIB:
                    count //= 2
                at += count
                equal(client.call("append", *records[at - count:at]), at)
            check_ranges(client, records)
        with Server(weir, directory=directory) as server, server.client() as client:
            check_ranges(client, records)


def check_ranges(client, records):
    starts = [1, 2, 255, 256, 257, 258, 512, 513, *range(298, 316), len(records) - 1, len(records)]
    for start in starts + [random.randrange(1, len(records) + 1) for _ in range(30)]:
        for count in (1, 2, 256, 257, 100000):
            wanted = fitting(records[start - 1:start - 1 + count])
            got = client.call("read", start, count)
            expect(got == wanted, "read", start, count, "gives", len(got), "of", len(wanted))


def fitting(records):
    total = 0
    for number, record in enumerate(records):
        total += len(pack(record))
        if total > MIB and number:
            return records[:number]
    return records


def test_pipelined_reads(weir):
    """reads that are pipelined are answered one after the other"""
    with Server(weir) as server, server.client() as client:
        client.call("append", *[b"r" * 500 for _ in range(3000)])
        data = b"".join(pack([0, i, "read", [1 + i, 1000]]) for i in range(200))
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        for i in range(200):
            answer = client.answer()
            equal((answer[:3], len(answer[3])), ([1, i, None], 1000))
        sender.join()
        expect(client.call("stat")["pool"]["bytes_in_use_peak"] < 64 * MIB, "memory")


# --- overload --------------------------------------------------------------------------------

def test_never_reads(weir):
    """a client that sends and never reads is paused; others are served, and it can catch up"""
    body = b"f" * 8000
    with Server(weir) as server, server.client() as other:
        client = server.client()
        client.sock.settimeout(0.5)
        sent = 0
        data = pack([0, 1, "echo", [body]])
        stuck = b""
        try:
            while sent < 100000:
                stuck = data
                while stuck:
                    stuck = stuck[client.sock.send(stuck):]
                sent += 1
        except TimeoutError:
            pass
        expect(sent < 10000, "the service takes in everything:", sent)
        expect(other.call("stat")["pool"]["bytes_in_use"] < 32 * MIB, other.call("stat")["pool"])
        equal(other.call("echo", 5), 5)
        client.sock.settimeout(LIMIT_SECONDS)
        sender = threading.Thread(target=client.send, args=(stuck,))
        sender.start()
        for _ in range(sent + (stuck != b"")):
            equal(client.answer(), [1, 1, None, body])
        sender.join()
        client.sock.close()


def test_answers_pin_little(weir):
    """answers that are not taken keep little more memory than they are long"""
    for size, method, most in ((3000, "read", MIB), (3000, "echo", MIB), (40000, "echo", MIB),
                               (70000, "read", 2 * MIB), (70000, "echo", 2 * MIB)):
        with Server(weir) as server, server.client() as other:
            body = b"r" * size
            for _ in range(10):
                other.call("append", *[body] * 10)
            request = pack([0, 1, method, [5, 1] if method == "read" else [body]])
            clients = [server.client() for _ in range(4)]
            before = other.call("stat")
            # Small answers are copied so as not to pin what they came in; that is counted.
            least = len(clients) * 256 << 10 if size <= 40000 else 0
            after = send_until_stuck(clients, request, other, before, least)
            grown = after["pool"]["bytes_in_use"] - before["pool"]["bytes_in_use"]
            expect(grown < len(clients) * most, method, size, "keeps", grown, "bytes")
            for client in clients:
                client.sock.close()


def send_until_stuck(clients, request, other, before, least):
    """Clients that take no answers send until nothing moves any more; the stat of then.

    Nothing moves when the service, asked for stat by another client, answers many times and has
    neither taken nor answered anything in between. Time that passes shows nothing: the service
    may not have run. It must have copied @least bytes since @before.
    """
    left = {client: b"" for client in clients}
    end = time.monotonic() + LIMIT_SECONDS
    last, still, asked = None, 0, 0
    for client in clients:
        client.sock.setblocking(False)
    while True:
        expect(time.monotonic() < end, "still", still, "times; state", last, "least", least)
        # In turns, so that what they send lies in the same blocks.
        blocked = 0
        for client in clients:
            try:
                data = left[client] or request
                left[client] = data[client.sock.send(data):]
            except BlockingIOError:
                blocked += 1
        if blocked < len(clients):
            last = None
            continue
        stat = other.call("stat")
        asked += 1
        copied = (stat["buffers"]["bytes_copied_by_connections"] -
                  before["buffers"]["bytes_copied_by_connections"])
        state = (stat["connections"]["requests"] - asked, copied)
        still = still + 1 if state == last else 0
        last = state
        if still >= 20 and copied >= least:
            return stat


def test_append_flood(weir):
    """appends above --max-waiting pause their connections; every record arrives"""
    with Server(weir, "--max-waiting", "64K") as server:
        clients = [server.client() for _ in range(4)]
        body = b"b" * 3000
        threads = []
        for which, client in enumerate(clients):
            data = b"".join(pack([0, i, "append", [[which, i], body]]) for i in range(500))
            threads.append(threading.Thread(target=client.send, args=(data,)))
            threads[-1].start()
        for which, client in enumerate(clients):
            for i in range(500):
                answer = client.answer()
                equal(answer[:3], [1, i, None])
            client.sock.close()
        for thread in threads:
            thread.join()
        stats = server.stat()
        expect(stats["connections"]["pauses"] > 0, stats)
        records = server.records()
        equal(len(records), 4000)
        for which in range(4):
            equal([r[1] for r in records if isinstance(r, list) and r[0] == which],
                  list(range(500)))


def test_memory_limit(weir):
    """at the limit of --memory a call or a connection fails, the service goes on"""
    with Server(weir, "--memory", "16M", "--max-message", "64M") as server:
        with server.client() as other:
            client = server.client()
            try:
                client.send(pack([0, 1, "append", [b"m" * (20 * MIB)]]))
                answer = client.answer()
                expect(answer is None or isinstance(answer[2], str), answer)
            except (ConnectionResetError, BrokenPipeError):
                pass
            client.sock.close()
            equal(other.call("append", "fits"), 1)
            wait_for("the connection to close",
                     lambda: other.call("stat")["connections"]["open"] == 1)
        expect(server.said(), "nothing was said")


def limited(**limits):
    """For Popen: the resource limits of the service, signals that Python ignores kept ignored."""
    def apply():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    return {"preexec_fn": apply, "restore_signals": False}


def test_no_descriptors(weir):
    """out of descriptors: reported, not over and over, and accepting goes on when there are some"""
    with Server(weir, **limited(NOFILE=24)) as server:
        clients = []
        for _ in range(40):
            clients.append(server.client())
        wait_for("a report", server.said)
        expect("cannot accept connections" in server.said()[0] and "EMFILE" in server.said()[0],
               server.said())
        equal(clients[0].call("ping"), "pong")
        for client in clients[1:]:
            client.sock.close()
        with server.client() as client:
            equal(client.call("ping"), "pong")
        expect(len(server.said()) < 5, server.said())
        clients[0].sock.close()


def test_max_connections(weir):
    """connections above --max-connections are closed at once, and there is room again later"""
    with Server(weir, "--max-connections", "3", listen=["tcp:127.0.0.1:0"]) as server:
        clients = [server.client() for _ in range(3)]
        for client in clients:
            equal(client.call("ping"), "pong")
        for _ in range(20):
            with server.client() as more:
                expect(more.at_end(), "a fourth connection stays open")
        counts = clients[0].call("stat")["connections"]
        equal((counts["open"], counts["accepted"], counts["turned_away"]), (3, 3, 20))
        equal(server.said(), [f"{server.addresses[0]}: 3 connections are open, closing others; "
                              "see --max-connections"])
        clients[1].sock.close()
        wait_for("it to close", lambda: clients[0].call("stat")["connections"]["open"] == 2)
        with server.client() as client:
            equal(client.call("ping"), "pong")
            with server.client() as more:
                expect(more.at_end(), "a fourth connection stays open")
        equal(len(server.said()), 2, server.said())
        for client in clients:
            client.sock.close()


# --- a log that fails ------------------------------------------------------------------------

def check_full(server, name):
    """Fill the log until an append fails, and see that reading goes on. The number of records."""
    acknowledged = 0
    with server.client() as client:
        error = None
        for i in range(1000):
            number = client.request("append", [i, b"f" * 1000])
            answer = client.answer()
            if answer[2] is not None:
                error = answer[2]
                break
            acknowledged += 1
            equal(answer, [1, number, None, acknowledged])
        expect(error is not None and name in error and
               error.startswith("append: the log cannot be written to for now: "), error)
        expect(acknowledged > 0, "nothing was acknowledged")
        equal(client.error("append", [0, b"f" * 1000]), error)
        client.notify("append", [0, b"f" * 1000])
        equal(client.call("read", acknowledged, 5), [[acknowledged - 1, b"f" * 1000]])
        equal(client.call("ping"), "pong")
        stats = client.call("stat")["log"]
        equal((stats["failed"], stats["records"]), (0, acknowledged))
        # What a failed write left in the file is cut off in its own time.
        wait_for("the notification to fail", lambda: client.call("stat")["log"]["failures"] >= 3)
    equal([r[0] for r in server.records()], list(range(acknowledged)))
    return acknowledged


def test_file_limit(weir):
    """a write that fails: waiting and later appends get an error, reading goes on"""
    with scratch() as directory:
        with Server(weir, directory=directory, **limited(FSIZE=100000)) as server:
            acknowledged = check_full(server, "EFBIG")
            server.finish()
        with Server(weir, directory=directory) as server, server.client() as client:
            equal(client.call("append", "more"), acknowledged + 1)
            equal(server.said(), [])


def test_failed_group(weir):
    """when a group fails every request in it is answered with the error"""
    with Server(weir, **limited(FSIZE=20000)) as server:
        clients = [server.client() for _ in range(5)]
        data = b"".join(pack([0, i, "append", [b"g" * 400]]) for i in range(100))
        for client in clients:
            client.send(data)
        good = bad = 0
        for client in clients:
            for answer in client.answers(100):
                if answer[2] is None:
                    good += 1
                else:
                    expect("EFBIG" in answer[2], answer)
                    bad += 1
            client.sock.close()
        equal(good + bad, 500)
        equal(len(server.records()), good)


def test_disk_full(weir):
    """a full disk fails appends; they work again when there is space"""
    if os.getuid() != 0:
        raise Skip("mounting needs root")
    with scratch() as directory:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "weir-test", directory],
                              check=False, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise Skip("a tmpfs cannot be mounted: " + done.stderr.decode().strip())
        try:
            ballast = directory / "ballast"
            ballast.write_bytes(bytes(60000))
            with Server(weir, directory=directory) as server, server.client() as client:
                acknowledged = check_full(server, "ENOSPC")
                ballast.unlink()
                for number in range(acknowledged + 1, acknowledged + 11):
                    equal(client.call("append", [number, b"a" * 1000]), number)
                equal(len(server.records()), acknowledged + 10)
                server.process.kill()
                server.process.wait()
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


# --- signals ---------------------------------------------------------------------------------

class Load(threading.Thread):
    """A client that appends without pause until the connection ends."""

    def __init__(self, address, name):
        super().__init__()
        self.client = Client(address)
        self.client_name = name
        self.acknowledged = {}
        self.window = 50

    def run(self):
        sent = 0
        try:
            while True:
                while sent - len(self.acknowledged) < self.window:
                    self.client.request("append", [self.client_name, sent], number=sent)
                    sent += 1
                answer = self.client.answer()
                if answer is None:
                    break
                if answer[2] is None:
                    self.acknowledged[answer[1]] = answer[3]
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.client.sock.close()


def start_loads(loads):
    """Start them, until each has got many answers."""
    for load in loads:
        load.start()
    wait_for("answers", lambda: min(len(load.acknowledged) for load in loads) >= 200)


def test_term_under_load(weir):
    """SIGTERM under load: exit 0, and every acknowledged record is in the log"""
    for number, which in ((signal.SIGTERM, "unix"), (signal.SIGINT, "tcp")):
        with scratch() as directory:
            listen = [f"unix:{directory}/sock" if which == "unix" else "tcp:127.0.0.1:0"]
            with Server(weir, listen=listen, directory=directory) as server:
                loads = [Load(server.addresses[0], name) for name in range(6)]
                start_loads(loads)
                server.finish(signal_number=number)
                for load in loads:
                    load.join()
                records = server.records()
                for load in loads:
                    expect(load.acknowledged, "nothing was acknowledged to", load.client_name)
                    for sent, place in load.acknowledged.items():
                        equal(records[place - 1], [load.client_name, sent])


def test_kill_under_load(weir):
    """SIGKILL under load: the next start keeps every acknowledged record"""
    with scratch() as directory:
        with Server(weir, directory=directory) as server:
            loads = [Load(server.addresses[0], name) for name in range(4)]
            start_loads(loads)
            server.process.kill()
            server.process.wait()
            for load in loads:
                load.join()
        with Server(weir, directory=directory) as server, server.client() as client:
            records = server.records()
            for load in loads:
                for sent, place in load.acknowledged.items():
                    equal(records[place - 1], [load.client_name, sent])
            equal(client.call("append", "next"), len(records) + 1)


def stuck_client(server):
    """A client with answers that it does not take."""
    client = server.client()
    client.sock.settimeout(0.3)
    try:
        while True:
            client.send(pack([0, 1, "echo", [b"s" * 50000]]))
    except TimeoutError:
        pass
    return client


def test_drain(weir):
    """a peer that does not take its answers delays the end by --drain at most"""
    with Server(weir, "--drain", "1") as server:
        client = stuck_client(server)
        start = time.monotonic()
        server.finish()
        expect(0.5 < time.monotonic() - start < 30, time.monotonic() - start)
        expect("do not take their answers" in server.said()[0], server.said())
        client.sock.close()


def test_stall(weir):
    """a peer that takes no answers for --stall is closed, slow and idle ones are not"""
    with Server(weir, "--stall", "1") as server:
        stuck, slow, idle = stuck_client(server), server.client(), server.client()
        body = b"s" * 700000
        # For longer than --stall, and until the one that takes nothing is closed.
        end = time.monotonic() + 1.5
        while time.monotonic() < end or not server.said():
            expect(time.monotonic() < end + LIMIT_SECONDS, "the stuck one stays")
            slow.request("echo", body)
            time.sleep(0.3)
            equal(slow.answer()[3], body)
        equal(len(server.said()), 1, server.said())
        expect("it takes no answers" in server.said()[0], server.said())
        equal(idle.call("stat")["connections"]["stalled"], 1)
        equal(idle.call("stat")["connections"]["open"], 2)
        for client in (stuck, slow, idle):
            client.sock.close()


def test_second_signal(weir):
    """a second signal ends the service at once with status 1"""
    with Server(weir, "--drain", "100") as server:
        client = stuck_client(server)
        server.process.send_signal(signal.SIGTERM)
        wait_for("the first signal", lambda: "signal: finishing" in server.stderr())
        expect(server.process.poll() is None, "ended at the first signal")
        server.finish(status=1)
        expect(not (server.directory / "sock").exists(), "the socket file is left")
        client.sock.close()


def test_idle_end(weir):
    """SIGTERM with idle connections: they are closed in good order"""
    with Server(weir, listen=["tcp:127.0.0.1:0"]) as server:
        clients = [server.client() for _ in range(20)]
        for client in clients:
            equal(client.call("ping"), "pong")
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            expect(client.answer() is None)
            client.sock.close()
        server.finish(signal_number=None)
        equal(server.said(), [])


# --- memory ----------------------------------------------------------------------------------

def test_no_allocations(weir):
    """after warm-up thousands of messages cause no allocation at all"""
    library = pathlib.Path(os.environ.get("WEIR_BUILDDIR", "."), "tools/.libs/count_malloc.so")
    if weir.sanitized:
        raise Skip("a sanitizer has its own allocator")
    if not library.exists():
        raise Skip("no shared libraries were built")
    with scratch() as directory:
        counter = directory / "count"
        shim = directory / "shim.so"  # LD_PRELOAD splits at blanks, which the path may have
        shim.symlink_to(library.resolve())
        environment = dict(os.environ, LD_PRELOAD=str(shim), COUNT_MALLOC_FILE=str(counter))
        # That the shim counts: printing to a pipe allocates a buffer.
        weir.good("--version", env=environment)
        expect(counter.read_bytes() != bytes(8), "the shim counts nothing")
        with Server(weir, directory=directory, env=environment) as server, \
                server.client() as client:
            def mallocs():
                return struct.unpack("=Q", counter.read_bytes())[0]

            def load(count):
                for base in range(0, count, 100):
                    data = b"".join(pack([0, i, "append", [{"n": i, "text": "t" * (i % 300)}]]) +
                                    pack([0, i, "echo", [b"e" * (i % 5000)]])
                                    for i in range(base, base + 100))
                    sender = threading.Thread(target=client.send, args=(data,))
                    sender.start()
                    client.answers(200)
                    sender.join()

            load(3000)
            stat = client.call("stat")
            before = (mallocs(), stat["pool"]["source_calls"], stat["pool"]["bytes_held"])
            load(10000)
            stat = client.call("stat")
            equal((mallocs(), stat["pool"]["source_calls"], stat["pool"]["bytes_held"]), before,
                  "allocations, calls of the pool's source, bytes held")
            equal(stat["log"]["records"], 13000)


# --- the command -----------------------------------------------------------------------------

def test_usage(weir):
    """--help, --version, and what is wrong with a command line"""
    text = weir.good("serve", "--help").decode()
    for word in ("--listen", "--log", "--max-message", "--memory", "--drain", "--max-connections",
                 "--ack", "--segment", "--direct", "ping", "\"pong\"", "append", "read FROM COUNT"):
        expect(word in text, word, "is not in --help")
    expect(weir.good("serve", "--version").startswith(b"weir "))
    hint = "Try 'weir serve --help'.\n"
    for arguments, message in [
            ([], "--listen ADDR is missing"),
            (["--listen", "tcp:127.0.0.1:0"], "--log FILE is missing"),
            (["--listen", "tcp:127.0.0.1:0", "--log", "x", "y"], "unexpected argument 'y'"),
            (["--listen", "127.0.0.1:0"],
             "--listen 127.0.0.1:0: not of the form tcp:HOST:PORT or unix:PATH"),
            (["--listen", "tcp:localhost"],
             "--listen tcp:localhost: not of the form tcp:HOST:PORT or unix:PATH"),
            (["--listen", "unix:"], "--listen unix:: not of the form tcp:HOST:PORT or unix:PATH"),
            (["--max-connections", "0"],
             "--max-connections needs a number of 1..1000000, not '0'"),
            (["--memory", "1"], "--memory needs a number of 16777216..1099511627776 bytes "
             "(K, M and G may follow it), not '1'")]:
        weir.bad(64, f"weir serve: {message}\n{hint}", "serve", *arguments)
    done = weir.run("serve", "--listen", "unix:/" + "x" * 200, "--log", "y")
    equal(done.returncode, 64)
    done = weir.run("serve", "--listen", "tcp:no-such-host.invalid:1", "--log", "y")
    equal(done.returncode, 68, done.stderr)
    done = weir.run("serve", "--listen", "tcp:127.0.0.1:0", "--log", "/no/such/dir/log")
    equal(done.returncode, 73, done.stderr)
    with Server(weir, "--final-stat", "/no/such/dir/stat") as server:
        server.finish(status=73)


def test_polling(weir):
    """where io_uring is forbidden the service polls, says so, and does its work"""
    with Server(weir, "--backend", "auto", preexec_fn=forbid_io_uring) as server:
        with server.client() as client:
            equal(client.call("append", 1, "two", [3]), 3)
            equal(client.call("read", 1, 9), [1, "two", [3]])
        said = server.said()
        equal(len(said), 1, said)
        expect(said[0].startswith("polling: io_uring is not allowed here"), said)
        server.finish()
    done = weir.run("serve", "--listen", "tcp:127.0.0.1:0", "--log", "x", "--backend", "none")
    equal((done.returncode, done.stderr.splitlines()[0]),
          (64, b"weir serve: --backend needs auto, uring or poll, not 'none'"))


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(service_support.run(TESTS))
