// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Synchronization
import Testing

/// A target that answers only when the test lets it.
final class GatedTarget: Sendable {
    let stub: StubTarget
    private let isOpen: Gate

    private final class Gate: Sendable {
        let isOpen = Mutex(false)
    }

    init() throws {
        let gate = Gate()
        isOpen = gate
        stub = try StubTarget { command in
            _ = waitUntil(timeoutSeconds: 60) { gate.isOpen.withLock { $0 } }
            return StubTarget.acknowledgement(of: command)
        }
    }

    func open() { isOpen.isOpen.withLock { $0 = true } }

    func end() {
        open()
        stub.end()
    }
}

@Suite("Moving slots asynchronously: what goes wrong")
struct AsyncMigrationFaultTests {
    /// `SLOTSMGRTONE-ASYNC` of keys.
    private static func command(_ port: Int, timeout: Int = 30_000, _ keys: String...) -> [[UInt8]] {
        (["SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(port)", "\(timeout)", "0", "0"] + keys).map { Array($0.utf8) }
    }

    @Test("a target of Codis 3.2 gets just the bytes that it expects")
    func bytes() throws {
        let source = try TestServer()
        let target = try StubTarget()
        let client = try source.connect()
        try client.command("MSET", "a", "1", "b", "two")
        try client.command("RPUSH", "list", "x", "y", "z")
        #expect(try client.command(Self.command(target.port, "a", "none")) == .integer(1))
        #expect(
            target.lines == [
                "SLOTSRESTORE-ASYNC-SELECT 0", "SLOTSRESTORE-ASYNC delete a", "SLOTSRESTORE-ASYNC string a 0 1",
            ]
        )
        let words = ["SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "500", "2", "0", "b", "list"]
        #expect(try client.command(words.map { Array($0.utf8) }) == .integer(2))
        #expect(
            Array(target.lines.dropFirst(3)) == [
                "SLOTSRESTORE-ASYNC delete b", "SLOTSRESTORE-ASYNC string b 0 two", "SLOTSRESTORE-ASYNC delete list",
                "SLOTSRESTORE-ASYNC list list 1500 3 x y", "SLOTSRESTORE-ASYNC list list 1500 3 z",
                "SLOTSRESTORE-ASYNC expire list 0",
            ]
        )
        #expect(target.connectionCount == 1)
        try client.command("CONFIG", "SET", "requirepass", "secret")
        try client.command("AUTH", "secret")
        try client.command("SELECT", "2")
        try client.command("PSETEX", "c", "50000", "3")
        #expect(try client.command(Self.command(target.port, "c")) == .integer(1))
        let rest = Array(target.lines.dropFirst(9))
        #expect(
            rest.prefix(3) == [
                "SLOTSRESTORE-ASYNC-AUTH secret", "SLOTSRESTORE-ASYNC-SELECT 2", "SLOTSRESTORE-ASYNC delete c",
            ]
        )
        #expect(target.connectionCount == 2)
        let lifetime = try #require(rest.last?.split(separator: " ").dropLast().last.flatMap { Int($0) })
        #expect(lifetime > 0 && lifetime <= 50_000)
        try source.stop()
        target.end()
    }

    @Test("while a batch is on its way its keys are read, writes to them wait, and everything else is served")
    func meanwhile() throws {
        let source = try TestServer()
        let target = try GatedTarget()
        let client = try source.connect()
        try client.command("MSET", "{t}a", "1", "b", "2", "{t}other", "3")
        let mover = try source.connect()
        mover.enqueue(Self.command(target.stub.port, "{t}a"))
        try mover.flush()
        #expect(try eventually { try client.command("SLOTSMGRT-ASYNC-STATUS").elements?.last?.elements != nil })
        #expect(
            try client.command(Self.command(target.stub.port, "b"))
                == .error("ERR the specified DB is being migrated")
        )
        try client.command("MULTI")
        try client.command("SLOTSMGRT-ASYNC-FENCE")
        #expect(
            try client.command("EXEC")
                == .array([.error("ERR SLOTSMGRT-ASYNC-FENCE cannot wait within a transaction or script")])
        )
        #expect(
            try source.command("SLOTSRESTORE-ASYNC", "delete", "b").elements?.last
                == .bulk("the specified DB is being migrated")
        )
        let status = try #require(client.command("SLOTSMGRT-ASYNC-STATUS").elements)
        #expect(status.count == 18)
        #expect(status[13] == .bulk("3"), "messages that are not acknowledged")
        #expect(status.last?.elements?[1] == .array([.bulk("1"), .bulks("{t}a")]))

        // Reads go on, with and without the wrapper; the wrapper tells of writes at once.
        #expect(try client.command("GET", "{t}a") == .bulk("1"))
        #expect(
            try client.command("SLOTSMGRT-EXEC-WRAPPER", "{t}a", "GET", "{t}a")
                == .array([.integer(2), .bulk("1")])
        )
        let migrating = TestReply.array([.integer(1), .error("ERR the specified key is being migrated")])
        #expect(try client.command("SLOTSMGRT-EXEC-WRAPPER", "{t}a", "INCR", "{t}a") == migrating)
        #expect(try client.command("SLOTSMGRT-EXEC-WRAPPER", "{t}other", "INCR", "{t}other") == migrating)
        #expect(try client.command("SLOTSMGRT-EXEC-WRAPPER", "b", "MSET", "b", "1", "{t}a", "1") == migrating)
        #expect(try client.command("SLOTSMGRT-EXEC-WRAPPER", "b", "INCR", "b") == .array([.integer(2), .integer(3)]))
        #expect(try client.command("INCR", "b") == .integer(4))

        // An ordinary write waits, and so does FENCE.
        let writer = try source.connect()
        writer.enqueue("APPEND", "{t}a", "x")
        try writer.flush()
        let fence = try source.connect()
        fence.enqueue("SLOTSMGRT-ASYNC-FENCE")
        try fence.flush()
        #expect(!writer.hasInput(withinMilliseconds: 200))
        #expect(!fence.hasInput(withinMilliseconds: 1))
        target.open()
        #expect(try mover.receive() == .integer(1))
        #expect(try fence.receive() == .integer(1))
        // The key has gone: the write makes a new one.
        #expect(try writer.receive() == .integer(1))
        #expect(target.stub.lines.last == "SLOTSRESTORE-ASYNC string {t}a 0 1")
        try source.stop()
        target.end()
    }

    @Test("a target that does not answer in time, and one that is cancelled, leave the keys on the source")
    func timeout() throws {
        let source = try TestServer()
        let target = try StubTarget { _ in .silence }
        let client = try source.connect()
        try client.command("SET", "key", "1")
        #expect(
            try client.command(Self.command(target.port, timeout: 1000, "key"))
                == .error("ERR interrupted: migration timeout")
        )
        #expect(try client.command("INCR", "key") == .integer(2))
        #expect(try client.command("SLOTSMGRT-ASYNC-STATUS") == .nullArray)
        client.enqueue(Self.command(target.port, "key"))
        try client.flush()
        let other = try source.connect()
        #expect(try eventually { try other.command("SLOTSMGRT-ASYNC-STATUS").elements?.last?.elements != nil })
        #expect(try other.command("SLOTSMGRT-ASYNC-CANCEL") == .integer(1))
        #expect(try client.receive() == .error("ERR interrupted: canceled"))
        #expect(try client.command("INCR", "key") == .integer(3))
        // What the target may have is taken back.
        #expect(try eventually { target.lines.last == "SLOTSRESTORE-ASYNC delete key" })
        try source.stop()
        target.end()
    }

    @Test(
        "whatever a target answers, the keys stay on the source and those who wait hear of it",
        arguments: [
            (
                "SLOTSRESTORE-ASYNC-SELECT", "-ERR unknown command",
                "ERR interrupted: connection closed (ERR unknown command)"
            ),
            ("delete", "-LOADING Redis is loading", "ERR interrupted: connection closed (LOADING Redis is loading)"),
            ("string", "nonsense", "ERR interrupted: connection closed"),
            ("string", "*1\r\n$4\r\nPING", "ERR interrupted: connection closed"),
            ("string", "*2\r\n$22\r\nSLOTSRESTORE-ASYNC-ACK\r\n$1\r\n0", "ERR interrupted: connection closed"),
            (
                "string", "*3\r\n$22\r\nSLOTSRESTORE-ASYNC-ACK\r\n$1\r\nx\r\n$1\r\n1",
                "ERR interrupted: connection closed"
            ),
            (
                "string", "*3\r\n$22\r\nSLOTSRESTORE-ASYNC-ACK\r\n$2\r\n-1\r\n$2\r\nno",
                "ERR interrupted: connection closed"
            ),
            ("string", "*9999999999\r\n$", "ERR interrupted: connection closed"),
            ("string", "", "ERR interrupted: connection closed"),
            ("delete", "", "ERR interrupted: connection closed"),
        ]
    )
    func answers(at step: String, bytes: String, expected: String) throws {
        let source = try TestServer()
        let target = try StubTarget { command in
            guard command.contains(step) else { return StubTarget.acknowledgement(of: command) }
            return bytes.isEmpty ? .close : .bytes(Array((bytes + "\r\n").utf8))
        }
        let client = try source.connect()
        try client.command("MSET", "a", "1", "b", "2")
        #expect(try client.command(Self.command(target.port, "a", "b")) == .error(expected))
        #expect(try client.command("MGET", "a", "b") == .bulks("1", "2"))
        // The next batch begins anew, with a connection of its own.
        let other = try StubTarget()
        #expect(try client.command(Self.command(other.port, "a", "b")) == .integer(2))
        #expect(try client.command("DBSIZE") == .integer(0))
        try source.stop()
        target.end()
        other.end()
    }

    @Test("nobody at the address is an error, and another address replaces the connection")
    func addresses() throws {
        let source = try TestServer()
        let (one, other) = (try StubTarget(), try StubTarget())
        let client = try source.connect()
        try client.command("MSET", "a", "1", "b", "2", "c", "3")
        let nobody = freePort()
        #expect(
            try client.command(Self.command(nobody, "a"))
                == .error("ERR create client to 127.0.0.1:\(nobody) failed")
        )
        #expect(try client.command(Self.command(one.port, "a")) == .integer(1))
        #expect(try client.command(Self.command(other.port, "b")) == .integer(1))
        #expect(try client.command("SLOTSMGRT-ASYNC-STATUS").elements?[3] == .bulk("\(other.port)"))
        // A connection that the target has closed is made anew.
        other.disconnect()
        #expect(try eventually { try client.command("SLOTSMGRT-ASYNC-STATUS") == .nullArray })
        #expect(try client.command(Self.command(other.port, "c")) == .integer(1))
        #expect(other.connectionCount == 2)
        #expect(one.connectionCount == 1)
        try source.stop()
        one.end()
        other.end()
    }

    @Test("a connection that breaks in the middle of a large value leaves it on the source, and nothing on the target")
    func broken() throws {
        let source = try TestServer()
        let target = try TestServer()
        let proxy = try LinkProxy(to: target.port)
        let client = try source.connect(timeoutSeconds: 60)
        for start in stride(from: 0, to: 100_000, by: 1000) {
            let pairs = (start..<start + 1000).flatMap { ["field:\($0)", "value:\($0)"] }
            client.enqueue((["HMSET", "hash"] + pairs).map { Array($0.utf8) })
        }
        try client.flush()
        _ = try client.receive(100)
        let words = ["SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(proxy.port)", "30000", "10", "1000", "hash"]
        client.enqueue(words.map { Array($0.utf8) })
        try client.flush()
        #expect(try eventually { try target.command("DBSIZE") == .integer(1) })
        #expect(try target.command("EXISTS", "hash") == .integer(0))
        proxy.cut()
        #expect(try client.receive() == .error("ERR interrupted: connection closed"))
        #expect(try client.command("HLEN", "hash") == .integer(100_000))
        #expect(try eventually { try target.command("DBSIZE") == .integer(0) })
        // Now it goes through.
        let digest = try client.command("DEBUG", "DIGEST")
        #expect(try client.command(Self.command(target.port, "hash")) == .integer(1))
        #expect(try target.command("DEBUG", "DIGEST") == digest)
        try source.stop()
        try target.stop()
        proxy.end()
    }

    @Test("a server that becomes a replica ends what is on its way")
    func demotion() throws {
        let source = try TestServer()
        let target = try StubTarget { _ in .silence }
        let client = try source.connect()
        try client.command("SET", "key", "1")
        client.enqueue(Self.command(target.port, "key"))
        try client.flush()
        let other = try source.connect()
        #expect(try eventually { try other.command("SLOTSMGRT-ASYNC-STATUS").elements?.last?.elements != nil })
        try other.command("SLAVEOF", "127.0.0.1", "1")
        #expect(try client.receive() == .error("ERR interrupted: canceled"))
        #expect(try other.command("GET", "key") == .bulk("1"))
        try source.stop()
        target.end()
    }

    @Test("a key that expires or is evicted under way, or is changed by a script that did not say so, is no loss")
    func changes() throws {
        let source = try TestServer()
        let target = try GatedTarget()
        let client = try source.connect()
        try client.command("MSET", "kept", "1", "changed", "2", "deleted", "3")
        try client.command("PSETEX", "expiring", "300", "4")
        let mover = try source.connect()
        mover.enqueue(Self.command(target.stub.port, "kept", "changed", "deleted", "expiring"))
        try mover.flush()
        #expect(try eventually { try client.command("SLOTSMGRT-ASYNC-STATUS").elements?[13] == .bulk("9") })
        // The keys are not declared, so the script does not wait.
        try client.command("EVAL", "redis.call('set','changed','5') redis.call('del','deleted')", "0")
        #expect(try eventually { try client.command("DBSIZE") == .integer(2) })
        target.open()
        #expect(try mover.receive() == .integer(1))
        #expect(try client.command("GET", "changed") == .bulk("5"))
        #expect(try client.command("DBSIZE") == .integer(1))
        #expect(
            target.stub.lines.suffix(2)
                == ["SLOTSRESTORE-ASYNC delete changed", "SLOTSRESTORE-ASYNC delete deleted"]
        )
        try source.stop()
        target.end()
    }
}
