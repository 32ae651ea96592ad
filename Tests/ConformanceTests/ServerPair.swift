// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

/// Our server and the oracle, which get the same commands.
final class ServerPair {
    let ours: TestServer
    let oracle: TestServer
    private let ourClient: TestClient
    private let oracleClient: TestClient
    /// The words of the commands that were queued since MULTI, nil outside of a transaction.
    private var queued: [[String]]?

    /// A command whose replies differ.
    struct Complaint {
        /// Its place in the batch.
        let index: Int
        let text: String
    }

    init() throws {
        ours = try TestServer()
        oracle = try RedisPeer.start()
        ourClient = try ours.connect()
        oracleClient = try oracle.connect()
    }

    /// Sends the commands to both, pipelined, and returns where the replies are not what they must be.
    func compare(_ commands: [[[UInt8]]]) throws -> [Complaint] {
        for client in [ourClient, oracleClient] {
            for command in commands { client.enqueue(command) }
            try client.flush()
        }
        var complaints: [Complaint] = []
        var scans: [(index: Int, words: [[UInt8]])] = []
        for (index, command) in commands.enumerated() {
            let words = command.map { String(decoding: $0, as: UTF8.self).lowercased() }
            let reply = try oracleClient.receive()
            let expected = reply == .status("QUEUED") ? reply : KnownDifference.translate(reply, to: words)
            let found = try ourClient.receive()
            if expected == .status("QUEUED") {
                queued?.append(words)
            } else if words[0] == "multi", expected == .ok {
                queued = []
            } else if words[0] == "exec" || words[0] == "discard" {
                let inner = queued ?? []
                queued = nil
                if let replies = expected.elements, replies.count == inner.count, found.elements?.count == inner.count {
                    let differences = compareInner(inner, found.elements ?? [], replies)
                    complaints += differences.map { Complaint(index: index, text: "EXEC: \($0)") }
                    continue
                }
            }
            let isScan = ["scan", "hscan", "sscan", "zscan"].contains(words[0])
            if isScan && expected.elements != nil && !found.isError {
                scans.append((index, command))
            } else if !agree(found, expected, words) {
                let line = command.map { printable($0, limit: 60) }.joined(separator: " ")
                complaints.append(Complaint(index: index, text: "\(line): \(found) instead of \(expected)"))
            }
        }
        if queued != nil, !scans.isEmpty {
            for client in [ourClient, oracleClient] { #expect(try client.command("DISCARD") == .ok) }
            queued = nil
        }
        // Cursors mean nothing to another server, so a scan is compared by what a whole one finds, after the batch.
        for scan in scans {
            let found = try wholeScan(scan.words, ourClient)
            let expected = try wholeScan(scan.words, oracleClient)
            if found != expected {
                complaints.append(Complaint(index: scan.index, text: "SCAN finds \(found.count) not \(expected.count)"))
            }
        }
        return complaints
    }

    /// How the replies within EXEC's differ.
    private func compareInner(_ commands: [[String]], _ found: [TestReply], _ expected: [TestReply]) -> [String] {
        commands.indices.compactMap { index in
            let wanted = KnownDifference.translate(expected[index], to: commands[index])
            guard !agree(found[index], wanted, commands[index]) else { return nil }
            return "\(commands[index]): \(found[index]) instead of \(wanted)"
        }
    }

    private func agree(_ found: TestReply, _ expected: TestReply, _ words: [String]) -> Bool {
        switch words[0] {
        case "ttl", "pttl":
            guard let mine = found.number, let theirs = expected.number else { return found == expected }
            // Both clocks were read within a moment of each other; -1 and -2 must be exact.
            let tolerance: Int64 = words[0] == "ttl" ? 1 : 1_000
            return mine == theirs || (mine >= 0 && theirs >= 0 && abs(mine - theirs) <= tolerance)
        case "hgetall":
            guard let mine = found.elements, let theirs = expected.elements else { return found == expected }
            return mine.count == theirs.count && Set(pairs(mine)) == Set(pairs(theirs))
        case "hkeys", "hvals", "smembers", "sinter", "sunion", "sdiff", "srandmember":
            guard let mine = found.elements, let theirs = expected.elements else { return found == expected }
            // Integers come in ascending order, the rest in no order.
            return mine == theirs || mine.map(\.description).sorted() == theirs.map(\.description).sorted()
        case "keys":
            guard let mine = found.elements, let theirs = expected.elements else { return found == expected }
            return mine.count == theirs.count && Set(mine) == Set(theirs)
        case "randomkey":
            return (found == .nullBulk) == (expected == .nullBulk) && found.isError == expected.isError
        default: return found == expected
        }
    }

    private func pairs(_ replies: [TestReply]) -> [TestReply] {
        stride(from: 0, to: replies.count - 1, by: 2).map { .array([replies[$0], replies[$0 + 1]]) }
    }

    private func wholeScan(_ words: [[UInt8]], _ client: TestClient) throws -> Set<TestReply> {
        let name = String(decoding: words[0], as: UTF8.self).lowercased()
        // The cursor of a scan of one key stands behind the key.
        let place = name == "scan" ? 1 : 2
        var found: Set<TestReply> = []
        var cursor = Array("0".utf8)
        for _ in 0..<100_000 {
            let reply = try client.command(words[..<place] + [cursor] + words[(place + 1)...])
            // The key may have come, or changed its type, since the batch: then both must refuse alike.
            guard let parts = reply.elements else { return [reply] }
            try #require(parts.count == 2)
            let elements = try #require(parts[1].elements)
            found.formUnion(["hscan", "zscan"].contains(name) ? pairs(elements) : elements)
            cursor = try #require(parts[0].bytes)
            if cursor == Array("0".utf8) { return found }
        }
        Issue.record("a scan does not come to its end")
        return found
    }

    /// Compares keys, values, expiry and encodings of whole databases.
    func compareData(databases: Range<Int>) throws {
        // The commands before may have ended within a transaction; without one this is an error, which is as well.
        for client in [ourClient, oracleClient] { try client.command("DISCARD") }
        for database in databases {
            for client in [ourClient, oracleClient] { try client.command("SELECT", "\(database)") }
            let keys = try #require(try oracleClient.command("KEYS", "*").elements).compactMap(\.bytes)
            let size = try ourClient.command("DBSIZE")
            #expect(size == .integer(Int64(keys.count)), "database \(database)")
            for key in keys {
                let commands = [["GET"], ["PTTL"], ["OBJECT", "ENCODING"]].map { words in
                    words.map { Array($0.utf8) } + [key]
                }
                for complaint in try compare(commands) { Issue.record("database \(database): \(complaint.text)") }
            }
        }
    }
}
