# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""What a replica costs its master, how far it lags, and how long it takes to become one."""

import signal
import threading
import time

from . import load, resp, servers
from .pinger import Pinger
from .table import percentile, show

KINDS = ["codis", "redis aof"]
SETTINGS = {"codis": [], "redis aof": ["repl-diskless-sync-delay 0"]}


def main(options):
    print(servers.machine())
    parts = {"cost": cost, "sync": full_sync, "restart": restart}
    for name in options.parts or parts:
        parts[name](options)


class Server(servers.Server):
    """A server whose end is not waited for: redis-server refuses it while it writes a first AOF."""

    def __exit__(self, *details):
        self.end(signal.SIGKILL)
        super().__exit__(*details)


def server(kind, settings=()):
    return Server(kind, settings=[*SETTINGS[kind], *settings])


def information(client):
    lines = client.command("INFO", "all").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def attach(master, replica):
    replica.client().command("SLAVEOF", "127.0.0.1", master.port)


def wait_until_level(master, replica, timeout=600):
    """Waits until the replica's link is up and it has all of the stream; returns the monotonic time."""
    (one, other), end = (master.client(), replica.client(timeout)), time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            if lag(one, other) == 0:
                return time.monotonic()
        except resp.ReplyError:
            pass  # redis-server loads, and says so.
        time.sleep(0.001)
    raise SystemExit(f"the replica did not become level:\n{replica.output()}")


def lag(master, replica):
    """The bytes of the stream that the replica has not done yet; none while its link is down."""
    theirs = information(replica)
    if theirs.get("master_link_status") != "up":
        return None
    return int(information(master)["master_repl_offset"]) - int(theirs["slave_repl_offset"])


# What a replica costs.

def cost(options):
    rows = []
    for kind in KINDS:
        with server(kind) as alone, server(kind) as master, server(kind) as replica:
            for each in (alone, master):
                resp.load(each.port, options.cost_keys, 64)
            attach(master, replica)
            wait_until_level(master, replica)
            ratios, figures = [], []
            for _ in range(options.pairs):
                plain, _ = write(alone, None, options)
                followed, lags = write(master, replica, options)
                ratios.append(followed / plain)
                figures.append((plain, followed, *lags))
            plain, followed, most, waited = (percentile(column, 50) for column in zip(*figures))
            rows.append([kind, f"{plain:.2f}", f"{followed:.2f}", f"{percentile(ratios, 50):.2f}", f"{min(ratios):.2f}",
                         f"{max(ratios):.2f}", f"{most / 1024:.0f}", f"{waited * 1000:.0f}"])
    heads = ["", "alone us/SET", "with a replica us/SET", "ratio", "least", "most", "lag KB at most", "level after ms"]
    show(f"master's CPU per SET at pipeline 16, 50 clients, {options.requests:,} SETs, medians of {options.pairs}", heads, rows)


def write(master, replica, options):
    """Sets keys at full speed; returns the master's CPU in us per SET, the largest lag, and how long it outlasted."""
    watch = Watch(master, replica) if replica else None
    before = master.cpu_seconds()
    load.run(master.port, "set", options.requests, 16, keys=options.cost_keys, size=64)
    end = time.monotonic()
    used = master.cpu_seconds() - before
    if not watch:
        return used / options.requests * 1e6, None
    most = watch.stop()
    return used / options.requests * 1e6, (most, max(0.0, wait_until_level(master, replica) - end))


class Watch:
    """Looks at the lag of a replica now and then, from a thread."""

    def __init__(self, master, replica):
        self.clients = master.client(), replica.client()
        self.most = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.1):
            # The replica first: what comes meanwhile counts as lag.
            theirs = int(information(self.clients[1])["slave_repl_offset"])
            self.most = max(self.most, int(information(self.clients[0])["master_repl_offset"]) - theirs)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.most


# How long it takes.

def full_sync(options):
    rows = []
    # A server that nobody else uses is pinged as well: what it takes to answer is the machine's doing.
    with servers.Server("redis plain") as idle:
        for _ in range(options.syncs):
            for kind in KINDS:
                with server(kind) as master, server(kind) as replica:
                    rows.append(full_sync_of(kind, master, replica, idle, options))
    heads = ["", "seconds", "pings", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "p99.9 ms of an idle server",
             "RssAnon MB of the master: before, most", "of the replica: before, most", "CPU s of both"]
    show(f"full resync of {options.keys:,} keys of {options.size} B, a client pinging the master", heads, rows)


def full_sync_of(kind, master, replica, idle, options):
    resp.load(master.port, options.keys, options.size)
    time.sleep(3)
    heaps = [servers.Heap(master), servers.Heap(replica)]
    cpu = master.cpu_seconds() + replica.cpu_seconds()
    with Pinger(master.port) as pinger, Pinger(idle.port) as control:
        begin = time.monotonic()
        attach(master, replica)
        seconds = wait_until_level(master, replica) - begin
    cpu = master.cpu_seconds() + replica.cpu_seconds() - cpu
    memory = [heap.stop() for heap in heaps]
    assert replica.client().command("DBSIZE") == options.keys
    figures = [f"{percentile(pinger.latencies, share):.2f}" for share in (50, 99, 99.9)]
    figures += [f"{max(pinger.latencies):.2f}", f"{percentile(control.latencies, 99.9):.2f}"]
    return [kind, f"{seconds:.2f}", len(pinger.latencies), *figures, *memory, f"{cpu:.1f}"]


def restart(options):
    rows = []
    for kind, ending in [("codis", signal.SIGTERM), ("codis", signal.SIGKILL), ("redis aof", signal.SIGTERM)]:
        with server(kind, ["repl-backlog-size 64mb"]) as master, server(kind) as replica:
            resp.load(master.port, options.keys, options.size)
            attach(master, replica)
            wait_until_level(master, replica)
            while information(replica.client()).get("aof_rewrite_in_progress") == "1":
                time.sleep(0.1)
            full = information(master.client())["sync_full"]
            replica.settings.append(f"slaveof 127.0.0.1 {master.port}")
            replica.end(ending)
            load.run(master.port, "set", options.missed, 16, keys=options.keys, size=options.size)
            begin = time.monotonic()
            replica.start()
            started = time.monotonic() - begin
            level = wait_until_level(master, replica) - begin
            more = int(information(master.client())["sync_full"]) - int(full)
            rows.append([f"{kind}, {ending.name}", f"{started:.3f}", f"{level:.3f}", more])
    heads = ["", "first reply s", "level s", "full resyncs"]
    show(f"restart of a replica with {options.keys:,} keys that missed {options.missed:,} writes", heads, rows)
