// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Synchronization
import Testing

@Suite("SLOTSMGRT... again and again")
struct SlotLoopTests {
    /// How many calls in a row are a loop.
    static let callsOfLoop = 16

    /// Words of slot 579.
    static let words: [String] = {
        func slot(_ word: String) -> UInt32 {
            var checksum = UInt32.max
            for byte in word.utf8 {
                checksum ^= UInt32(byte)
                for _ in 0..<8 { checksum = checksum & 1 == 1 ? (checksum >> 1) ^ 0xEDB8_8320 : checksum >> 1 }
            }
            return ~checksum & 1023
        }
        var found: [String] = []
        var number = 0
        while found.count < 301 {
            number += 1
            if slot("w\(number)") == 579 { found.append("w\(number)") }
        }
        return found
    }()

    @Test(
        "a loop moves every key once: the replies count each, and tell how many are left",
        arguments: ["SLOTSMGRTSLOT", "SLOTSMGRTTAGSLOT"],
        [false, true]
    )
    func sums(name: String, isPipelined: Bool) throws {
        let pair = try SlotPair()
        let from = try pair.source.connect(timeoutSeconds: 60)
        // Single keys, tags of a few keys and of many, and a value that is too large to move with others.
        let words = Self.words
        var total = 0
        for (index, word) in words.enumerated() {
            let group: [[String]] = [[word], ["{\(word)}1", "{\(word)}2"], [word, "{\(word)}1"]]
            let keys = group[index % 3]
            let value = index == 7 ? String(repeating: "x", count: 200_000) : "value of \(word)"
            for key in keys { from.enqueue("SET", key, value) }
            total += keys.count
        }
        for number in 0..<40 { from.enqueue("HSET", "{\(words[1])}hash\(number)", "field", "value") }
        total += 40
        try from.flush()
        _ = try from.receive(total)
        let digest = try SlotPair.digest(pair.source)
        let call = [name, "127.0.0.1", pair.port, "30000", "579"]
        var replies: [TestReply] = []
        if isPipelined {
            for _ in 0..<total { from.enqueue(call.map { Array($0.utf8) }) }
            try from.flush()
            replies = try from.receive(total)
        } else {
            repeat { replies.append(try from.command(call.map { Array($0.utf8) })) } while replies.last?.left ?? 0 > 0
        }
        var sum: Int64 = 0
        for (index, reply) in replies.enumerated() {
            let moved = try #require(reply.moved)
            sum += moved
            #expect(sum + (try #require(reply.left)) == total, "\(index): \(reply)")
            #expect(moved > 0 || sum == total)
            guard index < Self.callsOfLoop else { continue }
            #expect(moved == 1 || name == "SLOTSMGRTTAGSLOT" && [2, 42].contains(moved))
        }
        #expect(sum == total)
        // Pipelined calls are certain to follow each other closely.
        if isPipelined { #expect(replies.contains { $0.moved == 16 }) }
        #expect(try from.command("DBSIZE") == .integer(0))
        #expect(try SlotPair.digest(pair.target) == digest)
        try pair.source.killAndRestart()
        try pair.target.killAndRestart()
        #expect(try pair.source.command("DBSIZE") == .integer(0))
        #expect(try SlotPair.digest(pair.target) == digest)
        try pair.stop()
    }

    @Test("who does something else between two calls gets one key a call")
    func interrupted() throws {
        let pair = try SlotPair()
        let from = try pair.source.connect()
        for word in Self.words.prefix(100) { try from.command("SET", word, "v") }
        let call = ["SLOTSMGRTSLOT", "127.0.0.1", pair.port, "30000", "579"].map { Array($0.utf8) }
        for _ in 0..<50 {
            from.enqueue(call)
            from.enqueue("PING")
        }
        try from.flush()
        for left in (50..<100).reversed() {
            #expect(try from.receive(2) == [.integers(1, Int64(left)), .status("PONG")])
        }
        try pair.stop()
    }

    @Test("values that are not small move one by one")
    func large() throws {
        let target = try LoopTarget()
        let from = try target.source.connect()
        for word in Self.words.prefix(60) {
            try from.command("SET", word, String(repeating: "x", count: 40_000))
        }
        for _ in 0..<60 { from.enqueue(target.call) }
        try from.flush()
        for left in (0..<60).reversed() { #expect(try from.receive() == .integers(1, Int64(left))) }
        #expect(target.batches.isEmpty)
        try target.stop()
    }

    @Test("keys that move ahead of a call are behind the fence, and the call tells them when it comes")
    func ahead() throws {
        let target = try LoopTarget(keys: 300)
        let (mover, left) = try target.startAhead()
        let batch = try #require(target.batches.last)
        #expect(batch.count == 16)
        let other = try target.source.connect()
        // Of other clients, those wait who name a key on its way.
        let reader = try target.source.connect()
        reader.enqueue("MGET", batch[0], batch[15])
        try reader.flush()
        let single = try target.source.connect()
        single.enqueue("SLOTSMGRTONE", "127.0.0.1", "\(target.port)", "60000", batch[3])
        try single.flush()
        let isLeft = { key in !batch.contains(key) && (try? other.command("EXISTS", key)) == .integer(1) }
        let rest = try #require(target.keys.first(where: isLeft))
        #expect(try other.command("SLOTSMGRTONE", "127.0.0.1", "\(target.port)", "60000", rest) == .integer(1))
        #expect(try other.command(target.call) == .integers(1, left - 2))
        // A new key counts, and what is on its way is still here.
        #expect(try other.command("SET", target.spare, "new") == .ok)
        #expect(try other.command("DBSIZE") == .integer(left - 1))
        mover.enqueue(target.call)
        mover.enqueue("DBSIZE")
        try mover.flush()
        target.gate.open()
        #expect(try mover.receive(2) == [.integers(16, left - 17), .integer(left - 17)])
        #expect(try reader.receive() == .array([.nullBulk, .nullBulk]))
        #expect(try single.receive() == .integer(0))
        try target.stop()
    }

    @Test("a client that goes away leaves at most one such request")
    func clientGone() throws {
        let target = try LoopTarget(keys: 300)
        let (mover, left) = try target.startAhead()
        mover.close()
        #expect(waitUntil { !target.clients.contains { $0.contains(" cmd=slotsmgrt") } })
        target.gate.open()
        #expect(waitUntil { (try? target.source.command("DBSIZE")) == .integer(left - 16) })
        #expect(waitUntil { (try? target.source.info("slots_fenced_tags_and_keys")) == "0" })
        #expect(target.batches.count == 1)
        #expect(try target.source.command("DBSIZE") == .integer(left - 16))
        try target.stop()
    }

    @Test("what has moved is told however late the next call comes, and another slot has its own count")
    func late() throws {
        let target = try LoopTarget(keys: 300)
        let (mover, left) = try target.startAhead()
        target.gate.open()
        #expect(waitUntil { (try? target.source.command("DBSIZE")) == .integer(left - 16) })
        #expect(try mover.command("PING") == .status("PONG"))
        #expect(try mover.command(target.call) == .integers(16, left - 16))
        #expect(try mover.command("SLOTSMGRTSLOT", "127.0.0.1", "\(target.port)", "1000", "1") == .integers(0, 0))
        #expect(try mover.command(target.call) == .integers(1, left - 17))
        try target.stop()
    }

    @Test("FLUSHALL and SLOTSDEL wait for what moves ahead of a call", arguments: ["FLUSHALL", "SLOTSDEL 579"])
    func flush(line: String) throws {
        let target = try LoopTarget(keys: 300)
        let (mover, _) = try target.startAhead()
        let other = try target.source.connect()
        other.enqueue(line.split(separator: " ").map { Array($0.utf8) })
        try other.flush()
        #expect(waitUntil { target.clients.contains { !$0.contains(" qbuf=0 ") } })
        mover.enqueue(target.call)
        mover.enqueue(target.call)
        try mover.flush()
        target.gate.open()
        #expect(try !other.receive().isError)
        let replies = try mover.receive(2)
        #expect(replies[0].moved == 16 && replies[1] == .integers(0, 0), "\(replies)")
        #expect(try other.command("DBSIZE") == .integer(0))
        try target.stop()
    }

    @Test("if the target fails the keys stay: who waits is told, and who calls later has them sent anew")
    func fails() throws {
        for answer in ["-ERR no\r\n", ""] {
            for waits in [true, false] {
                let target = try LoopTarget(keys: 300, answer: answer)
                let (mover, left) = try target.startAhead()
                if waits {
                    mover.enqueue(target.call)
                    try mover.flush()
                    #expect(waitUntil { target.hasWaitingCall })
                }
                target.gate.open()
                if waits {
                    let text = try mover.receive().text ?? ""
                    #expect(text.hasPrefix(answer.isEmpty ? "IOERR error or timeout" : "ERR error on slotsrestore"))
                }
                #expect(waitUntil { (try? target.source.info("slots_fenced_tags_and_keys")) == "0" })
                #expect(try target.source.command("DBSIZE") == .integer(left))
                #expect(try mover.command(target.call) == .integers(1, left - 1))
                try target.stop()
            }
        }
    }

    @Test(
        "a server that becomes a replica stops what moves ahead, and disconnects only who waits",
        arguments: [true, false]
    )
    func becomesReplica(waits: Bool) throws {
        let target = try LoopTarget(keys: 300)
        let (mover, left) = try target.startAhead()
        if waits {
            mover.enqueue(target.call)
            try mover.flush()
            #expect(waitUntil { target.hasWaitingCall })
        }
        #expect(try target.source.command("SLAVEOF", "127.0.0.1", "\(freePort())") == .ok)
        target.gate.open()
        if waits {
            #expect(try mover.receive().text?.hasPrefix("UNBLOCKED") == true)
            #expect(throws: TestClientError.self) { try mover.receive() }
        } else {
            #expect(try mover.command("PING") == .status("PONG"))
        }
        #expect(try target.source.info("slots_fenced_tags_and_keys") == "0")
        #expect(try target.source.command("SLAVEOF", "NO", "ONE") == .ok)
        #expect(try target.source.command("DBSIZE") == .integer(left))
        try target.stop()
    }
}

/// A source, and a target that holds back each request for several keys until it is told.
private struct LoopTarget {
    let source: TestServer
    let gate = Gate()
    let keys: [String]
    /// A key of the same slot that is not there.
    let spare: String
    private let stub: StubServer
    private let received = Received()

    private final class Received: Sendable {
        let batches = Mutex<[[String]]>([])
    }

    /// The keys of each request for several.
    var batches: [[String]] { received.batches.withLock { $0 } }
    var port: Int { stub.port }
    var call: [[UInt8]] { ["SLOTSMGRTTAGSLOT", "127.0.0.1", "\(port)", "60000", "579"].map { Array($0.utf8) } }

    /// A line of CLIENT LIST for each client.
    var clients: [Substring] { ((try? source.command("CLIENT", "LIST").text) ?? "").split(separator: "\n") }
    /// Whether a call has come that was not answered: one that has moved something counts as DEL.
    var hasWaitingCall: Bool { (try? source.info("cmdstat_slotsmgrttagslot"))??.hasPrefix("calls=1,") ?? false }

    /// `answer` is given to requests for several keys; an empty one closes the connection.
    init(keys count: Int = 0, answer: String = "+OK\r\n") throws {
        source = try TestServer()
        let (gate, received) = (gate, received)
        stub = try StubServer { connection in
            while let request = connection.readRequest() {
                guard request[0] == Array("SLOTSRESTORE".utf8), request.count > 4 else {
                    connection.send("+OK\r\n")
                    continue
                }
                let places = stride(from: 1, to: request.count, by: 3)
                let names = places.map { String(decoding: request[$0], as: UTF8.self) }
                received.batches.withLock { $0.append(names) }
                gate.pass()
                if answer.isEmpty { return }
                connection.send(answer)
            }
        }
        let client = try source.connect()
        keys = Array(SlotLoopTests.words.prefix(count))
        spare = SlotLoopTests.words[count]
        for key in keys { client.enqueue("SET", key, "v") }
        try client.flush()
        _ = try client.receive(count)
        client.close()
    }

    /// A client that has called often enough, while the target holds back what moves ahead of its next call; and how
    /// many keys were left after the last reply.
    func startAhead() throws -> (mover: TestClient, left: Int64) {
        for _ in 0..<20 {
            let mover = try source.connect(timeoutSeconds: 60)
            for _ in 0..<SlotLoopTests.callsOfLoop { mover.enqueue(call) }
            try mover.flush()
            let replies = try mover.receive(SlotLoopTests.callsOfLoop)
            #expect(replies.allSatisfy { $0.moved == 1 })
            // If the machine has paused the server between two of the calls they were no loop.
            if try source.info("slots_fenced_tags_and_keys") == "16" {
                #expect(waitUntil { gate.arrivedCount == 1 })
                return (mover, replies.last?.left ?? 0)
            }
            mover.close()
        }
        Issue.record("the server does not go ahead")
        return (try source.connect(), 0)
    }

    func stop() throws {
        gate.open()
        stub.end()
        try source.stop()
    }
}

extension TestReply {
    fileprivate var moved: Int64? { elements?.first?.number }
    fileprivate var left: Int64? { elements?.last?.number }
}
