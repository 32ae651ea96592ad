# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""How long a server is away: after SHUTDOWN, and after kill -9 under load. And what its data take in memory."""

import signal
import threading
import time

from . import load, resp, servers
from .table import show


def main(options):
    print(servers.machine())
    rows = [measure(kind, options) for kind in ["codis", "redis aof"]]
    heads = ["", "load s", "RssAnon MB", "disk MB", "SHUTDOWN s", "first reply ms", "RssAnon MB after it",
             "first reply ms after kill -9", "acknowledged", "lost"]
    show(f"{options.keys:,} keys of {options.size} B", heads, rows)


def measure(kind, options):
    with servers.Server(kind) as server:
        begin = time.monotonic()
        resp.load(server.port, options.keys, options.size)
        loading = time.monotonic() - begin
        memory = server.status_kilobytes("RssAnon") / 1024
        disk = server.disk_bytes() / 1e6

        begin = time.monotonic()
        server.end()
        ending = time.monotonic() - begin
        after_shutdown = server.start()
        client = server.client()
        assert client.command("DBSIZE") == options.keys
        memory_again = server.status_kilobytes("RssAnon") / 1024

        recorder = Recorder(server.port)
        writers = load.start_endless(server.port, "set", size=options.size, keys=options.keys)
        time.sleep(options.seconds)
        server.end(signal.SIGKILL)
        writers.wait()
        recorder.thread.join()
        after_kill = server.start()
        lost = recorder.lost(server.port)
        return [kind, f"{loading:.1f}", f"{memory:.1f}", f"{disk:.0f}", f"{ending:.2f}", f"{after_shutdown * 1000:.0f}",
                f"{memory_again:.1f}", f"{after_kill * 1000:.0f}", recorder.acknowledged, lost]


class Recorder:
    """A writer beside the load that remembers how many of its writes were acknowledged before the server died."""

    def __init__(self, port):
        self.acknowledged = 0
        self.client = resp.Client(port)
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        try:
            while True:
                first = self.acknowledged
                words = b"".join(resp.encode("SET", f"recorded:{first + n}", f"{first + n}") for n in range(20))
                self.client.socket.sendall(words)
                for _ in range(20):
                    self.client.reply()
                    self.acknowledged += 1
        except (OSError, ConnectionError):
            pass

    def lost(self, port):
        """How many acknowledged writes are not there."""
        client = resp.Client(port)
        lost = 0
        for start in range(0, self.acknowledged, 1000):
            numbers = range(start, min(start + 1000, self.acknowledged))
            values = client.command("MGET", *(f"recorded:{number}" for number in numbers))
            lost += sum(value != str(number).encode() for number, value in zip(numbers, values))
        return lost
