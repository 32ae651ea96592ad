# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""How fast a slot moves between two servers with the asynchronous commands of Codis 3.2, and who waits meanwhile."""

import time
import zlib

from . import resp, servers
from .pinger import Pinger
from .table import percentile, show


def main(options):
    print(servers.machine())
    rows = []
    for count in options.numkeys:
        rows.append(slot(options, count))
    rows.append(hash_of(options))
    heads = ["", "seconds", "keys or fields/s", "source CPU s", "target CPU s",
             "source ping p99.9 ms", "worst", "target ping p99.9 ms", "worst"]
    show("two local servers, appendfsync everysec, a client that pings each every millisecond", heads, rows)


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


def measure(title, source, target, count, move):
    cpu = source.cpu_seconds(), target.cpu_seconds()
    with Pinger(source.port) as near, Pinger(target.port) as far:
        begin = time.monotonic()
        move()
        took = time.monotonic() - begin
    near, far = near.latencies, far.latencies
    return [title, f"{took:.2f}", f"{count / took:,.0f}", f"{source.cpu_seconds() - cpu[0]:.2f}",
            f"{target.cpu_seconds() - cpu[1]:.2f}", f"{percentile(near, 99.9):.2f}", f"{max(near):.2f}",
            f"{percentile(far, 99.9):.2f}", f"{max(far):.2f}"]


def slot(options, count):
    """A slot, key by key or with what the keys have in common, in batches of `count`."""
    with servers.Server("codis") as source, servers.Server("codis") as target:
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

        row = measure(f"{len(names):,} keys of {options.size} B, numkeys {count}", source, target, len(names), move)
        assert target.client().command("DBSIZE") == len(names)
        assert client.command("DBSIZE") == 0
        return row


def hash_of(options):
    """One large hash."""
    with servers.Server("codis") as source, servers.Server("codis") as target:
        client = source.client(timeout=600)
        for start in range(0, options.fields, 1000):
            words = []
            for number in range(start, min(start + 1000, options.fields)):
                words += [f"field:{number:010d}", f"value:{number:010d}"]
            client.command("HMSET", "hash", *words)
        time.sleep(2)

        def move():
            assert client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", target.port, 30000, 0, 0, "hash") == 1

        row = measure(f"a hash of {options.fields:,} fields", source, target, options.fields, move)
        assert target.client().command("HLEN", "hash") == options.fields
        return row
