// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
internal import Foundation
internal import RDB
internal import Testing

/// Files and payloads exchanged with Debian's redis-server 7.0.
@Suite("With redis-server", .enabled(if: RedisPeer.isInstalled), .serialized)
struct RedisServerTests {
    /// Conf lines that make the server choose each of its encodings.
    static let configurations: [[String]] = [
        [],
        [
            "hash-max-listpack-entries 0", "zset-max-listpack-entries 0", "set-max-intset-entries 0",
            "list-max-listpack-size 1", "rdbcompression no",
        ],
        ["list-max-listpack-size -1", "list-compress-depth 1", "hash-max-listpack-value 4", "rdbchecksum no"],
        [
            "hash-max-listpack-entries 100000", "hash-max-listpack-value 100000", "zset-max-listpack-entries 100000",
            "zset-max-listpack-value 100000", "set-max-intset-entries 100000", "list-max-listpack-size 10000",
            "maxmemory 1gb", "maxmemory-policy allkeys-lfu",
        ],
        ["maxmemory 1gb", "maxmemory-policy allkeys-lru"],
    ]

    @Test("every encoding in a file of redis-server is read", arguments: configurations)
    func readsFile(configuration: [String]) throws {
        var generator = SeededGenerator()
        let server = try RedisPeer.start(configuration: configuration + ["enable-debug-command yes"])
        let client = try TestClient(port: server.port)
        // Elements from here on are nodes of their own, which only 1 GB makes them else.
        _ = try client.command("DEBUG", "quicklist-packed-threshold", "600b")
        let entries = Self.randomEntries(&generator)
        try Self.store(entries, in: client)
        #expect(try client.command("SAVE") == .ok)
        let file = try Data(contentsOf: URL(fileURLWithPath: server.directory + "/dump.rdb"))
        let read = try content(of: Array(file))
        #expect(Self.comparable(read.entries) == Self.comparable(entries), "seed \(generator.seed)")
        #expect(read.auxiliary["redis-ver"]?.hasPrefix("7.") == true)
        #expect(read.bytesRead == UInt64(file.count))
        #expect(read.sizes.map { $0[1] }.reduce(0, +) == UInt64(entries.count))
        try server.stop()
    }

    @Test("every value that redis-server dumps is read", arguments: configurations)
    func readsDumps(configuration: [String]) throws {
        var generator = SeededGenerator()
        let server = try RedisPeer.start(configuration: configuration)
        let client = try TestClient(port: server.port)
        let entries = Self.randomEntries(&generator)
        try Self.store(entries, in: client)
        for entry in entries {
            _ = try client.command("SELECT", "\(entry.database)")
            let payload = try #require(try client.command([text("DUMP"), entry.name]).bytes)
            var copy = entry
            copy.items = try decode(payload).items
            #expect(Self.comparable([copy]) == Self.comparable([entry]), "seed \(generator.seed)")
        }
        try server.stop()
    }

    @Test("redis-server loads a file of ours and has the same data", arguments: [true, false])
    func writesFile(compresses: Bool) throws {
        var generator = SeededGenerator()
        let entries = Self.randomEntries(&generator).sorted { $0.database < $1.database }
        var options = RDBWriter.Options()
        options.compresses = compresses
        options.computesChecksum = compresses
        let bytes = try file(entries.map { ($0, Self.form(of: $0, &generator)) }, options: options)
        let directory = try TemporaryDirectory()
        try Data(bytes).write(to: URL(fileURLWithPath: directory.path + "/dump.rdb"))
        let server = try TestServer(configuration: ["save \"\""], directory: directory.path, program: .redis)
        let client = try TestClient(port: server.port)
        try Self.compare(entries, with: client)
        // And what it then writes is again what we read.
        #expect(try client.command("SAVE") == .ok)
        let file = try Data(contentsOf: URL(fileURLWithPath: directory.path + "/dump.rdb"))
        #expect(Self.comparable(try content(of: Array(file)).entries) == Self.comparable(entries))
        try server.stop()
    }

