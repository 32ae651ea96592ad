# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""A client that pings every millisecond from a process of its own and keeps every round trip."""

import multiprocessing
import os
import time

from .resp import Client


class Pinger:
    """Pings from `start` to `stop`."""

    def __init__(self, port):
        self.port = port

    def __enter__(self):
        self.parent, child = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=ping, args=(self.port, child), daemon=True)
        self.process.start()
        self.parent.recv()
        return self

    def __exit__(self, *_):
        self.parent.send("stop")
        #: The round trips in milliseconds, with the monotonic time at which each began.
        self.samples = self.parent.recv()
        self.process.join()
        self.latencies = [latency for _, latency in self.samples]


def ping(port, pipe):
    try:
        # Ahead of the load on a machine with few cores: what is measured is the server's delay, not this process's.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass
    client = Client(port)
    samples = []
    pipe.send("ready")
    while not pipe.poll():
        begin = time.monotonic()
        client.socket.sendall(b"*1\r\n$4\r\nPING\r\n")
        client.file.readline()
        latency = time.monotonic() - begin
        samples.append((begin, latency * 1000))
        # After a stall the pings that would have fallen into it count as well, each with the wait left to it.
        missed = latency - 0.001
        while missed > 0.001:
            samples.append((begin, missed * 1000))
            missed -= 0.001
        time.sleep(max(0.0, 0.001 - latency))
    pipe.send(samples)
