# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""A small client of the Redis protocol, enough to load data and to ask questions."""

import socket


class Client:
    """One blocking connection."""

    def __init__(self, port, timeout=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def close(self):
        self.file.close()
        self.socket.close()

    def command(self, *words):
        """Sends a command and returns its reply; an error reply is raised."""
        self.socket.sendall(encode(*words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise ValueError(f"not a reply: {line!r}")


class ReplyError(Exception):
    """An error that a server answered."""


def encode(*words):
    """A command in the multibulk form."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def load(port, count, size, first=0, batch=2000):
    """Sets `count` keys named as redis-benchmark names them, with values of `size` bytes."""
    client = Client(port)
    # Values that do not compress, though nobody tries: they differ from key to key in their first bytes.
    tail = b"x" * max(0, size - 12)
    template = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$" + str(len(tail) + 12).encode() + b"\r\n%012d" + tail + b"\r\n"
    for start in range(first, first + count, batch):
        end = min(start + batch, first + count)
        client.socket.sendall(b"".join(template % (number, number) for number in range(start, end)))
        expected = 5 * (end - start)
        received = b""
        while len(received) < expected:
            chunk = client.file.read1(expected - len(received))
            if not chunk:
                raise ConnectionError("the server closed the connection")
            received += chunk
            if b"-" in chunk:
                raise ReplyError((received + client.file.readline()).decode(errors="replace")[-200:])
    client.close()
