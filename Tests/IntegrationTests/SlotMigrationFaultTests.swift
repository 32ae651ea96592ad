// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Synchronization
import Testing

/// A gate that a stub waits at until the test opens it.
final class Gate: Sendable {
    private let isOpen = Atomic(false)
    private let arrivals = Atomic(0)

    /// How many wait or have waited.
    var arrivedCount: Int { arrivals.load(ordering: .acquiring) }

    func open() { isOpen.store(true, ordering: .releasing) }

    func pass() {
        arrivals.add(1, ordering: .acquiringAndReleasing)
        _ = waitUntil(timeoutSeconds: 60) { isOpen.load(ordering: .acquiring) }
    }
}

@Suite("SLOTSMGRT and a target that fails")
struct SlotMigrationFaultTests {
    private static let reading = "IOERR error or timeout reading from target"
    private static let writing = "IOERR error or timeout writing to target"

    /// A target that fails in some way, and what the source may say then.
    struct Fault: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let replies: [String]
        var hasPassword = false
        var valueBytes = 5
        var timeout = 30_000
        let serve: @Sendable (StubConnection) -> Void
    }

    static let faults: [Fault] = [
        Fault(testDescription: "closes before anything is read", replies: [reading, writing]) { _ in },
        Fault(testDescription: "closes before it answers AUTH", replies: [reading, writing], hasPassword: true) {
            _ = $0.readRequest()
        },
        Fault(
            testDescription: "refuses the password",
            replies: ["ERR error on slotsrestore, auth failed"],
            hasPassword: true
        ) {
            _ = $0.readRequest()
            $0.send("-ERR invalid password\r\n")
            $0.waitForEnd()
        },
        Fault(
            testDescription: "answers AUTH with something else",
            replies: ["ERR error on slotsrestore, auth failed"],
            hasPassword: true
        ) {
            _ = $0.readRequest()
            $0.send(":1\r\n")
            $0.waitForEnd()
        },
        Fault(testDescription: "says nothing to AUTH", replies: [reading], hasPassword: true, timeout: 1000) {
            $0.waitForEnd()
        },
        Fault(testDescription: "refuses SELECT", replies: ["ERR error on slotsrestore, select failed"]) {
            _ = $0.readRequest()
            $0.send("-NOAUTH Authentication required.\r\n")
            $0.waitForEnd()
        },
        Fault(testDescription: "closes before it answers SELECT", replies: [reading, writing]) {
            _ = $0.readRequest()
        },
        Fault(testDescription: "closes after SELECT", replies: [reading]) {
            _ = $0.readRequest()
            $0.send("+OK\r\n")
            _ = $0.readBytes(10)
        },
        Fault(testDescription: "says nothing after SELECT", replies: [reading], timeout: 1000) {
            _ = $0.readRequest()
            $0.send("+OK\r\n")
            $0.waitForEnd()
        },
        Fault(
            testDescription: "closes when half of the payload was sent",
            replies: [reading, writing],
            valueBytes: 20_000_000
        ) {
            $0.answerUntilRestore()
            _ = $0.readBytes(10_000_000)
        },
        Fault(
            testDescription: "stops reading in the middle of the payload",
            replies: [writing],
            valueBytes: 50_000_000,
            timeout: 1000
        ) {
            $0.answerUntilRestore()
            _ = $0.readBytes(1000)
            Gate().pass()
        },
        Fault(testDescription: "has the keys, and its answer is lost", replies: [reading]) {
            _ = $0.readRequest()
            $0.send("+OK\r\n")
            _ = $0.readRequest()
        },
        Fault(testDescription: "sends half of its answer", replies: [reading]) {
            _ = $0.readRequest()
            $0.send("+OK\r\n")
            _ = $0.readRequest()
            $0.send("+O")
        },
        Fault(testDescription: "refuses the keys", replies: ["ERR error on slotsrestore, migration failed"]) {
            _ = $0.readRequest()
            $0.send("+OK\r\n")
            _ = $0.readRequest()
            $0.send("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
            $0.waitForEnd()
        },
        Fault(
            testDescription: "sends a line that is too long instead of OK for SELECT",
            replies: [reading],
            timeout: 200
        ) {
            _ = $0.readRequest()
            $0.send("+" + String(repeating: "x", count: 1500))
            $0.waitForEnd()
        },
    ]

    @Test("the source says why, and keeps the keys", arguments: faults)
    func fails(_ fault: Fault) throws {
        let source = try TestServer(configuration: fault.hasPassword ? ["requirepass secret"] : [])
        let stub = try StubServer(fault.serve)
        let client = try source.connect(timeoutSeconds: 60)
        if fault.hasPassword { try client.command("AUTH", "secret") }
        try client.command("SET", "{k}1", String(repeating: "v", count: fault.valueBytes))
        try client.command("SET", "{k}2", "w")
        for name in ["SLOTSMGRTTAGONE", "SLOTSMGRTONE"] {
            let reply = try client.command(name, "127.0.0.1", "\(stub.port)", "\(fault.timeout)", "{k}1")
            #expect(fault.replies.map { TestReply.error($0) }.contains(reply), "\(name): \(reply)")
            #expect(try client.command("STRLEN", "{k}1") == .integer(Int64(fault.valueBytes)))
            #expect(try client.command("GET", "{k}2") == .bulk("w"))
        }
        stub.end()
        try source.killAndRestart()
        let again = try source.connect()
        if fault.hasPassword { try again.command("AUTH", "secret") }
        #expect(try again.command("DBSIZE") == .integer(2))
        try source.stop()
    }

    @Test("a target that cannot be reached in time")
    func unreachable() throws {
        let source = try TestServer()
        let nowhere = try StubServer.unreachable()
        try source.command("SET", "k", "v")
        let reply = try source.command("SLOTSMGRTONE", "127.0.0.1", "\(nowhere.port)", "1000", "k")
        #expect(reply == .error("IOERR error or timeout connecting to the client"))
        #expect(try source.command("GET", "k") == .bulk("v"))
        try source.stop()
    }

    @Test("what is sent is to the byte what the original sends, over a connection that is kept")
    func bytes() throws {
        let source = try TestServer(configuration: ["requirepass secret"])
        let requests = Mutex<[String]>([])
        let stub = try StubServer { connection in
            while let request = connection.readRequest() {
                let words = request.map {
                    $0.allSatisfy { $0 >= 32 && $0 < 127 } ? String(decoding: $0, as: UTF8.self) : "?"
                }
                requests.withLock { $0.append("\(connection.number): " + words.joined(separator: " ")) }
                connection.send("+OK\r\n")
            }
        }
        let client = try source.connect()
        try client.command("AUTH", "secret")
        func move(_ key: String) throws -> TestReply {
            try client.command("SLOTSMGRTTAGONE", "127.0.0.1", "\(stub.port)", "10000", key)
        }
        for key in ["{a}2", "{a}1", "{a}3", "b", "c"] { try client.command("SET", key, "v") }
        #expect(try move("{a}") == .integer(3))
        #expect(try move("b") == .integer(1))
        try client.command("SELECT", "5")
        try client.command("PSETEX", "c", "1000000", "v")
        #expect(try move("c") == .integer(1))
        try client.command("SELECT", "0")
        #expect(try move("c") == .integer(1))
        let sent = requests.withLock { $0 }
        #expect(
            sent.filter { !$0.contains("SLOTSRESTORE c") } == [
                "1: AUTH secret", "1: SELECT 0", "1: SLOTSRESTORE {a}1 0 ? {a}2 0 ? {a}3 0 ?",
                "1: SLOTSRESTORE b 0 ?", "1: SELECT 5", "1: SELECT 0",
            ]
        )
        let lifetimes = sent.filter { $0.contains("SLOTSRESTORE c") }.compactMap { Int($0.split(separator: " ")[3]) }
        #expect(lifetimes.count == 2 && lifetimes[0] > 900_000 && lifetimes[0] <= 1_000_000 && lifetimes[1] == 0)
        #expect(source.output.contains("slotsmgrt: connect to target 127.0.0.1:\(stub.port)"))
        stub.end()
        try source.stop()
    }

    @Test("an answer that is too long is a success, and its rest answers what comes next")
    func longLine() throws {
        let source = try TestServer()
        let stub = try StubServer { connection in
            while let request = connection.readRequest() {
                let isFirst = request[0] == Array("SLOTSRESTORE".utf8) && connection.number == 1
                connection.send(isFirst ? "+" + String(repeating: "x", count: 1500) + "\r\n" : "+OK\r\n")
            }
        }
        for key in ["a", "b"] { try source.command("SET", key, "v") }
        #expect(try source.command("SLOTSMGRTONE", "127.0.0.1", "\(stub.port)", "10000", "a") == .integer(1))
        #expect(try source.command("SLOTSMGRTONE", "127.0.0.1", "\(stub.port)", "10000", "b") == .integer(1))
        stub.end()
        try source.stop()
    }

    @Test("a large value goes in one SLOTSRESTORE to a server that does not know pieces, after one harmless question")
    func largeToOriginal() throws {
        let source = try TestServer()
        let names = Mutex<[String]>([])
        let payload = Mutex<[UInt8]>([])
        let stub = try StubServer { connection in
            while let request = connection.readRequest() {
                let name = String(decoding: request[0], as: UTF8.self)
                names.withLock { $0.append(name) }
                if name == "SLOTSRESTORE", request[1] == Array("hash".utf8) { payload.withLock { $0 = request[3] } }
                connection.send(name == "SLOTSRESTORE-PART" ? "-ERR unknown command '\(name)'\r\n" : "+OK\r\n")
            }
        }
        let client = try source.connect()
        for number in 0..<20_000 {
            client.enqueue("HSET", "hash", "field\(number)", "a value of some length \(number)")
        }
        try client.flush()
        _ = try client.receive(20_000)
        try client.command("SET", "string", String(repeating: "s", count: 1_000_000))
        let digest = try client.command("DEBUG", "DIGEST")
        for key in ["hash", "string"] {
            #expect(try client.command("SLOTSMGRTONE", "127.0.0.1", "\(stub.port)", "20000", key) == .integer(1))
        }
        #expect(names.withLock { $0 } == ["SELECT", "SLOTSRESTORE-PART", "SLOTSRESTORE", "SLOTSRESTORE"])
        stub.end()
        // What an original would have taken, ours takes as well, in steps.
        let bytes = payload.withLock { $0 }
        #expect(try client.command([Array("SLOTSRESTORE".utf8), Array("hash".utf8), Array("0".utf8), bytes]) == .ok)
        try client.command("SET", "string", String(repeating: "s", count: 1_000_000))
        #expect(try client.command("DEBUG", "DIGEST") == digest)
        #expect(try client.command("DBSIZE") == .integer(2))
        try source.killAndRestart()
        #expect(try source.command("DEBUG", "DIGEST") == digest)
        try source.stop()
    }

    // MARK: The fence

    /// A source with some keys, and a target that has what was sent and answers when it is told.
    private struct Fenced {
        let source: TestServer
        let gate = Gate()
        let stub: StubServer
        let mover: TestClient

        init(answer: String = "+OK\r\n", keys: [String]) throws {
            source = try TestServer()
            let gate = gate
            stub = try StubServer { connection in
                while let request = connection.readRequest() {
                    guard request[0] == Array("SLOTSRESTORE".utf8) else {
                        connection.send(request[0] == Array("DEL".utf8) ? ":1\r\n" : "+OK\r\n")
                        continue
                    }
                    gate.pass()
                    connection.send(answer)
                }
            }
            mover = try source.connect(timeoutSeconds: 60)
            for key in keys { try mover.command("SET", key, "1") }
        }

        func begin(_ key: String, with name: String = "SLOTSMGRTTAGONE") throws {
            let arrived = gate.arrivedCount
            mover.enqueue(name, "127.0.0.1", "\(stub.port)", "60000", key)
            // What comes behind it waits too.
            mover.enqueue("ECHO", "after")
            try mover.flush()
            #expect(waitUntil { gate.arrivedCount > arrived })
        }

        /// A client that has sent this, and waits.
        func send(_ lines: String...) throws -> TestClient {
            let client = try source.connect(timeoutSeconds: 60)
            for line in lines { client.enqueue(line.split(separator: " ").map { Array($0.utf8) }) }
            try client.flush()
            return client
        }

        /// Waits until so many clients have sent a command that waits for the fence.
        func waitForHeld(_ count: Int) -> Bool {
            waitUntil {
                let list = (try? source.command("CLIENT", "LIST").text) ?? ""
                return list.split(separator: "\n").filter { !$0.contains(" qbuf=0 ") }.count >= count
            }
        }

        func stop() throws {
            stub.end()
            try source.stop()
        }
    }

    @Test("while keys are on their way, commands that name them wait, and then find them gone; others are served")
    func waiting() throws {
        let fenced = try Fenced(keys: ["{a}x", "{a}y", "b"])
        try fenced.begin("{a}x")
        let get = try fenced.send("GET {a}x", "PING")
        let create = try fenced.send("SET {a}new 1")
        let exec = try fenced.send("MULTI", "INCR b", "INCR {a}y", "EXEC")
        let script = try fenced.source.connect(timeoutSeconds: 60)
        script.enqueue("EVAL", "return redis.call('incr', KEYS[1])", "1", "{a}x")
        try script.flush()
        let pop = try fenced.send("BLPOP {a}list b 0")
        let flush = try fenced.send("FLUSHDB", "DBSIZE")
        #expect(try exec.receive(3).last == .status("QUEUED"))
        #expect(fenced.waitForHeld(6))
        let other = try fenced.source.connect()
        #expect(try other.command("INCR", "b") == .integer(2))
        #expect(try other.command("KEYS", "*").elements?.count == 3)
        #expect(try other.command("DBSIZE") == .integer(3))
        #expect(try other.command("SLOTSINFO").elements?.count == 2)
        fenced.gate.open()
        #expect(try fenced.mover.receive(2) == [.integer(2), .bulk("after")])
        #expect(try get.receive(2) == [.nullBulk, .status("PONG")])
        #expect(try create.receive() == .ok)
        #expect(try exec.receive() == .array([.integer(3), .integer(1)]))
        #expect(try script.receive() == .integer(1))
        #expect(try pop.receive().text?.hasPrefix("WRONGTYPE") == true)
        #expect(try flush.receive(2) == [.ok, .integer(0)])
        try fenced.stop()
    }

    @Test("when the target refuses, those who waited find everything as it was")
    func refused() throws {
        let fenced = try Fenced(answer: "-ERR no\r\n", keys: ["{a}x", "{a}y"])
        try fenced.begin("{a}x")
        let client = try fenced.send("INCR {a}x", "INCR {a}y")
        #expect(fenced.waitForHeld(1))
        fenced.gate.open()
        let reply = try fenced.mover.receive()
        #expect(reply == .error("ERR error on slotsrestore, migration failed"))
        #expect(try client.receive(2) == [.integer(2), .integer(2)])
        try fenced.stop()
    }

    @Test("a second move of the same keys waits for the first, and finds nothing")
    func twice() throws {
        let fenced = try Fenced(keys: ["{a}x", "b"])
        try fenced.begin("{a}x")
        let port = "\(fenced.stub.port)"
        let second = try fenced.send("SLOTSMGRTTAGONE 127.0.0.1 \(port) 60000 {a}x")
        let slot = try fenced.send("SLOTSMGRTTAGSLOT 127.0.0.1 \(port) 60000 579")
        #expect(fenced.waitForHeld(1))
        fenced.gate.open()
        #expect(try fenced.mover.receive() == .integer(1))
        #expect(try second.receive() == .integer(0))
        #expect(try slot.receive() == .array([.integer(0), .integer(0)]))
        try fenced.stop()
    }

    @Test("a key that expires on its way has moved")
    func expiring() throws {
        let fenced = try Fenced(keys: ["k"])
        // Long enough to be chosen before it expires.
        try fenced.mover.command("PEXPIRE", "k", "3000")
        try fenced.begin("k", with: "SLOTSMGRTONE")
        #expect(waitUntil { (try? fenced.source.command("DBSIZE")) == .integer(0) })
        fenced.gate.open()
        #expect(try fenced.mover.receive() == .integer(1))
        try fenced.stop()
    }

    @Test("keys that a script changes without declaring them are sent once more, and deleted ones at the target too")
    func undeclared() throws {
        let fenced = try Fenced(keys: ["{a}x", "{a}y"])
        try fenced.begin("{a}x")
        let script = "redis.call('del', '{a}x'); redis.call('set', '{a}z', 3); return redis.call('incr', '{a}y')"
        #expect(try fenced.source.command("EVAL", script, "0") == .integer(2))
        fenced.gate.open()
        #expect(try fenced.mover.receive() == .integer(2))
        #expect(fenced.gate.arrivedCount == 2)
        #expect(try fenced.source.command("DBSIZE") == .integer(0))
        try fenced.stop()
    }

    @Test("a server that becomes a replica ends moves with an error")
    func becomesReplica() throws {
        let fenced = try Fenced(keys: ["k"])
        try fenced.begin("k", with: "SLOTSMGRTONE")
        let waiting = try fenced.send("GET k")
        #expect(fenced.waitForHeld(1))
        #expect(try fenced.source.command("SLAVEOF", "127.0.0.1", "\(freePort())") == .ok)
        #expect(try fenced.mover.receive().text?.hasPrefix("UNBLOCKED") == true)
        #expect(try waiting.receive() == .bulk("1"))
        #expect(try fenced.source.command("SLAVEOF", "NO", "ONE") == .ok)
        fenced.gate.open()
        #expect(try fenced.source.command("GET", "k") == .bulk("1"))
        try fenced.stop()
    }

    @Test("a source that ends in the middle still has its keys", arguments: [true, false])
    func ends(isKilled: Bool) throws {
        let fenced = try Fenced(keys: ["k"])
        try fenced.begin("k", with: "SLOTSMGRTONE")
        if isKilled { try fenced.source.kill() } else { try fenced.source.stop() }
        fenced.gate.open()
        try fenced.source.start()
        #expect(try fenced.source.command("GET", "k") == .bulk("1"))
        try fenced.stop()
    }

    @Test("the client may go; the move goes on")
    func clientGone() throws {
        let fenced = try Fenced(keys: ["k"])
        try fenced.begin("k", with: "SLOTSMGRTONE")
        fenced.mover.close()
        fenced.gate.open()
        #expect(waitUntil { (try? fenced.source.command("DBSIZE")) == .integer(0) })
        try fenced.stop()
    }

    // MARK: A source that fails

    @Test("what a source sends by halves changes nothing, and pieces go with their connection")
    func halves() throws {
        let target = try TestServer()
        try target.command("SET", "bar", "bar")
        let payload = try #require(try target.command("DUMP", "bar").bytes)
        var request: [UInt8] = []
        TestClient.encode(
            [
                Array("SLOTSRESTORE".utf8), Array("a".utf8), Array("0".utf8), payload, Array("b".utf8), Array("0".utf8),
                payload,
            ],
            into: &request
        )
        for count in [1, 20, request.count - 3, request.count - 1] {
            let client = try target.connect()
            try client.sendRaw(Array(request.prefix(count)))
            client.close()
        }
        #expect(try target.command("DBSIZE") == .integer(1))
        let source = try target.connect()
        #expect(try source.command("SLOTSRESTORE-PART", "part", "SADD", "a", "b") == .ok)
        #expect(try source.command("SLOTSRESTORE-PART", "part", "SADD") == .ok)
        #expect(try target.command("DBSIZE") == .integer(2))
        source.close()
        #expect(waitUntil { (try? target.command("DBSIZE")) == .integer(1) })
        let another = try target.connect()
        for byte in request { try another.sendRaw([byte]) }
        #expect(try another.receive() == .ok)
        #expect(try target.command("MGET", "a", "b") == .bulks("bar", "bar"))
        // A whole request whose sender does not wait for the answer is done.
        try target.command("DEL", "a", "b")
        let gone = try target.connect()
        try gone.sendRaw(request)
        gone.close()
        #expect(waitUntil { (try? target.command("MGET", "a", "b")) == .bulks("bar", "bar") })
        try target.stop()
    }

    @Test("a large batch is restored in steps behind a fence: nobody sees a part of it")
    func largeBatch() throws {
        let target = try TestServer()
        let client = try target.connect(timeoutSeconds: 60)
        try client.command("SET", "bar", "bar")
        let payload = try #require(try client.command("DUMP", "bar").bytes)
        let count = 20_000
        var arguments = [Array("SLOTSRESTORE".utf8)]
        for number in 0..<count { arguments += [Array("{t}\(number)".utf8), Array("0".utf8), payload] }
        client.enqueue(arguments)
        try client.flush()
        let observer = try target.connect()
        var seen: Set<TestReply> = []
        // The reads name the keys, so they see nothing or all of it.
        while seen.count < 2 {
            let reply = try observer.command("MGET", "{t}0", "{t}\(count / 2)", "{t}\(count - 1)")
            seen.insert(reply)
            if reply == .bulks("bar", "bar", "bar") { break }
            #expect(reply == .array([.nullBulk, .nullBulk, .nullBulk]))
        }
        #expect(try client.receive() == .ok)
        #expect(try client.command("DBSIZE") == .integer(Int64(count + 1)))
        // One bad payload among thousands, and nothing is written.
        var damaged = payload
        damaged[1] ^= 1
        for index in stride(from: 1, to: arguments.count, by: 3) { arguments[index] = Array("{u}\(index)".utf8) }
        arguments[arguments.count - 1] = damaged
        #expect(try client.command(arguments) == .error("ERR dump payload version or checksum are wrong"))
        #expect(try client.command("DBSIZE") == .integer(Int64(count + 1)))
        #expect(try client.command("SET", "{u}1", "free") == .ok)
        try target.killAndRestart()
        #expect(try target.command("DBSIZE") == .integer(Int64(count + 2)))
        try target.stop()
    }
}

extension StubConnection {
    /// Answers everything but SLOTSRESTORE, of which it has read nothing but the name when this returns; who asks for
    /// pieces gets an error.
    fileprivate func answerUntilRestore() {
        while let request = readRequest(namedUntil: "SLOTSRESTORE") {
            send(request == "SLOTSRESTORE-PART" ? "-ERR unknown command\r\n" : "+OK\r\n")
        }
    }
}
