# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""Commands on single values of very many elements, ours and redis-server's in turn."""

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Callable

from . import resp, servers
from .pinger import Pinger
from .table import median, percentile, show

#: How many elements the commands reply that reply a range.
WINDOW = 100
#: How many commands go out in one write.
PIPELINE = 16
#: Commands of a run between two readings of the CPU time, after which the value is made again what it was.
CHUNK = 40_000


def element(number):
    return b"element:%010d" % number


def changed(number):
    """What takes the place of an element, of the same length."""
    return b"changed:%010d" % number


def score(number, count):
    """The scores are all different, and 0 to `count` - 1."""
    return number * 7919 % count


def load(client, kind, key, count, first=0):
    """Makes a value of `count` elements, from number `first` on."""
    for start in range(first, first + count, 1000):
        words = []
        for number in range(start, min(start + 1000, first + count)):
            if kind == "hash":
                words += [element(number), 1_000_000_000 + number]
            elif kind == "zset":
                words += [score(number, count), element(number)]
            else:
                words.append(element(number))
        client.command({"list": "RPUSH", "hash": "HMSET", "set": "SADD", "zset": "ZADD"}[kind], key, *words)


@dataclass
class Small:
    """A command that is short though its value is large; the keys are named as their types."""

    kind: str
    lines: int  # of its reply
    request: Callable  # words for a random number below the count of elements
    #: Commands that undo it, for the numbers that it had and the elements that were replied.
    undo: Callable = lambda numbers, replies: []
    #: How many commands a run has at most, for what takes much away and is costly to undo.
    most: int | None = None


