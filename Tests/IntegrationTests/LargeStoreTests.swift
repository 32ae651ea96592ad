// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Storing what comes of very large values", .serialized)
struct LargeStoreTests {
    /// The debug build, which no CODIS_SERVER names, takes ten times longer for each.
    private static let count = ProcessInfo.processInfo.environment["CODIS_SERVER"] == nil ? 20_000 : 150_000

    static let commands = [
        "SUNIONSTORE d a b", "SINTERSTORE d a b", "SDIFFSTORE d a b", "ZUNIONSTORE d 2 a z WEIGHTS 2 3",
        "ZINTERSTORE d 2 z a AGGREGATE MAX",
    ]

    /// Sets and a sorted set, each of which shares half of its members with the next, and what was in the destination.
    private func server() throws -> TestServer {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect(timeoutSeconds: 240)
        for (key, shift) in [("a", 0), ("b", Self.count / 2), ("z", Self.count)] {
            for start in stride(from: shift, to: shift + Self.count, by: 1000) {
                let numbers = start..<start + 1000
                let members = key == "z" ? numbers.flatMap { ["\($0)", "m\($0 / 2)"] } : numbers.map { "m\($0)" }
                client.enqueue(([key == "z" ? "ZADD" : "SADD", key] + members).map { Array($0.utf8) })
            }
        }
        client.enqueue("SET", "d", "old")
        try client.flush()
        #expect(try client.receive(3 * Self.count / 1000 + 1).allSatisfy { !$0.isError })
        return server
    }

    /// Sends the command, and what another client asks at the same time, until that is answered while the command goes
    /// on; gives the client of the command, and those answers.
    ///
    /// It may be over before the other client is heard; then all is done again.
    private func begin(
        _ command: String,
        _ server: TestServer,
        _ other: TestClient,
        asking questions: [[String]] = [],
        preparing prepare: () throws -> Void = {}
    ) throws -> (client: TestClient, answers: [TestReply]) {
        let isUnderWay = { (list: TestReply) in
            let name = command.prefix { $0 != " " }.lowercased()
            let lines = list.text?.split(separator: "\n") ?? []
            return lines.contains { $0.contains(" flags=u ") && $0.hasSuffix("cmd=\(name)") }
        }
        for _ in 0..<50 {
            try other.command("SET", "d", "old")
            try prepare()
            let client = try server.connect(timeoutSeconds: 240)
            client.enqueue(command.split(separator: " ").map { Array($0.utf8) })
            try client.flush()
            while !client.hasInput(withinMilliseconds: 0) {
                for words in [["CLIENT", "LIST"]] + questions + [["CLIENT", "LIST"]] {
                    other.enqueue(words.map { Array($0.utf8) })
                }
                try other.flush()
                let answers = try other.receive(questions.count + 2)
                if isUnderWay(answers[0]), isUnderWay(answers[questions.count + 1]) {
                    return (client, Array(answers.dropFirst().dropLast()))
                }
            }
            #expect(try !client.receive().isError)
        }
        throw NobodyServed()
    }

    /// The command was never seen in its middle.
    private struct NobodyServed: Error {}

    @Test("others are served meanwhile, and readers of the keys see what was there before", arguments: commands)
    func meanwhile(command: String) throws {
        let server = try server()
        let other = try server.connect(timeoutSeconds: 240)
        let questions = [["GET", "d"], ["SCARD", "a"], ["DBSIZE"]]
        let (client, answers) = try begin(command, server, other, asking: questions)
        #expect(answers == [.bulk("old"), .integer(Int64(Self.count)), .integer(4)])
        // It waits if it comes before the end.
        #expect(try other.command("SADD", "a", "new") == .integer(1))
        let count = try client.receive()
        // The same again in one step.
        #expect(try other.command("SREM", "a", "new") == .integer(1))
        #expect(try other.command("MULTI") == .ok)
        var words = command.split(separator: " ").map { Array($0.utf8) }
        words[1] = Array("e".utf8)
        try other.command(words)
        #expect(try other.command("EXEC") == .array([count]))
        let isSorted = command.hasPrefix("Z")
        #expect(try other.command(isSorted ? "ZCARD" : "SCARD", "d") == count)
        let digest = try other.command("DEBUG", "DIGEST")
        try server.killAndRestart()
        let again = try server.connect(timeoutSeconds: 240)
        #expect(try again.command("DEBUG", "DIGEST") == digest)
        if isSorted {
            let difference = ["ZUNIONSTORE", "x", "2", "d", "e", "WEIGHTS", "1", "-1"].map { Array($0.utf8) }
            #expect(try again.command(difference) == count)
            #expect(try again.command("ZCOUNT", "x", "0", "0") == count)
        } else {
            #expect(try again.command("SDIFFSTORE", "x", "d", "e") == .integer(0))
            #expect(try again.command("SDIFFSTORE", "x", "e", "d") == .integer(0))
        }
        try server.stop()
    }

    @Test("when one of the keys expires, or a script changes it all the same, the log leads to the same")
    func changes() throws {
        let server = try server()
        let other = try server.connect(timeoutSeconds: 240)
        for round in 0..<3 {
            let script = "return redis.call('SADD', 'a', 'new\(round)')"
            let (client, _) = try begin("SUNIONSTORE d a b", server, other, asking: [["EVAL", script, "0"]]) {
                try other.command("SREM", "a", "new\(round)")
                try other.command("SADD", "b", "some")
                try other.command("PEXPIRE", "b", "\(20 + 40 * round)")
            }
            #expect(try !client.receive().isError)
            #expect(try other.command("SISMEMBER", "d", "new\(round)") == .integer(1))
            #expect(waitUntil { (try? other.command("EXISTS", "b")) == .integer(0) })
            // What is there goes on into other values, so that a difference stays.
            try other.command("SUNIONSTORE", "b", "d")
        }
        let digest = try other.command("DEBUG", "DIGEST")
        try server.killAndRestart()
        #expect(try server.connect(timeoutSeconds: 240).command("DEBUG", "DIGEST") == digest)
        try server.stop()
    }

    @Test("a server that ends in the middle, or becomes a replica, leaves the destination as it was")
    func interrupted() throws {
        let server = try server()
        let digest = try server.command("DEBUG", "DIGEST")
        var isOld = false
        for _ in 0..<20 where !isOld {
            _ = try begin("SUNIONSTORE d a b", server, try server.connect(timeoutSeconds: 240))
            try server.killAndRestart()
            isOld = try server.command("TYPE", "d") == .status("string")
        }
        #expect(isOld)
        #expect(try server.command("DEBUG", "DIGEST") == digest)
        let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"
        var reply = TestReply.ok
        for _ in 0..<20 where !reply.isError {
            let other = try server.connect(timeoutSeconds: 240)
            let client = try begin("SUNIONSTORE d a b", server, other).client
            // Nobody listens there, so the data stay.
            try other.command("SLAVEOF", "127.0.0.1", "\(freePort())")
            reply = try client.receive()
            try other.command("SLAVEOF", "NO", "ONE")
        }
        #expect(reply == .error(text))
        #expect(try server.command("DEBUG", "DIGEST") == digest)
        try server.stop()
    }
}
