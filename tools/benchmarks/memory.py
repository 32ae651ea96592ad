# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""A server with four times more data than the memory it may use, under a control group's limit."""

import os
import random
import time

from . import load, resp, servers
from .table import show


def main(options):
    print(servers.machine())
    limit = options.limit << 20
    count = 4 * limit // (options.size + 16)
    group = Group(limit)
    try:
        prefix = ["sh", "-c", f'echo $$ > {group.processes} && exec "$0" "$@"']
        with servers.Server("codis", prefix=prefix) as server:
            rows = list(measure(server, group, count, options))
    finally:
        group.remove()
    heads = ["", "seconds", "operations/s", "RssAnon MB", "RssFile MB", "group MB"]
    show(f"{count:,} keys of {options.size} B, memory limited to {options.limit} MB", heads, rows)


def measure(server, group, count, options):
    def row(title, seconds, operations):
        return [title, f"{seconds:.1f}", f"{operations / seconds:,.0f}", f"{server.status_kilobytes('RssAnon') / 1024:.1f}",
                f"{server.status_kilobytes('RssFile') / 1024:.1f}", f"{group.usage() / (1 << 20):.1f}"]

    begin = time.monotonic()
    resp.load(server.port, count, options.size)
    yield row("load", time.monotonic() - begin, count)

    client = server.client()
    begin = time.monotonic()
    numbers = [random.randrange(count) for _ in range(20_000)]
    for start in range(0, len(numbers), 100):
        part = numbers[start:start + 100]
        values = client.command("MGET", *(f"key:{number:012d}" for number in part))
        for number, value in zip(part, values):
            assert value is not None and value.startswith(b"%012d" % number), f"key:{number:012d} is {value!r}"
    yield row("read at random, checked", time.monotonic() - begin, len(numbers))

    for test in ("get", "set"):
        begin = time.monotonic()
        load.run(server.port, test, options.requests, 16, keys=count, size=options.size)
        yield row(f"{test} at random", time.monotonic() - begin, options.requests)

    assert client.command("DBSIZE") == count
    begin = time.monotonic()
    server.end()
    server.start()
    yield row("SHUTDOWN and start", time.monotonic() - begin, 1)
    assert server.client().command("DBSIZE") == count


class Group:
    """A control group with a memory limit, of whichever version this machine mounts."""

    def __init__(self, limit):
        name = f"codis-bench-{os.getpid()}"
        if os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes"):
            self.path = f"/sys/fs/cgroup/memory/{name}"
            limit_file, self.usage_file = "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif "memory" in self.controllers():
            self.path = f"/sys/fs/cgroup/{name}"
            limit_file, self.usage_file = "memory.max", "memory.current"
        else:
            raise SystemExit("no control group for memory is mounted here")
        try:
            os.mkdir(self.path)
            with open(f"{self.path}/{limit_file}", "w") as file:
                file.write(str(limit))
        except OSError as error:
            raise SystemExit(f"a control group cannot be made here: {error}; root is needed")
        self.processes = f"{self.path}/cgroup.procs"

    @staticmethod
    def controllers():
        try:
            with open("/sys/fs/cgroup/cgroup.controllers") as file:
                return file.read().split()
        except OSError:
            return []

    def usage(self):
        with open(f"{self.path}/{self.usage_file}") as file:
            return int(file.read())

    def remove(self):
        for _ in range(50):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.1)
