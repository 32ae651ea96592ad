# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""The longest waits: of a client that pings while others write, and while much is deleted at once."""

import time

from . import load, resp, servers
from .pinger import Pinger
from .table import percentile, show


def main(options):
    print(servers.machine())
    rows = []
    # A server that nobody else uses is pinged as well: what it takes to answer is the machine's doing, not the server's.
    with servers.Server("redis plain") as idle:
        for round_ in range(options.rounds):
            for kind in ["codis", "redis aof"]:
                with servers.Server(kind) as server:
                    rows += writing(server, idle, options)
                    # What deletes do, and BGSAVE, is measured once: that hardly differs.
                    if round_ == 0 and not options.only_writing:
                        rows += deleting(server, options)
                        rows.append(saving(server, options))
    heads = ["", "pings", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "command ms"]
    show("round trips of a client that pings every millisecond", heads, rows)


def row(title, pinger, took=None):
    latencies = pinger.latencies
    figures = [f"{percentile(latencies, share):.2f}" for share in (50, 99, 99.9)]
    return [title, len(latencies), *figures, f"{max(latencies):.2f}", "" if took is None else f"{took * 1000:.1f}"]


def writing(server, idle, options):
    """50 clients set random keys at full speed; redis rewrites its AOF meanwhile, we make checkpoints."""
    resp.load(server.port, options.keys, options.size)
    rows = []
    for pipeline in (16, 1):
        writers = load.start_endless(server.port, "set", pipeline=pipeline, keys=options.keys, size=options.size)
        try:
            time.sleep(1)
            client = server.client()
            before = checkpoints(client)
            with Pinger(server.port) as pinger, Pinger(idle.port) as control:
                end = time.monotonic() + options.seconds
                while time.monotonic() < end:
                    if server.kind != "codis":
                        rewrite(client)
                    time.sleep(0.5)
            made = checkpoints(client) - before
        finally:
            writers.kill()
            writers.wait()
        what = f"{made} checkpoints" if server.kind == "codis" else f"{made} AOF rewrites"
        rows.append(row(f"{server.kind}: writing at pipeline {pipeline}, {what}", pinger))
        rows.append(row("  an idle server meanwhile", control))
    return rows


def rewrite(client):
    try:
        client.command("BGREWRITEAOF")
    except resp.ReplyError:
        pass  # The one before it is still under way.


def checkpoints(client):
    """How many checkpoints or rewrites the server has made."""
    for line in client.command("INFO", "all").decode().splitlines():
        name, _, value = line.partition(":")
        if name in ("checkpoints_completed", "aof_rewrites"):
            return int(value)
    return 0


def deleting(server, options):
    client = server.client(timeout=600)
    rows = []
    client.command("FLUSHALL")
    settle(client)
    client.command("SET", "large", b"v" * (256 << 20))
    settle(client)
    rows.append(timed(server, client, "DEL of a string of 256 MB", "DEL", "large"))
    if server.has("sadd"):
        for start in range(0, 1_000_000, 1000):
            client.command("SADD", "set", *(f"member:{number}" for number in range(start, start + 1000)))
        settle(client)
        rows.append(timed(server, client, "DEL of a set of 1,000,000", "DEL", "set"))
    resp.load(server.port, options.flushed, 100)
    settle(client)
    rows.append(timed(server, client, f"FLUSHALL of {options.flushed:,} keys", "FLUSHALL"))
    return rows


def saving(server, options):
    """BGSAVE while the pinger pings."""
    client = server.client(timeout=600)
    resp.load(server.port, options.flushed, 100)
    settle(client)
    heap = servers.Heap(server)
    with Pinger(server.port) as pinger:
        time.sleep(1)
        begin = time.monotonic()
        client.command("BGSAVE")
        while b"rdb_bgsave_in_progress:1" in client.command("INFO", "persistence"):
            time.sleep(0.01)
        took = time.monotonic() - begin
        time.sleep(1)
    return row(f"{server.kind}: BGSAVE of {options.flushed:,} keys; RssAnon MB before, most: {heap.stop()}", pinger, took)


def settle(client):
    """Waits until nothing of what was written is under way to the disk."""
    time.sleep(3)
    client.command("PING")


def timed(server, client, title, *words):
    """Runs one command while the pinger pings, and goes on pinging while the server cleans up."""
    with Pinger(server.port) as pinger:
        time.sleep(1)
        begin = time.monotonic()
        client.command(*words)
        took = time.monotonic() - begin
        time.sleep(5)
    return row(f"{server.kind}: {title}", pinger, took)
