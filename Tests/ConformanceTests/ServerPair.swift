// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

/// Our server and the oracle, which get the same commands.
final class ServerPair {
    let ours: TestServer
    let oracle: TestServer
    private var ourClient: TestClient
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

    /// Has our server end, well or by `kill -9`, and come back; both clients are as they began.
    func restartOurs(isKilled: Bool) throws {
        for client in [ourClient, oracleClient] {
            // Without a transaction that is an error, which is as well.
            try client.command("DISCARD")
            try client.command("UNWATCH")
            try client.command("SELECT", "0")
        }
        queued = nil
        if isKilled { try ours.killAndRestart() } else { try ours.restart() }
        ourClient = try ours.connect()
    }

    /// Compares the elements of every key of a database, and lets each server restore what the other dumps.
    func compareElements(database: Int) throws {
        for client in [ourClient, oracleClient] { #expect(try client.command("SELECT", "\(database)") == .ok) }
        let keys = try #require(try oracleClient.command("KEYS", "*").elements).compactMap(\.bytes)
        #expect(try ourClient.command("DBSIZE") == .integer(Int64(keys.count)), "database \(database)")
        for key in keys {
            let type = try oracleClient.command([Array("TYPE".utf8), key]).text ?? ""
            guard let read = Self.reading[type] else {
                Issue.record("a key of type \(type)")
                continue
            }
            func request(_ key: [UInt8]) -> [[UInt8]] {
                [Array(read[0].utf8), key] + read.dropFirst().map { Array($0.utf8) }
            }
            for complaint in try compare([request(key)]) { Issue.record("database \(database): \(complaint.text)") }
            let copy = Array("a copy from the other server".utf8)
            let before = try oracleClient.command(request(key))
            for (source, target) in [(ourClient, oracleClient), (oracleClient, ourClient)] {
                let dump = try #require(try source.command([Array("DUMP".utf8), key]).bytes)
                let words = [Array("RESTORE".utf8), copy, Array("0".utf8), dump]
                #expect(try target.command(words) == .ok, "\(type) '\(printable(key))': \(printable(dump))")
                let after = try target.command(request(copy))
                #expect(agree(after, before, [read[0].lowercased()]), "\(type) '\(printable(key))'")
                #expect(try target.command([Array("DEL".utf8), copy]) == .integer(1))
            }
        }
    }

    /// What reads all of a value, by its type; the key comes behind the first word.
    private static let reading = [
        "string": ["GET"], "list": ["LRANGE", "0", "-1"], "hash": ["HGETALL"], "set": ["SMEMBERS"],
        "zset": ["ZRANGE", "0", "-1", "WITHSCORES"],
    ]

    /// Compares keys, values, expiry and encodings of whole databases; of texts the encoding only if it `isKept`.
    func compareData(databases: Range<Int>, isKept: Bool = true) throws {
        // The commands before may have ended within a transaction; without one this is an error, which is as well.
        for client in [ourClient, oracleClient] { try client.command("DISCARD") }
        for database in databases {
            for client in [ourClient, oracleClient] { try client.command("SELECT", "\(database)") }
            let keys = try #require(try oracleClient.command("KEYS", "*").elements).compactMap(\.bytes)
            let size = try ourClient.command("DBSIZE")
            #expect(size == .integer(Int64(keys.count)), "database \(database)")
            for key in keys {
                // Lists have one encoding of another name since 3.2.
                let type = try oracleClient.command([Array("TYPE".utf8), key]).text
                let isCompared = type != "list" && (type != "string" || isKept)
                let commands = [["GET"], ["PTTL"], ["OBJECT", "ENCODING"]].prefix(isCompared ? 3 : 2).map { words in
                    words.map { Array($0.utf8) } + [key]
                }
                for complaint in try compare(commands) { Issue.record("database \(database): \(complaint.text)") }
            }
        }
    }
}
