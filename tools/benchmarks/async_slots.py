# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""How fast a slot moves between two servers with the asynchronous commands of Codis 3.2, and who waits meanwhile."""

import contextlib
import time
import zlib

from . import resp, servers
from .pinger import Pinger
from .table import percentile, show


def main(options):
    print(servers.machine())
    # A server that nobody else uses is pinged as well: what it takes to answer is the machine's doing.
    with pair(options) as (idle, _):
        rows = [slot(options, count, idle) for count in options.numkeys]
        rows.append(hash_of(options, idle))
    heads = ["", "seconds", "keys or fields/s", "source CPU s", "target CPU s",
             "source p99.9 ms", "worst", "target p99.9 ms", "worst", "idle server p99.9 ms", "worst"]
    show("two local servers, appendfsync everysec, a client that pings each every millisecond", heads, rows)


@contextlib.contextmanager
def pair(options):
    """Two servers, each on a directory of its own."""
    prefix = ["nice", "-n", str(options.nice)] if options.nice else []
    with servers.Server("codis", prefix=prefix) as source, servers.Server("codis", prefix=prefix) as target:
        yield source, target


def keys_of_slot(count, wanted):
    """Names of `count` untagged keys in one slot."""
    names = []
    number = 0
    while len(names) < count:
        name = b"key:%012d" % number
        if zlib.crc32(name) & 1023 == wanted:
            names.append(name)
        number += 1
    return names


def measure(title, source, target, idle, count, move):
    cpu = source.cpu_seconds(), target.cpu_seconds()
    with Pinger(source.port) as near, Pinger(target.port) as far, Pinger(idle.port) as control:
        begin = time.monotonic()
        move()
        took = time.monotonic() - begin
    waits = [cell for pinger in (near, far, control)
             for cell in (f"{percentile(pinger.latencies, 99.9):.2f}", f"{max(pinger.latencies):.2f}")]
    return [title, f"{took:.2f}", f"{count / took:,.0f}", f"{source.cpu_seconds() - cpu[0]:.2f}",
            f"{target.cpu_seconds() - cpu[1]:.2f}", *waits]


def slot(options, count, idle):
    """A slot, key by key or with what the keys have in common, in batches of `count`."""
    with pair(options) as (source, target):
        names = keys_of_slot(options.keys, 7)
        client = source.client(timeout=600)
        value = b"v" * options.size
        for start in range(0, len(names), 1000):
            part = names[start:start + 1000]
            client.socket.sendall(b"".join(resp.encode("SET", name, value) for name in part))
            for _ in part:
                client.reply()
        time.sleep(2)

        def move():
            while True:
                moved, left = client.command("SLOTSMGRTTAGSLOT-ASYNC", "127.0.0.1", target.port, 30000, 0, 0, 7, count)
                if left == 0:
                    return
                assert moved > 0

        row = measure(f"{len(names):,} keys of {options.size} B, numkeys {count}", source, target, idle, len(names), move)
        assert target.client().command("DBSIZE") == len(names)
        assert client.command("DBSIZE") == 0
        return row


def hash_of(options, idle):
    """One large hash."""
    with pair(options) as (source, target):
        client = source.client(timeout=600)
        for start in range(0, options.fields, 1000):
            words = []
            for number in range(start, min(start + 1000, options.fields)):
                words += [f"field:{number:010d}", f"value:{number:010d}"]
            client.command("HMSET", "hash", *words)
        time.sleep(2)

        def move():
            assert client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", target.port, 30000, 0, 0, "hash") == 1

        row = measure(f"a hash of {options.fields:,} fields", source, target, idle, options.fields, move)
        assert target.client().command("HLEN", "hash") == options.fields
        return row
