// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("CLIENT")
struct ClientCommandTests {
    private static let usage = TestReply.error(
        "ERR Syntax error, try CLIENT (LIST | KILL ip:port | GETNAME | SETNAME connection-name)"
    )

    @Test("CLIENT LIST has a line for each client, in the order in which they came, with all fields of Redis 2.8")
    func list() throws {
        let redis = try CommandHarness()
        let clients = (0..<3).map { _ in redis.client() }
        clients[1]("CLIENT SETNAME second")
        clients[2]("SELECT 3")
        let text = redis("CLIENT LIST").bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        let lines = text.split(separator: "\n")
        #expect(lines.count == 3 && text.hasSuffix("\n"))
        let names = lines[0].split(separator: " ").map { $0.split(separator: "=")[0] }
        #expect(
            names == [
                "id", "addr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "multi", "qbuf", "qbuf-free",
                "obl", "oll", "omem", "events", "cmd",
            ]
        )
        #expect(lines[0].hasPrefix("id=2 addr=test:2 ") && lines[0].hasSuffix(" cmd=NULL"))
        #expect(lines[1].contains(" name=second ") && lines[1].hasSuffix(" cmd=client"))
        #expect(lines[2].contains(" flags=N db=3 sub=0 psub=0 multi=-1 ") && lines[2].hasSuffix(" cmd=select"))
    }

    @Test("CLIENT KILL address closes the client there, which may be oneself, after the reply")
    func killByAddress() throws {
        let redis = try CommandHarness()
        let first = redis.client()
        let second = redis.client()
        #expect(redis("CLIENT KILL 1.2.3.4:5") == .error("ERR No such client"))
        #expect(redis("CLIENT KILL test:2") == .ok)
        #expect(first.session.closesAfterReply)
        #expect(second("CLIENT KILL test:3") == .ok)
        #expect(second.session.closesAfterReply)
    }

    @Test("CLIENT KILL with conditions closes whom all of them fit, mostly not oneself, and tells how many")
    func killByConditions() throws {
        let redis = try CommandHarness()
        let clients = (0..<4).map { _ in redis.client() }
        clients[3].replies("SUBSCRIBE a")
        #expect(redis("CLIENT KILL ID 99") == .integer(0))
        #expect(redis("CLIENT KILL ID 2 ADDR test:3") == .integer(0))
        #expect(redis("CLIENT KILL ID 2 ADDR test:2 TYPE normal") == .integer(1))
        #expect(clients[0].session.closesAfterReply)
        #expect(clients[1]("CLIENT KILL ADDR test:3") == .integer(0))
        #expect(clients[1]("CLIENT KILL addr test:3 skipme no") == .integer(1))
        #expect(redis("CLIENT KILL TYPE slave") == .integer(0))
        #expect(!clients[3].session.closesAfterReply)
        #expect(redis("CLIENT KILL TYPE pubsub SKIPME yes") == .integer(1))
        #expect(clients[3].session.closesAfterReply)
        #expect(!clients[2].session.closesAfterReply)
    }

    @Test(
        "what CLIENT does not understand is an error",
        arguments: [
            ("CLIENT KILL", "ERR syntax error"),
            ("CLIENT KILL ID", "ERR No such client"),
            ("CLIENT KILL ID 1 ADDR", "ERR syntax error"),
            ("CLIENT KILL FOO 1", "ERR syntax error"),
            ("CLIENT KILL ID x", "ERR value is not an integer or out of range"),
            ("CLIENT KILL TYPE x", "ERR Unknown client type 'x'"),
            ("CLIENT KILL ID 1 SKIPME maybe", "ERR syntax error"),
            ("CLIENT PAUSE x", "ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "ERR timeout is negative"),
        ]
    )
    func errors(line: String, text: String) throws {
        #expect(try CommandHarness()(line) == .error(text))
    }

    @Test("the greatest number of milliseconds is a long time like any other")
    func greatestNumbers() throws {
        let redis = try CommandHarness()
        #expect(redis("CLIENT PAUSE \(Int64.max)") == .ok)
        #expect(redis("CLIENT PAUSE 1") == .ok)
        #expect(redis.server.pausedUntilMilliseconds == .max)
        #expect(redis("CONFIG SET latency-monitor-threshold \(Int64.max)") == .ok)
        #expect(redis("CONFIG SET slowlog-log-slower-than \(Int64.max)") == .ok)
        #expect(redis.server.slowNanoseconds == .max)
    }

    @Test("a subcommand that there is not, or with other arguments, tells which there are")
    func usage() throws {
        let redis = try CommandHarness()
        for line in ["CLIENT x", "CLIENT LIST x", "CLIENT GETNAME x", "CLIENT SETNAME", "CLIENT PAUSE"] {
            #expect(redis(line) == Self.usage, "\(line)")
        }
    }

    @Test("LATENCY DOCTOR says whether anything is watched for, and what was slow")
    func doctor() throws {
        let redis = try CommandHarness()
        func report() -> String { redis("LATENCY DOCTOR").bytes.map { String(decoding: $0, as: UTF8.self) } ?? "" }
        #expect(report().contains("monitoring is off"))
        redis("CONFIG SET latency-monitor-threshold 10")
        #expect(report().contains("Nothing took 10 ms"))
        redis.server.latency.note("command", milliseconds: 25, atSeconds: 1_700_000_000)
        redis.server.latency.note("command", milliseconds: 15, atSeconds: 1_700_000_001)
        #expect(report().contains("command: 2 of late, 20 ms on average, 25 ms at worst"))
        #expect(
            redis("LATENCY LATEST")
                == .array([.array([.bulk("command"), .integer(1_700_000_001), .integer(15), .integer(25)])])
        )
        #expect(
            redis("LATENCY HISTORY command")
                == .array([
                    .array([.integer(1_700_000_000), .integer(25)]), .array([.integer(1_700_000_001), .integer(15)]),
                ])
        )
        let graph = redis("LATENCY GRAPH command").bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        #expect(graph.hasPrefix("command - high 25 ms, low 15 ms (all time high 25 ms)\n"))
        #expect(redis("LATENCY RESET command other") == .integer(1))
        #expect(redis("LATENCY LATEST") == .array([]))
    }
}