    @Test("redis-server restores payloads of ours and has the same data")
    func writesDumps() throws {
        var generator = SeededGenerator()
        let server = try RedisPeer.start()
        let client = try TestClient(port: server.port)
        let entries = Self.randomEntries(&generator)
        for entry in entries {
            _ = try client.command("SELECT", "\(entry.database)")
            let payload = try encode(entry.items, Self.form(of: entry, &generator))
            let expiry = text("\(entry.expireAtMilliseconds ?? 0)")
            let reply = try client.command([text("RESTORE"), entry.name, expiry, payload, text("ABSTTL")])
            #expect(reply == .ok, "\(entry), seed \(generator.seed)")
        }
        try Self.compare(entries, with: client)
        try server.stop()
    }

    @Test("streams and functions in a file of redis-server are skipped by name")
    func skipsStreams() throws {
        let server = try RedisPeer.start()
        let client = try TestClient(port: server.port)
        for number in 0..<500 { _ = try client.command("XADD", "stream", "*", "field", "\(number)") }
        _ = try client.command("XGROUP", "CREATE", "stream", "group", "0")
        _ = try client.command("XREADGROUP", "GROUP", "group", "me", "COUNT", "5", "STREAMS", "stream", ">")
        _ = try client.command("XGROUP", "CREATECONSUMER", "stream", "group", "idle")
        _ = try client.command("XDEL", "stream", "0-1")
        _ = try client.command("SET", "key", "value")
        let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
        #expect(try client.command("FUNCTION", "LOAD", library).text == "lib")
        #expect(try client.command("SAVE") == .ok)
        let file = Array(try Data(contentsOf: URL(fileURLWithPath: server.directory + "/dump.rdb")))
        var options = RDBReader.Options()
        options.skipsUnsupported = true
        let read = try content(of: file, options: options)
        #expect(read.entries == [Entry(name: text("key"), kind: .string, items: strings("value"))])
        #expect(
            Set(read.skipped) == [
                "stream: a stream, which Redis 2.8 does not have",
                "-: a library of functions, which Redis 2.8 does not have",
            ]
        )
        #expect(throws: RDBError.self) { try content(of: file) }
        try server.stop()
    }

    // MARK: Data

    /// Keys of all types and sizes, about half with a time to live that is far away.
    private static func randomEntries(_ generator: inout SeededGenerator) -> [Entry] {
        let sizes = [1, 2, 5, 20, 127, 128, 129, 200, 513, 1500]
        return (0..<60).map { number in
            let kind = generator.pick(RDBKind.allCases)
            let size = generator.pick(sizes)
            let allIntegers = generator.oneIn(2)
            var seen: Set<[UInt8]> = []
            var items: [Item] = []
            while items.count < (kind == .string ? 1 : size) {
                let value = allIntegers ? integer(&generator) : bytes(&generator)
                guard kind == .list || kind == .string || seen.insert(value).inserted else { continue }
                switch kind {
                case .string: items.append(.string(value))
                case .list: items.append(.element(value))
                case .set: items.append(.member(value))
                case .hash: items.append(.field(value, bytes(&generator)))
                case .sortedSet: items.append(.scored(value, score(&generator)))
                }
            }
            return Entry(
                database: generator.pick([0, 0, 1, 15]),
                name: generator.oneIn(3) ? text("\(number)") : text("key:\(number):\(kind)"),
                kind: kind,
                items: items,
                expireAtMilliseconds: generator.oneIn(2) ? 4_000_000_000_000 + Int64(number) : nil
            )
        }
    }

    private static func integer(_ generator: inout SeededGenerator) -> [UInt8] {
        let bits = generator.number(1...62)
        return text("\(Int64.random(in: -(1 << Int64(bits))...(1 << Int64(bits)), using: &generator))")
    }

    private static func bytes(_ generator: inout SeededGenerator) -> [UInt8] {
        if generator.oneIn(3) { return integer(&generator) }
        let length = generator.oneIn(20) ? generator.number(0...2000) : generator.number(0...70)
        if generator.oneIn(2) { return filledBytes(UInt8(generator.number(97...99)), count: length) }
        return (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    private static func score(_ generator: inout SeededGenerator) -> Double {
        switch generator.number(0...5) {
        case 0: Double(generator.number(-100...100))
        case 1: Double(generator.number(-1_000_000_000_000...1_000_000_000_000))
        case 2: .infinity
        case 3: Double.random(in: -1e300...1e300, using: &generator)
        default: Double.random(in: -1...1, using: &generator)
        }
    }

    /// A form that the value can have.
    private static func form(of entry: Entry, _ generator: inout SeededGenerator) -> RDBValueShape.Form {
        guard generator.oneIn(2) else { return .plain }
        guard entry.kind == .set else { return entry.kind == .string ? .plain : .compact }
        let areIntegers = entry.items.allSatisfy { item in
            guard case .member(let member) = item else { return false }
            let text = String(decoding: member, as: UTF8.self)
            return Int64(text).map { "\($0)" == text } ?? false
        }
        return areIntegers ? .compact : .plain
    }

    private static func store(_ entries: [Entry], in client: TestClient) throws {
        for entry in entries {
            client.enqueue("SELECT", "\(entry.database)")
            for item in entry.items {
                switch item {
                case .string(let bytes): client.enqueue([text("SET"), entry.name, bytes])
                case .element(let bytes): client.enqueue([text("RPUSH"), entry.name, bytes])
                case .member(let bytes): client.enqueue([text("SADD"), entry.name, bytes])
                case .field(let field, let value): client.enqueue([text("HSET"), entry.name, field, value])
                case .scored(let member, let score):
                    client.enqueue([text("ZADD"), entry.name, text("\(score)"), member])
                }
            }
            let expires = entry.expireAtMilliseconds != nil
            if let time = entry.expireAtMilliseconds {
                client.enqueue([text("PEXPIREAT"), entry.name, text("\(time)")])
            }
            try client.flush()
            let replies = try client.receive(1 + entry.items.count + (expires ? 1 : 0))
            #expect(!replies.contains { $0.isError })
        }
    }

    /// Asks for every key and compares what comes.
    private static func compare(_ entries: [Entry], with client: TestClient) throws {
        for entry in entries {
            _ = try client.command("SELECT", "\(entry.database)")
            let time = try client.command([text("PEXPIRETIME"), entry.name]).number
            #expect(time == entry.expireAtMilliseconds ?? -1)
            let request: [[UInt8]] =
                switch entry.kind {
                case .string: [text("GET"), entry.name]
                case .list: [text("LRANGE"), entry.name, text("0"), text("-1")]
                case .set: [text("SMEMBERS"), entry.name]
                case .hash: [text("HGETALL"), entry.name]
                case .sortedSet: [text("ZRANGE"), entry.name, text("0"), text("-1"), text("WITHSCORES")]
                }
            let reply = try client.command(request)
            let values = reply.elements?.compactMap(\.bytes) ?? []
            var copy = entry
            copy.items =
                switch entry.kind {
                case .string: reply.bytes.map { [.string($0)] } ?? []
                case .list: values.map { .element($0) }
                case .set: values.map { .member($0) }
                case .hash:
                    stride(from: 0, to: values.count - 1, by: 2).map { .field(values[$0], values[$0 + 1]) }
                case .sortedSet:
                    stride(from: 0, to: values.count - 1, by: 2).map {
                        .scored(values[$0], Double(String(decoding: values[$0 + 1], as: UTF8.self)) ?? .nan)
                    }
                }
            #expect(comparable([copy]) == comparable([entry]))
        }
    }

    /// Entries in one order, and the elements of all but lists too.
    private static func comparable(_ entries: [Entry]) -> [Entry] {
        entries.map { entry in
            guard entry.kind != .list else { return entry }
            var entry = entry
            entry.items.sort { key(of: $0).lexicographicallyPrecedes(key(of: $1)) }
            return entry
        }.sorted {
            ($0.database, String(decoding: $0.name, as: UTF8.self)) < (
                $1.database, String(decoding: $1.name, as: UTF8.self)
            )
        }
    }

    private static func key(of item: Item) -> [UInt8] {
        switch item {
        case .string(let bytes), .element(let bytes), .member(let bytes), .scored(let bytes, _), .field(let bytes, _):
            bytes
        }
    }
}
