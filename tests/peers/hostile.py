#!/usr/bin/env python3
"""Frames that RFC 6455 allows and frames that it forbids, from the independent `websockets` library and below it.

hostile.py URL SECRET

What is allowed is taken, and the line goes on (a ping shows it); after what is forbidden the server closes
with the right code, as the library sees it: a Close frame, then the end of the connection, and never a reset.
Ends with 0 when all of it is so.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import time
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
HEARTBEAT = b'{"type":"heartbeat","ts":1}'


def frame(first, payload=b"", mask=None, masked=True):
    length = len(payload)
    head = bytes([first])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4) if mask is None else mask
    key = (mask * (length // 4 + 1))[:length]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


def fragments(opcode, payload, size, between=b""):
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    sent = b""
    for number, part in enumerate(parts):
        first = opcode if number == 0 else CONTINUATION
        sent += frame(first | (FIN if number + 1 == len(parts) else 0), part) + between
    return sent


def close(code, reason=b""):
    return frame(FIN | CLOSE, struct.pack(">H", code) + reason)


def text(message):
    return frame(FIN | TEXT, message)


BAD = [
    ("compressed text", frame(FIN | RSV1 | TEXT, HEARTBEAT), 1002),
    ("compressed binary", frame(FIN | RSV1 | BINARY, b"\0" * 9), 1002),
    ("reserved bit 2", frame(FIN | RSV2 | TEXT, HEARTBEAT), 1002),
    ("reserved bit 3", frame(FIN | RSV3 | TEXT, HEARTBEAT), 1002),
    ("reserved bit in a ping", frame(FIN | RSV1 | PING), 1002),
    ("no mask", frame(FIN | TEXT, HEARTBEAT, masked=False), 1002),
    ("a ping without a mask", frame(FIN | PING, masked=False), 1002),
    ("continues nothing", frame(FIN | CONTINUATION, b"x"), 1002),
    ("text within text", frame(TEXT, b"{") + text(HEARTBEAT), 1002),
    ("binary within text", frame(TEXT, b"{") + frame(FIN | BINARY, b"x"), 1002),
    ("a ping in pieces", frame(PING, b"x"), 1002),
    ("a close in pieces", frame(CLOSE, b"\x03\xe8"), 1002),
    ("a ping of 126 bytes", frame(FIN | PING, b"x" * 126), 1002),
    ("a close of one byte", frame(FIN | CLOSE, b"\x03"), 1002),
    ("a close of 126 bytes", frame(FIN | CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    ("text that is not UTF-8", text(b'{"type":"\xff"}'), 1007),
    ("an overlong character", text(b'{"type":"\xc0\xaf"}'), 1007),
    ("half a character at the end", text(b'{"type":"\xe2\x82'), 1007),
    ("UTF-8 broken in the second fragment", fragments(TEXT, b'{"type":"\xe2\x28\xa1"}', 10), 1007),
    ("a reason that is not UTF-8", close(1000, b"\xff\xfe"), 1007),
    ("a text over the bound", text(b" " * 300_000), 1008),
    ("a message over the bound", frame(FIN | BINARY, b"\0" * 1_200_000), 1009),
    ("a length of 2^63 - 1", bytes([FIN | BINARY, 0xFF]) + b"\x7f" + b"\xff" * 7 + b"\0" * 4, 1009),
    ("fragments without end", frame(BINARY, b"\0" * 60_000) + frame(CONTINUATION, b"\0" * 60_000) * 60, 1009),
    ("empty fragments without end", frame(BINARY) + frame(CONTINUATION) * 500_000, 1008),
    ("pings without end", frame(FIN | PING, b"x") * 20_000, 1008),
    ("pongs without end", frame(FIN | PONG, b"x") * 20_000, 1008),
    ("messages without end", text(HEARTBEAT) * 200_000, 1008),
    ("a forbidden frame and a megabyte behind it", frame(FIN | 0x3) + text(HEARTBEAT) * 30_000, 1002),
    ("no JSON and a megabyte behind it", text(b"hello") + text(HEARTBEAT) * 30_000, 1008),
    ("empty text", text(b""), 1008),
    ("empty binary", frame(FIN | BINARY), 1008),
]
BAD += [(f"opcode {opcode:#x}", frame(FIN | opcode), 1002) for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)]
BAD += [
    (f"close code {code}", close(code), 1002)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
]
# A close is answered with its own code (RFC 6455, section 5.5.1).
GOOD_CLOSES = [(f"close code {code}", close(code, b"bye"), code) for code in (1000, 1001, 1003, 1007, 1011, 3000, 4999)]
GOOD_CLOSES += [("a close without a code", frame(FIN | CLOSE), 1005)]

REGISTRATION = json.dumps({"type": "register_meta", "meta": {"label": "grüezi 𝄞"}}, ensure_ascii=False).encode()
GOOD = [
    ("text", text(HEARTBEAT)),
    ("a mask of zeros", frame(FIN | TEXT, HEARTBEAT, mask=b"\0\0\0\0")),
    ("characters of two to four bytes", text(REGISTRATION)),
    ("fragments of one byte", fragments(TEXT, REGISTRATION, 1)),
    ("fragments with pings between", fragments(TEXT, REGISTRATION, 3, frame(FIN | PING, b"between"))),
    ("fragments with pongs between", fragments(TEXT, REGISTRATION, 5, frame(FIN | PONG))),
    ("empty fragments around", frame(TEXT) + frame(CONTINUATION, HEARTBEAT) + frame(CONTINUATION) + frame(FIN | CONTINUATION)),
    ("a length in eight bytes though two would do", bytes([FIN | TEXT, 0xFF]) + struct.pack(">Q", len(HEARTBEAT)) + b"\0\0\0\0" + HEARTBEAT),
    ("a ping of 125 bytes", frame(FIN | PING, b"p" * 125)),
    ("a pong that nobody asked for", frame(FIN | PONG, b"unasked")),
    ("a type that is not known", text(b'{"type":"weather","sunny":true}')),
    ("a text of 200 kB", text(b'{"type":"heartbeat","ts":1,"x":"' + b"x" * 200_000 + b'"}')),
]


class Peer:
    """A line of its own, on which raw bytes go out and the library reads what comes."""

    count = 0

    def __init__(self, url, secret):
        Peer.count += 1
        self.id = f"peer-{Peer.count}"
        query = urlencode({"clientId": self.id, "token": secret})
        self.held = contextlib.ExitStack()
        dialled = connect(f"{url}?{query}", ping_interval=None, compression=None, close_timeout=10)
        self.line = self.held.enter_context(dialled)
        hello = json.loads(self.line.recv(timeout=10))
        assert hello["type"] == "hello", hello

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held.close()

    def send(self, bytes_):
        try:
            self.line.socket.sendall(bytes_)
        except OSError:
            pass  # the server has said why, and closed

    def closes(self):
        """The code of the server's Close; None when the connection ended without one."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.line.recv(timeout=20)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None
        raise TimeoutError("left open")

    def is_understood(self):
        pong = self.line.ping(b"still there?")
        if not pong.wait(10):
            raise TimeoutError("no pong")
        self.line.close()
        return self.line.close_code


def main():
    url, secret = sys.argv[1:]
    wrong = []
    for name, bytes_, expected in BAD + GOOD_CLOSES:
        with Peer(url, secret) as peer:
            peer.send(bytes_)
            code = peer.closes()
        if code != expected:
            wrong.append(f"{name}: closed with {code}, not {expected}")
    for name, bytes_ in GOOD:
        try:
            with Peer(url, secret) as peer:
                peer.send(bytes_)
                code = peer.is_understood()
            if code != 1000:
                wrong.append(f"{name}: closed with {code} at the end")
        except (ConnectionClosed, TimeoutError) as error:
            wrong.append(f"{name}: {error}")
    # One byte at a time, as a slow line brings it.
    with Peer(url, secret) as peer:
        peer.line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in fragments(TEXT, REGISTRATION, 7):
            peer.send(bytes([byte]))
        if peer.is_understood() != 1000:
            wrong.append("byte by byte")
    print(f"{len(BAD)} forbidden, {len(GOOD_CLOSES)} closes, {len(GOOD) + 1} allowed", flush=True)
    for line in wrong:
        print("WRONG", line, flush=True)
    return 1 if wrong else 0


sys.exit(main())
