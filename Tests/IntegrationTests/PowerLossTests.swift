// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

/// Power losses of a whole server, simulated: images of its directory in which each page of the tree is the one of the
/// last sync or the one of the end, and the log is cut or torn anywhere after its last sync.
@Suite("Power loss")
struct PowerLossTests {
    /// How many images are opened; tools/soak may set more.
    static let images = environmentNumber("CODIS_POWER_IMAGES") ?? 40

    @Test("every image opens, is sound, and holds a prefix of the writes with all that was synced")
    func images() throws {
        var random = SeededGenerator()
        print("power loss: CODIS_TEST_SEED=\(random.seed)")
        var opened = 0
        while opened < Self.images {
            var loss = try LostServer()
            try loss.write(random.number(1...3000))
            try loss.sync()
            try loss.write(random.number(1...3000))
            try loss.end()
            for _ in 0..<20 where opened < Self.images {
                try loss.open(imageBy: &random)
                opened += 1
            }
        }
    }
}

/// A server whose writes are numbered: the n-th sets one of 500 keys to n, so what is found tells how far it goes.
private struct LostServer {
    private let server: TestServer
    private let client: TestClient
    private var writes = 0
    private var syncedWrites = 0
    private var syncedFiles = Files()
    private var endFiles = Files()

    private static let keys = 500
    private static let page = 4096
    private static let configuration = ["appendonly yes", "appendfsync no", "log-segment-size 1mb"]

    /// The files that matter; zeros at their ends are left out.
    private struct Files {
        var tree = Data()
        var durable = Data()
        var log = Data()
    }

    init() throws {
        server = try TestServer(configuration: Self.configuration)
        client = try server.connect()
    }

    mutating func write(_ count: Int) throws {
        for _ in 0..<count {
            writes += 1
            client.enqueue("SET", "key:\(writes % Self.keys)", value(writes))
        }
        try client.flush()
        for reply in try client.receive(count) { #expect(reply == .status("OK")) }
    }

    /// The value of the n-th write: its number, and filling of a length that follows from it.
    private func value(_ number: Int) -> String { "\(number):" + String(repeating: "x", count: number * 7 % 300) }

    /// Has everything synced, and keeps the files as they are then.
    mutating func sync() throws {
        #expect(try client.command("SAVE") == .status("OK"))
        syncedWrites = writes
        syncedFiles = try files()
    }

    mutating func end() throws {
        try server.kill()
        endFiles = try files()
    }

    private func files() throws -> Files {
        let tree = try trimmed("keyspace/data.mdb")
        let log = try FileManager.default.contentsOfDirectory(atPath: server.directory + "/log")
            .filter { $0.hasSuffix(".log") }.sorted()
        return Files(
            tree: tree,
            durable: try Data(contentsOf: URL(fileURLWithPath: server.directory + "/keyspace/durable")),
            log: try trimmed("log/" + log[0])
        )
    }

    /// The first 32 MiB of a file, without the zeros at their end; the tests write far less.
    private func trimmed(_ name: String) throws -> Data {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: server.directory + "/" + name))
        defer { try? file.close() }
        let bytes = try file.read(upToCount: 32 << 20) ?? Data()
        let end = bytes.lastIndex { $0 != 0 } ?? 0
        return bytes.prefix((end / Self.page + 1) * Self.page)
    }

    /// Builds an image and starts a server on it.
    func open(imageBy random: inout SeededGenerator) throws {
        let directory = try TemporaryDirectory()
        let names = try FileManager.default.contentsOfDirectory(atPath: server.directory + "/log").sorted()
        for folder in ["/keyspace", "/log"] {
            try FileManager.default.createDirectory(
                atPath: directory.path + folder,
                withIntermediateDirectories: false
            )
        }
        let share = random.number(0...4)
        let tree = mixed(endFiles.tree, syncedFiles.tree, &random) { $0.number(0...3) < share }
        try tree.write(to: URL(fileURLWithPath: directory.path + "/keyspace/data.mdb"))
        let durable = random.oneIn(2) ? syncedFiles.durable : endFiles.durable
        try durable.write(to: URL(fileURLWithPath: directory.path + "/keyspace/durable"))
        let name = names.first { $0.hasSuffix(".log") } ?? ""
        try lostLog(&random).write(to: URL(fileURLWithPath: directory.path + "/log/" + name))

        let image = try TestServer(configuration: Self.configuration, directory: directory.path)
        let client = try image.connect()
        var found: [Int: Int] = [:]
        for key in 0..<Self.keys {
            guard case .bulk(let bytes) = try client.command("GET", "key:\(key)") else { continue }
            let text = String(decoding: bytes, as: UTF8.self)
            let number = Int(text.prefix { $0 != ":" }) ?? 0
            #expect(text == value(number), "seed \(random.seed)")
            found[key] = number
        }
        let last = found.values.max() ?? 0
        #expect(last >= syncedWrites, "seed \(random.seed)")
        var expected: [Int: Int] = [:]
        for number in stride(from: 1, through: last, by: 1) { expected[number % Self.keys] = number }
        #expect(found == expected, "seed \(random.seed)")
        try image.kill()
    }

    /// The log with all that was synced, and of the rest what the disk happened to keep.
    private func lostLog(_ random: inout SeededGenerator) -> Data {
        let synced = (syncedFiles.log.lastIndex { $0 != 0 } ?? 0) + 1
        var log = endFiles.log
        guard log.count > synced else { return log }
        switch random.number(0...2) {
        case 0:
            log = log.prefix(random.number(synced...log.count))
        case 1:
            // The page that the sync ended in was written again with what came after it.
            let first = (synced + Self.page - 1) / Self.page
            for page in first..<max(first, log.count / Self.page) where random.oneIn(3) {
                log.replaceSubrange(page * Self.page..<(page + 1) * Self.page, with: Data(count: Self.page))
            }
        default:
            let from = random.number(synced...log.count - 1)
            log.replaceSubrange(from..<log.count, with: (from..<log.count).map { _ in UInt8(random.number(0...255)) })
        }
        return log
    }

    private func mixed(
        _ new: Data,
        _ old: Data,
        _ random: inout SeededGenerator,
        takesOld: (inout SeededGenerator) -> Bool
    ) -> Data {
        var image = new
        if image.count < old.count { image.append(Data(count: old.count - image.count)) }
        for page in 0..<(old.count / Self.page) where takesOld(&random) {
            let range = page * Self.page..<(page + 1) * Self.page
            image.replaceSubrange(range, with: old[range])
        }
        return image
    }
}
