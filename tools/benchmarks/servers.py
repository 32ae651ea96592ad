# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""Starting the servers that are compared, and what /proc tells about them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from .resp import Client, ReplyError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")

#: What each server is called in the tables, its program, and its settings.
KINDS = {
    "codis": (os.environ.get("CODIS_SERVER") or os.path.join(ROOT, "bin", "codis-server"), ["appendonly yes", "appendfsync everysec"]),
    "redis aof": ("redis-server", ["appendonly yes", "appendfsync everysec", 'save ""']),
    "redis plain": ("redis-server", ["appendonly no", 'save ""']),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(process_id):
    """CPU time so far of a process, and of its children that have ended."""
    with open(f"/proc/{process_id}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


class Server:
    """A server in a directory of its own, which goes with it."""

    def __init__(self, kind, folder=None, settings=(), prefix=()):
        self.kind = kind
        self.program, defaults = KINDS[kind]
        if not shutil.which(self.program):
            raise SystemExit(f"{self.program} is missing; tools/build makes ours, tools/packages redis-server the other")
        self.settings = [*defaults, *settings]
        self.prefix = list(prefix)
        self.directory = tempfile.mkdtemp(prefix="codis-bench-", dir=folder)
        self.process = None
        self.port = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def launch(self):
        """Starts the process and returns at once."""
        self.port = free_port()
        conf = os.path.join(self.directory, "server.conf")
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", *self.settings]
        with open(conf, "w") as file:
            file.write("\n".join(lines) + "\n")
        log = open(os.path.join(self.directory, "output"), "ab")
        self.process = subprocess.Popen([*self.prefix, self.program, conf], stdout=log, stderr=log)
        log.close()

    def start(self, timeout=600):
        """Starts the process; returns the seconds until the first reply that is no error."""
        begin = time.monotonic()
        self.launch()
        while True:
            try:
                client = Client(self.port, timeout=60)
                client.command("EXISTS", "key:000000000000")
                client.close()
                return time.monotonic() - begin
            except (OSError, ReplyError):
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.kind} ended with status {self.process.returncode}:\n{self.output()}")
                if time.monotonic() - begin > timeout:
                    raise SystemExit(f"{self.kind} does not answer:\n{self.output()}")
                time.sleep(0.0005)

    def output(self):
        with open(os.path.join(self.directory, "output"), errors="replace") as file:
            return file.read()[-2000:]

    def end(self, number=signal.SIGTERM):
        """Ends the process with a signal and waits for it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=300)

    def client(self, timeout=120):
        return Client(self.port, timeout)

    def has(self, command):
        """Whether the server knows a command."""
        client = self.client()
        try:
            return client.command("COMMAND", "INFO", command)[0] is not None
        finally:
            client.close()

    def cpu_seconds(self):
        """CPU time so far of all threads, and of forked children that have ended."""
        return cpu_seconds(self.process.pid)

    def status_kilobytes(self, field):
        """A size from /proc/PID/status, such as RssAnon."""
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0

    def disk_bytes(self):
        """What the directory takes on disk."""
        total = 0
        for folder, _, names in os.walk(self.directory):
            total += sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in names)
        return total


def machine():
    """One line about the machine, to stand above the figures."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as file:
        gigabytes = int(file.readline().split()[1]) / (1 << 20)
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()
    version = next((word[2:] for word in redis if word.startswith("v=")), "?")
    return f"{os.cpu_count()} x {model}, {gigabytes:.0f} GB, Linux {os.uname().release}, redis-server {version}"


class Heap:
    """The anonymous memory of a server, looked at now and then; children that it forks do not count."""

    def __init__(self, watched):
        self.watched = watched
        self.first = self.most = watched.status_kilobytes("RssAnon")
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.02):
            self.most = max(self.most, self.watched.status_kilobytes("RssAnon"))

    def stop(self):
        self.ended.set()
        self.thread.join()
        return f"{self.first / 1024:.0f}, {self.most / 1024:.0f}"
