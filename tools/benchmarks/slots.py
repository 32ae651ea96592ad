# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""Moving keys between two servers: how fast, and how long others wait meanwhile."""

import time

from . import resp, servers
from .pinger import Pinger
from .table import percentile, show

#: The slot of the keys that begin with {slot}, and of all tags here it is the tag's.
SLOT = 899  # of "tag"


def main(options):
    print(servers.machine())
    parts = {
        "loop": ("codis", "slot, in a loop", slot_in_loop),
        "tag": ("codis", "tag, in one call", tag_in_one_call),
        "hash": ("codis", "hash", large_hash),
        "zset": ("codis", "sorted set", large_sorted_set),
        "redis": ("redis aof", "redis-server, MIGRATE key by key", redis_by_key),
    }
    wanted = options.parts or [*parts, "info"]
    unknown = set(wanted) - {*parts, "info"}
    if unknown:
        raise SystemExit(f"no such part: {', '.join(unknown)}")
    rows = []
    for kind, title, run in (parts[name] for name in wanted if name != "info"):
        with servers.Server(kind) as source, servers.Server(kind) as target:
            rows.append(run(title, source, target, options))
    if rows:
        heads = ["", "seconds", "keys/s", "source p99.9 ms", "worst ms", "target p99.9 ms", "worst ms",
                 "RssAnon MB of the source: before, most", "of the target: before, most"]
        show("moving between two servers, and pings of each every millisecond meanwhile", heads, rows)
    if "info" in wanted:
        info(options)


def timed(title, source, target, count, body):
    """Runs `body` while both servers are pinged."""
    time.sleep(2)
    with Pinger(source.port) as one, Pinger(target.port) as other:
        time.sleep(0.5)
        heaps = [servers.Heap(source), servers.Heap(target)]
        begin = time.monotonic()
        body()
        took = time.monotonic() - begin
        time.sleep(1)
        memory = [heap.stop() for heap in heaps]
    figures = [f"{took:.2f}", f"{count / took:,.0f}"]
    for pinger in (one, other):
        figures += [f"{percentile(pinger.latencies, 99.9):.2f}", f"{max(pinger.latencies):.2f}"]
    return [title, *figures, *memory]


def keys_of_slot(count):
    """Untagged keys of one slot."""
    import zlib

    number = 0
    while count:
        key = b"key:%012d" % number
        number += 1
        if zlib.crc32(key) & 1023 == SLOT:
            count -= 1
            yield key


def set_all(client, keys, value):
    batch = []
    for key in keys:
        batch.append(key)
        if len(batch) == 1000:
            send(client, batch, value)
            batch = []
    send(client, batch, value)


def send(client, keys, value):
    client.socket.sendall(b"".join(resp.encode("SET", key, value) for key in keys))
    for _ in keys:
        client.reply()


def slot_in_loop(title, source, target, options):
    client = source.client()
    set_all(client, keys_of_slot(options.keys), b"v" * options.size)
    request = resp.encode("SLOTSMGRTTAGSLOT", "127.0.0.1", target.port, 10000, SLOT)

    def loop():
        left = options.keys
        total = 0
        while left:
            client.socket.sendall(request)
            moved, left = client.reply()
            total += moved
        assert total == options.keys, total

    row = timed(f"{title}: {options.keys:,} keys of {options.size} B", source, target, options.keys, loop)
    assert target.client().command("DBSIZE") == options.keys
    return row


def redis_by_key(title, source, target, options):
    """What redis-server has for it: MIGRATE, which goes back and forth as often."""
    client = source.client()
    keys = list(keys_of_slot(options.keys))
    set_all(client, iter(keys), b"v" * options.size)

    def loop():
        for key in keys:
            client.command("MIGRATE", "127.0.0.1", target.port, key, 0, 10000)

    return timed(f"{title}: {options.keys:,} keys of {options.size} B", source, target, options.keys, loop)


def tag_in_one_call(title, source, target, options):
    client = source.client()
    set_all(client, (b"{tag}%d" % number for number in range(options.keys)), b"v" * options.size)

    def move():
        moved = client.command("SLOTSMGRTTAGONE", "127.0.0.1", target.port, 60000, "{tag}")
        assert moved == options.keys, moved

    return timed(f"{title}: {options.keys:,} keys of {options.size} B", source, target, options.keys, move)


def large_hash(title, source, target, options):
    client = source.client()
    for start in range(0, options.elements, 1000):
        pairs = [word for number in range(start, start + 1000) for word in (f"field:{number}", f"value:{number}")]
        client.command("HMSET", "large", *pairs)
    return large(title, client, source, target, options)


def large_sorted_set(title, source, target, options):
    client = source.client()
    for start in range(0, options.elements, 1000):
        pairs = [word for number in range(start, start + 1000) for word in (number * 7919 % 1000003, f"member:{number}")]
        client.command("ZADD", "large", *pairs)
    return large(title, client, source, target, options)


def large(title, client, source, target, options):
    def move():
        moved = client.command("SLOTSMGRTONE", "127.0.0.1", target.port, 600000, "large")
        assert moved == 1, moved

    return timed(f"{title} of {options.elements:,} elements", source, target, options.elements, move)


def info(options):
    """SLOTSINFO over all slots."""
    with servers.Server("codis") as server:
        resp.load(server.port, options.info_keys, 10)
        client = server.client()
        times = []
        for _ in range(200):
            client.command("CONFIG", "RESETSTAT")
            assert len(client.command("SLOTSINFO")) == 1024
            for line in client.command("INFO", "commandstats").decode().splitlines():
                if line.startswith("cmdstat_slotsinfo:"):
                    times.append(float(line.split("usec_per_call=")[1]))
        cells = [f"{percentile(times, share):.0f}" for share in (50, 99)]
        show(f"SLOTSINFO over 1,024 slots with {options.info_keys:,} keys", ["", "p50 µs", "p99 µs"], [["in the server", *cells]])
