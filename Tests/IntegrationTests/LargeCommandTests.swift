// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Commands with very many arguments, and values with very many elements")
struct LargeCommandTests {
    /// The debug build, which no CODIS_SERVER names, takes ten times longer for each.
    private static let count = ProcessInfo.processInfo.environment["CODIS_SERVER"] == nil ? 20_000 : 120_000

    /// A server that commits as soon as about a thousand pages were changed.
    private func server() throws -> TestServer {
        try TestServer(configuration: ["checkpoint-dirty-pages 1024", "save \"\""])
    }

    private func words(_ first: [String], _ element: (Int) -> [String]) -> [[UInt8]] {
        (first + (0..<Self.count).flatMap(element)).map { Array($0.utf8) }
    }

    /// What is different for each number, in an order that is not theirs.
    private func shuffled(_ number: Int) -> Int { number &* 7919 % Self.count }

    @Test("each is done as a whole, is there after kill -9, and undone by a command as large")
    func commands() throws {
        let server = try server()
        let client = try server.connect(timeoutSeconds: 240)
        let count = Int64(Self.count)
        #expect(try client.command(words(["SADD", "s"]) { ["member:\(shuffled($0))"] }) == .integer(count))
        #expect(try client.command(words(["HMSET", "h"]) { ["field:\(shuffled($0))", "value:\($0)"] }) == .ok)
        #expect(try client.command(words(["ZADD", "z"]) { ["\($0)", "member:\(shuffled($0))"] }) == .integer(count))
        #expect(try client.command(words(["RPUSH", "l"]) { ["\($0)"] }) == .integer(count))
        #expect(try client.command(words(["LPUSH", "l"]) { ["\(-1 - $0)"] }) == .integer(2 * count))
        #expect(try client.command(words(["MSET"]) { ["key:\(shuffled($0))", "\($0)"] }) == .ok)
        // Again, where nothing is new.
        #expect(try client.command(words(["SADD", "s"]) { ["member:\($0)"] }) == .integer(0))
        #expect(try client.command(words(["ZADD", "z"]) { ["\($0)", "member:\(shuffled($0))"] }) == .integer(0))
        let digest = try client.command("DEBUG", "DIGEST")
        try server.killAndRestart()

        let again = try server.connect(timeoutSeconds: 240)
        #expect(try again.command("DEBUG", "DIGEST") == digest)
        #expect(try again.command("DBSIZE") == .integer(count + 4))
        for number in stride(from: 0, to: Self.count, by: 7001) {
            let member = "member:\(shuffled(number))"
            #expect(try again.command("SISMEMBER", "s", member) == .integer(1))
            #expect(try again.command("HGET", "h", "field:\(shuffled(number))") == .bulk("value:\(number)"))
            #expect(try again.command("ZRANK", "z", member) == .integer(Int64(number)))
            #expect(try again.command("LINDEX", "l", "\(Self.count + number)") == .bulk("\(number)"))
            #expect(try again.command("LINDEX", "l", "\(number)") == .bulk("\(number - Self.count)"))
            #expect(try again.command("GET", "key:\(shuffled(number))") == .bulk("\(number)"))
        }
        #expect(try again.command(words(["SREM", "s", "none"]) { ["member:\($0)"] }) == .integer(count))
        #expect(try again.command(words(["HDEL", "h", "none"]) { ["field:\($0)"] }) == .integer(count))
        #expect(try again.command(words(["ZREM", "z", "none"]) { ["member:\($0)"] }) == .integer(count))
        #expect(try again.command(words(["DEL", "l", "none"]) { ["key:\($0)"] }) == .integer(count + 1))
        #expect(try again.command("DBSIZE") == .integer(0))
        try server.killAndRestart()
        #expect(try server.command("DBSIZE") == .integer(0))
        try server.stop()
    }

    @Test("one that is wrong changes nothing")
    func mistakes() throws {
        let server = try server()
        let client = try server.connect(timeoutSeconds: 240)
        try client.command("SET", "text", "1")
        let wrongType = TestReply.error("WRONGTYPE Operation against a key holding the wrong kind of value")
        for name in ["SADD", "SREM", "HDEL", "ZREM", "LPUSH", "RPUSH"] {
            #expect(try client.command(words([name, "text"]) { ["\($0)"] }) == wrongType, "\(name)")
        }
        #expect(try client.command(words(["HMSET", "text"]) { ["\($0)", "x"] }) == wrongType)
        #expect(try client.command(words(["ZADD", "text"]) { ["\($0)", "x"] }) == wrongType)
        let last = Self.count - 1
        let notAFloat = TestReply.error("ERR value is not a valid float")
        #expect(try client.command(words(["ZADD", "z"]) { [$0 == last ? "x" : "1", "\($0)"] }) == notAFloat)
        #expect(try client.command(words(["ZADD", "z", "1"]) { ["1", "\($0)"] }) == .error("ERR syntax error"))
        let ofHmset = TestReply.error("ERR wrong number of arguments for HMSET")
        #expect(try client.command(words(["HMSET", "h", "f"]) { ["\($0)", "x"] }) == ofHmset)
        let ofMset = TestReply.error("ERR wrong number of arguments for MSET")
        #expect(try client.command(words(["MSET", "k"]) { ["\($0)", "x"] }) == ofMset)
        #expect(try client.command(words(["MSETNX", "text", "x"]) { ["\($0)", "x"] }) == .integer(0))
        #expect(try client.command("KEYS", "*") == .bulks("text"))
        #expect(try client.command(words(["MSETNX"]) { ["k\($0)", "x"] }) == .integer(1))
        #expect(try client.command("DBSIZE") == .integer(Int64(Self.count + 1)))
        try server.stop()
    }

