# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""Throughput, latency and CPU per operation, ours and redis-server's in turn."""

from contextlib import ExitStack

from . import load, resp, servers
from .table import median, show

#: The tests of redis-benchmark and the commands each of them needs.
TESTS = {
    "ping_inline": ["ping"], "ping_mbulk": ["ping"], "set": ["set"], "get": ["get"], "incr": ["incr"], "mset": ["mset"],
    "lpush": ["lpush"], "rpush": ["rpush"], "lpop": ["lpop"], "rpop": ["rpop"], "sadd": ["sadd"], "hset": ["hset"],
    "spop": ["spop"], "zadd": ["zadd"], "lrange_100": ["lpush", "lrange"],
    "lrange_300": ["lpush", "lrange"], "lrange_500": ["lpush", "lrange"], "lrange_600": ["lpush", "lrange"],
}


def main(options):
    kinds = ["codis", "redis aof"] + (["redis plain"] if options.plain else [])
    print(servers.machine())
    keys = "a single key" if options.single_key else f"{options.keys} random keys"
    print(f"{options.clients} clients, {keys}, median of {options.pairs} interleaved runs each")
    for size in options.sizes:
        with ExitStack() as stack:
            running = {kind: stack.enter_context(servers.Server(kind)) for kind in kinds}
            tests = options.tests or [
                test for test, commands in TESTS.items() if all(running["codis"].has(name) for name in commands)
            ]
            if not options.single_key:
                for server in running.values():
                    resp.load(server.port, options.keys, size)
            for pipeline in options.pipelines:
                compare(running, tests, size, pipeline, options)


def compare(running, tests, size, pipeline, options):
    rows = []
    keys = None if options.single_key else options.keys
    for test in tests:
        requests = options.requests or (300_000 if pipeline == 1 else 1_000_000)
        if test == "mset":
            requests //= 4
        measured = {kind: [] for kind in running}
        for _ in range(options.pairs):
            for kind, server in running.items():
                result = load.run(
                    server.port, test, requests, pipeline, options.clients, keys, size, server.cpu_seconds)
                measured[kind].append((result, result.cpu_seconds / requests * 1e6))
        base = measured["redis aof"]
        for kind, runs in measured.items():
            rows.append([
                f"{test}, {kind}",
                f"{median(result.throughput for result, _ in runs):,.0f}",
                f"{median(ours.throughput / theirs.throughput for (ours, _), (theirs, _) in zip(runs, base)):.2f}",
                f"{median(cpu for _, cpu in runs):.2f}",
                f"{median(ours / max(theirs, 1e-9) for (_, ours), (_, theirs) in zip(runs, base)):.2f}",
                f"{median(result.client_share for result, _ in runs):.2f}",
                f"{median(result.p50 for result, _ in runs):.2f}",
                f"{median(result.p99 for result, _ in runs):.2f}",
                f"{median(result.p999 for result, _ in runs):.2f}",
            ])
    heads = ["", "requests/s", "ratio", "CPU us/op", "ratio", "client", "p50 ms", "p99 ms", "p99.9 ms"]
    show(f"values of {size} B, pipeline {pipeline} (ratios: to redis with AOF; client: cores it took)", heads, rows)