def small_commands(count):
    """The short commands, for values of `count` elements."""
    middle = count // 2
    return {
        "lindex": Small("list", 2, lambda at: ("LINDEX", "list", at)),
        "lrange": Small("list", 1 + 2 * WINDOW, lambda at: ("LRANGE", "list", at, at + WINDOW - 1)),
        "lset": Small("list", 1, lambda at: ("LSET", "list", at, changed(at)),
                      lambda numbers, _: [("LSET", "list", at, element(at)) for at in numbers]),
        "linsert": Small("list", 1, lambda at: ("LINSERT", "list", "BEFORE", element(middle), "inserted"),
                         lambda *_: [("LREM", "list", 0, "inserted")]),
        "lpush": Small("list", 1, lambda at: ("LPUSH", "list", changed(at)),
                       lambda numbers, _: [("LPOP", "list") for _ in numbers]),
        "rpop": Small("list", 2, lambda at: ("RPOP", "list"),
                      lambda _, replies: [("RPUSH", "list", reply) for reply in reversed(replies)]),
        "ltrim": Small("list", 1, lambda at: ("LTRIM", "list", 1, -1),
                       lambda numbers, _: [("LPUSH", "list", element(n)) for n in reversed(range(len(numbers)))]),
        "hget": Small("hash", 2, lambda at: ("HGET", "hash", element(at))),
        "hset": Small("hash", 1, lambda at: ("HSET", "hash", element(at), 2_000_000_000 + at)),
        "hincrby": Small("hash", 1, lambda at: ("HINCRBY", "hash", element(at), 1)),
        "hscan": Small("hash", 0, lambda cursor: ("HSCAN", "hash", cursor)),
        "sismember": Small("set", 1, lambda at: ("SISMEMBER", "set", element(at))),
        "srandmember": Small("set", 2, lambda at: ("SRANDMEMBER", "set")),
        "spop": Small("set", 2, lambda at: ("SPOP", "set"),
                      lambda _, replies: [("SADD", "set", reply) for reply in replies]),
        "sadd": Small("set", 1, lambda at: ("SADD", "set", changed(at)),
                      lambda numbers, _: [("SREM", "set", changed(at)) for at in numbers]),
        "sscan": Small("set", 0, lambda cursor: ("SSCAN", "set", cursor)),
        "zrange": Small("zset", 1 + 2 * WINDOW, lambda at: ("ZRANGE", "zset", at, at + WINDOW - 1)),
        "zrevrange": Small("zset", 1 + 2 * WINDOW, lambda at: ("ZREVRANGE", "zset", at, at + WINDOW - 1)),
        "zrangebyscore": Small("zset", 1 + 2 * WINDOW, lambda at: ("ZRANGEBYSCORE", "zset", at, at + WINDOW - 1)),
        "zcount": Small("zset", 1, lambda at: ("ZCOUNT", "zset", at, "+inf")),
        "zrank": Small("zset", 1, lambda at: ("ZRANK", "zset", element(at))),
        "zadd": Small("zset", 1, lambda at: ("ZADD", "zset", at, element(at)), scores_again(count)),
        "zincrby": Small("zset", 2, lambda at: ("ZINCRBY", "zset", middle, element(at)), scores_again(count)),
        "zrem": Small("zset", 1, lambda at: ("ZREM", "zset", element(at)), scores_again(count)),
        "zremrangebyrank": Small("zset", 1, lambda at: ("ZREMRANGEBYRANK", "zset", at // 2, at // 2 + WINDOW - 1),
                                 lambda *_: scores_again(count)(range(count), None), most=4000),
        "zscan": Small("zset", 0, lambda cursor: ("ZSCAN", "zset", cursor)),
    }


def scores_again(count):
    """Gives members the scores that they had."""
    return lambda numbers, _: [("ZADD", "zset", score(at, count), element(at)) for at in numbers]


@dataclass
class Long:
    """A command whose work grows with the elements."""

    title: str
    needs: dict  # the kinds of the values that it needs, and the first element, by key
    words: tuple


def long_commands(count):
    """The long commands, for values of `count` elements."""
    half = count // 2
    return {
        "sunionstore": Long("SUNIONSTORE of two sets that share half", {"set": ("set", 0), "set2": ("set", half)},
                            ("SUNIONSTORE", "made", "set", "set2")),
        "zunionstore": Long("ZUNIONSTORE of two sorted sets that share half",
                            {"zset": ("zset", 0), "zset2": ("zset", half)},
                            ("ZUNIONSTORE", "made", 2, "zset", "zset2")),
        "ltrim-half": Long("LTRIM of a list to the half in its middle", {"temporary": ("list", 0)},
                           ("LTRIM", "temporary", count // 4, count // 4 + half - 1)),
        "sort": Long("SORT of a list, ALPHA LIMIT 0 10", {"list": ("list", 0)},
                     ("SORT", "list", "LIMIT", 0, 10, "ALPHA")),
        **{f"del-{kind}": Long(f"DEL of a {name}", {"temporary": (kind, 0)}, ("DEL", "temporary"))
           for kind, name in (("list", "list"), ("hash", "hash"), ("set", "set"), ("zset", "sorted set"))},
    }


def main(options):
    small, long = small_commands(options.elements), long_commands(options.elements)
    wanted = options.parts or [*small, *long]
    unknown = set(wanted) - {*small, *long}
    if unknown:
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join([*small, *long])}")
    if options.elements < 1000 or options.elements % 7919 == 0:
        raise SystemExit("--elements: at least 1000, and no multiple of 7919")
    print(servers.machine())
    print(f"values of {options.elements:,} elements of 18 B, medians of {options.rounds} interleaved runs", flush=True)
    with ExitStack() as stack:
        running = {kind: stack.enter_context(servers.Server(kind)) for kind in ("codis", "redis aof")}
        present = {kind: set() for kind in running}
        chosen = {name: small[name] for name in wanted if name in small}
        if chosen:
            compare_small(running, present, chosen, options)
        chosen = {name: long[name] for name in wanted if name in long}
        if chosen:
            # A server that nobody else uses is pinged as well: what it takes to answer is the machine's doing.
            compare_long(running, stack.enter_context(servers.Server("redis plain")), present, chosen, options)


def provide(client, present, needs, count):
    """Makes the values that are not there; tells whether there were such."""
    missing = {key: need for key, need in needs.items() if key not in present}
    for key, (kind, first) in missing.items():
        load(client, kind, key, count, first)
        present.add(key)
    return bool(missing)


# MARK: Short commands


def compare_small(running, present, commands, options):
    rows = []
    for name, command in commands.items():
        measured = {kind: [] for kind in running}
        for kind, server in running.items():
            client = server.client(timeout=600)
            if provide(client, present[kind], {command.kind: (command.kind, 0)}, options.elements):
                time.sleep(2)
            client.close()
        scans = {kind: cursors(server, command) if name.endswith("scan") else None for kind, server in running.items()}
        for round_ in range(options.rounds):
            for kind, server in running.items():
                # The same arguments for both.
                source = random.Random(f"{name} {round_}")
                measured[kind].append(run_small(server, command, source, scans[kind], options))
        ours, theirs = measured.values()
        cells = [f"{median(rate for rate, _ in runs):,.0f}" for runs in (ours, theirs)]
        cells.append(f"{median(our[0] / their[0] for our, their in zip(ours, theirs)):.2f}")
        cells += [f"{median(cpu for _, cpu in runs):.2f}" for runs in (ours, theirs)]
        cells.append(f"{median(our[1] / max(their[1], 1e-9) for our, their in zip(ours, theirs)):.2f}")
        rows.append([name, *cells])
    heads = ["", "codis requests/s", "redis", "ratio", "codis CPU us/op", "redis", "ratio"]
    show(f"one connection, {PIPELINE} commands in a write, random elements", heads, rows)


def cursors(server, command, most=4000):
    """Cursors from one end of a value towards the other, each with the lines of the reply that it has."""
    client = server.client()
    found = []
    cursor = b"0"
    while len(found) < most:
        following, elements = client.command(*command.request(cursor))
        # Both are arrays, the first has the cursor in two lines.
        found.append((cursor, 4 + 2 * len(elements)))
        cursor = following
        if cursor == b"0":
            break
    client.close()
    return found


def run_small(server, command, source, scans, options):
    """Requests per second and CPU microseconds of each, in a run of `options.seconds` at least."""
    client = server.client(timeout=600)
    done, spent, cpu = 0, 0.0, 0.0
    while spent < options.seconds:
        if scans:
            picked = source.choices(scans, k=CHUNK // 4)
            numbers = [cursor for cursor, _ in picked]
            lines = [count for _, count in picked]
        else:
            # Different ones, since some commands take them away; a tenth at most, so that the value stays large.
            count = min(CHUNK, options.elements // 10, command.most or CHUNK)
            numbers = source.sample(range(options.elements - WINDOW), count)
            lines = [command.lines] * len(numbers)
        requests = [resp.encode(*command.request(number)) for number in numbers]
        writes = [(b"".join(requests[at:at + PIPELINE]), sum(lines[at:at + PIPELINE]))
                  for at in range(0, len(requests), PIPELINE)]
        received = []
        before = server.cpu_seconds()
        begin = time.monotonic()
        for data, expected in writes:
            received.append(exchange(client, data, expected))
            if time.monotonic() - begin + spent > options.seconds * 1.5:
                break  # A slow one.
        spent += time.monotonic() - begin
        cpu += server.cpu_seconds() - before
        numbers = numbers[:len(received) * PIPELINE]
        done += len(numbers)
        replies = [line for line in b"".join(received).split(b"\r\n")[:-1] if line[:1] not in b":$*+"]
        undo = [resp.encode(*words) for words in command.undo(numbers, replies)]
        for at in range(0, len(undo), 500):
            client.socket.sendall(b"".join(undo[at:at + 500]))
            for _ in undo[at:at + 500]:
                client.reply()
        if command.most:
            break
    client.close()
    return done / spent, cpu / done * 1e6


def exchange(client, data, lines):
    """Sends commands and returns their replies, which have so many lines; no element has a line's end in it."""
    client.socket.sendall(data)
    received = b""
    while lines > 0:
        chunk = client.socket.recv(1 << 16)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        lines -= chunk.count(b"\n")
        received += chunk
    if lines or received.startswith(b"-") or b"\n-" in received:
        raise resp.ReplyError(f"{data[:100]!r}: {received[:200]!r}")
    return received


# MARK: Long commands


def compare_long(running, idle, present, commands, options):
    rows = []
    for command in commands.values():
        measured = {kind: [] for kind in running}
        for _ in range(options.rounds):
            for kind, server in running.items():
                measured[kind].append(run_long(server, idle, present[kind], command, options))
        for kind, runs in measured.items():
            took, cpu, waits, control = zip(*runs)
            rows.append([
                f"{command.title}, {kind}",
                f"{median(took) * 1000:,.1f}",
                f"{median(cpu) * 1000:,.0f}",
                f"{median(percentile(latencies, 99.9) for latencies in waits):.2f}",
                f"{median(max(latencies) for latencies in waits):.2f}",
                f"{max(max(latencies) for latencies in waits):.2f}",
                f"{max(max(latencies) for latencies in control):.2f}",
            ])
    heads = ["", "command ms", "CPU ms", "ping p99.9 ms", "worst ms", "worst of all", "idle server's"]
    show("long commands; pings each millisecond from their beginning to 2 s after their end", heads, rows)


def run_long(server, idle, present, command, options):
    """How long a command takes, the CPU time until 2 s after it, and the round trips of pings until then."""
    client = server.client(timeout=600)
    provide(client, present, command.needs, options.elements)
    time.sleep(3)
    with Pinger(server.port) as pinger, Pinger(idle.port) as control:
        time.sleep(0.5)
        before = server.cpu_seconds()
        begin = time.monotonic()
        client.command(*command.words)
        took = time.monotonic() - begin
        time.sleep(2)
        cpu = server.cpu_seconds() - before
    client.command("DEL", "made", "temporary")
    client.close()
    present.discard("temporary")
    # One may have been on its way when the command came.
    waits = [[latency for at, latency in each.samples if at > begin - 0.005] for each in (pinger, control)]
    return took, cpu, *waits