    @Test("within a transaction they are done, or refused with a clear error, and log and data agree")
    func transactions() throws {
        let server = try server()
        let client = try server.connect(timeoutSeconds: 240)
        client.enqueue("MULTI")
        for round in 0..<3 {
            client.enqueue(words(["SADD", "s:\(round)"]) { ["member:\(shuffled($0))"] })
            client.enqueue(words(["ZADD", "z:\(round)"]) { ["\($0)", "member:\(shuffled($0))"] })
            client.enqueue("SUNIONSTORE", "union:\(round)", "s:0", "s:1")
            client.enqueue("ZUNIONSTORE", "zunion:\(round)", "2", "z:0", "s:1")
        }
        client.enqueue("EXEC")
        try client.flush()
        let replies = try #require(try client.receive(14).last?.elements)
        for reply in replies where reply.isError {
            #expect(reply.text?.contains("has changed too much to be written as one") == true, "\(reply)")
        }
        #expect(replies[0] == .integer(Int64(Self.count)))
        let digest = try client.command("DEBUG", "DIGEST")
        try server.killAndRestart()
        #expect(try server.connect(timeoutSeconds: 240).command("DEBUG", "DIGEST") == digest)
        try server.stop()
    }

    @Test("values of more than 100,000 elements keep what they have, whatever ends the server")
    func values() throws {
        var random = SeededGenerator()
        print("large values: CODIS_TEST_SEED=\(random.seed)")
        let server = try server()
        let client = try server.connect(timeoutSeconds: 240)
        try client.command(words(["SADD", "s"]) { ["member:\($0)"] })
        try client.command(words(["HMSET", "h"]) { ["field:\($0)", "\($0)"] })
        try client.command(words(["ZADD", "z"]) { ["\($0)", "member:\($0)"] })
        try client.command(words(["RPUSH", "l"]) { ["\($0)"] })
        var gone: Set<Int> = []
        for isKilled in [true, false] {
            let client = try server.connect(timeoutSeconds: 240)
            for _ in 0..<300 {
                let number = random.number(0...Self.count - 1)
                let isNew = gone.insert(number).inserted
                for words in [["SREM", "s", "member:\(number)"], ["HDEL", "h", "field:\(number)"]] {
                    let reply = try client.command(words.map { Array($0.utf8) })
                    #expect(reply == .integer(isNew ? 1 : 0), "seed \(random.seed)")
                }
                try client.command("ZREM", "z", "member:\(number)")
            }
            let length = Self.count - gone.count
            for words in [["SCARD", "s"], ["HLEN", "h"], ["ZCARD", "z"]] {
                #expect(try client.command(words.map { Array($0.utf8) }) == .integer(Int64(length)))
            }
            // Whatever is scanned once is there, and all that is there is scanned.
            var found: Set<[UInt8]> = []
            var cursor = "0"
            repeat {
                let reply = try #require(try client.command("SSCAN", "s", cursor, "COUNT", "1000").elements)
                found.formUnion(reply[1].elements?.compactMap(\.bytes) ?? [])
                cursor = String(decoding: reply[0].bytes ?? [], as: UTF8.self)
            } while cursor != "0"
            #expect(found.count == length)
            #expect(gone.allSatisfy { !found.contains(Array("member:\($0)".utf8)) })
            let place = random.number(0...length - 1)
            let member = try #require(try client.command("ZRANGE", "z", "\(place)", "\(place)").elements?.first?.bytes)
            #expect(try client.command([Array("ZRANK".utf8), Array("z".utf8), member]) == .integer(Int64(place)))
            #expect(try client.command("LINDEX", "l", "\(place)") == .bulk("\(place)"))
            let digest = try client.command("DEBUG", "DIGEST")
            if isKilled { try server.killAndRestart() } else { try server.restart() }
            let after = try server.connect(timeoutSeconds: 240).command("DEBUG", "DIGEST")
            #expect(after == digest, "seed \(random.seed)")
        }
        let last = try server.connect(timeoutSeconds: 240)
        #expect(try last.command("LTRIM", "l", "1000", "10999") == .ok)
        #expect(try last.command("LLEN", "l") == .integer(10_000))
        #expect(try last.command("LRANGE", "l", "9998", "-1") == .bulks("10998", "10999"))
        #expect(try last.command("DEL", "s", "h", "z", "l") == .integer(4))
        try server.stop()
    }
}
