# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""redis-benchmark as the load, and what it reports."""

import re
import subprocess
from dataclasses import dataclass

from .servers import cpu_seconds as process_cpu_seconds


@dataclass
class Result:
    """One run of one test."""

    throughput: float
    p50: float
    p99: float
    p999: float
    worst: float
    #: What `run` was told to read, from the beginning of the test to its end.
    cpu_seconds: float = 0
    #: How much of one core redis-benchmark took itself: it has one thread, which at 1 is what limits the throughput.
    client_share: float = 0


def arguments(port, test, requests, pipeline, clients, keys, size):
    """The command line; without `keys` all requests are for one key and one element."""
    random = ["-r", str(keys)] if keys else []
    return ["redis-benchmark", "-p", str(port), "-t", test, "-n", str(requests), "-P", str(pipeline), "-c", str(clients),
            *random, "-d", str(size)]


def run(port, test, requests, pipeline=1, clients=50, keys=1_000_000, size=64, cpu_seconds=lambda: 0.0):
    """Runs one test to its end; what redis-benchmark does before to have data for it does not count."""
    words = ["stdbuf", "-oL", *arguments(port, test, requests, pipeline, clients, keys, size)]
    before = cpu_seconds()
    client_before = 0.0
    lines = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            lines.append(line)
            if "(needed to benchmark" in line:
                # The head of the report of what has just ended.
                before = cpu_seconds()
                client_before = process_cpu_seconds(process.pid)
        # It has ended, and is not waited for yet.
        client_used = process_cpu_seconds(process.pid) - client_before
    used = cpu_seconds() - before
    text = "".join(lines)
    if process.returncode != 0 or "rror" in text or "======" not in text:
        raise SystemExit(f"redis-benchmark -t {test} failed:\n{text[-1000:]}")
    result = parse(text[text.rindex("====== "):])
    result.cpu_seconds = used
    result.client_share = client_used * result.throughput / requests
    return result


def start_endless(port, test, pipeline=16, clients=50, keys=1_000_000, size=64):
    """Starts a test that goes on until it is ended."""
    words = arguments(port, test, 2_000_000_000, pipeline, clients, keys, size)
    return subprocess.Popen([*words, "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def parse(text):
    """The figures of a report; the 99.9th percentile comes from its table of percentiles."""
    throughput = float(re.search(r"throughput summary: ([\d.]+)", text)[1])
    summary = re.search(r"avg\s+min\s+p50\s+p95\s+p99\s+max\s+([\d.\s]+)", text)[1].split()
    rows = re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", text, re.MULTILINE)
    p999 = next((float(latency) for share, latency in rows if float(share) >= 99.9), float(summary[5]))
    return Result(throughput, float(summary[2]), float(summary[4]), p999, float(summary[5]))
