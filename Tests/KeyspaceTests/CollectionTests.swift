// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@Suite("Collections in the keyspace")
struct CollectionTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ options: KeyspaceOptions = KeyspaceOptions()) throws -> Keyspace {
        try Keyspace(directory: directory.path + "/keyspace", options: options)
    }

    private func checkpoint(_ keyspace: Keyspace) throws {
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: keyspace.position.offset + 1)) {
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
    }

    private static let limits = EncodingLimits(entries: 512, bytes: 64)

    @discardableResult
    private func set(
        _ keyspace: Keyspace,
        _ key: String,
        _ pairs: [([UInt8], [UInt8])],
        limits: EncodingLimits = limits
    ) throws -> Int {
        try ByteView.with(key) { key in
            try withViews(pairs.flatMap { [$0.0, $0.1] }) { views throws(KeyspaceError) in
                try keyspace.setFields(key, in: 0, count: pairs.count, limits: limits) {
                    (views[2 * $0], views[2 * $0 + 1])
                }
            }
        }
    }

    private func get(_ keyspace: Keyspace, _ key: String, _ field: [UInt8]) -> [UInt8]? {
        guard let record = ByteView.with(key, { keyspace.find($0, in: 0) }) else { return nil }
        return ByteView.with(field) { field in
            keyspace.reader.value(of: field, in: record).map { keyspace.reader.bytes(of: $0) }
        }
    }

    @discardableResult
    private func remove(_ keyspace: Keyspace, _ key: String, _ names: [[UInt8]], _ type: ValueType) throws -> Int {
        try ByteView.with(key) { key in
            try withViews(names) { views throws(KeyspaceError) in
                try keyspace.removeElements(key, in: 0, type: type, count: views.count) { views[$0] }
            }
        }
    }

    @Test("Elements of a value are prefetched once it has many of them, as long as it has, and after it was looked up")
    func prefetched() throws {
        var options = KeyspaceOptions()
        options.fewestPrefetchedElements = 300
        let keyspace = try open(options)
        let pairs = (0..<299).map { (Array("field \($0)".utf8), [UInt8](repeating: 1, count: 40)) }
        // How many rows of the key and two fields, one of which is there, are announced.
        func announced(_ key: String = "h") -> Int {
            ByteView.with(key) { keyspace.announce($0, in: 0) }
            for name in ["field 7", "no field"] { ByteView.with(name) { keyspace.announceElement($0, in: 0) } }
            defer { keyspace.prefetchAnnounced() }
            return keyspace.prefetchCount
        }
        // There is nothing in the key's slot.
        #expect(announced() == 0)
        try set(keyspace, "h", pairs)
        _ = ByteView.with("h") { keyspace.find($0, in: 0) }
        #expect(announced() == 1)
        try set(keyspace, "h", [(Array("one more".utf8), [1])])
        #expect(get(keyspace, "h", Array("field 7".utf8)) == pairs[7].1)
        #expect(announced() == 3)
        #expect(announced("another key") == 0)
        for (name, value) in pairs { #expect(get(keyspace, "h", name) == value) }
        try remove(keyspace, "h", [Array("field 8".utf8)], .hash)
        #expect(get(keyspace, "h", Array("field 8".utf8)) == nil)
        #expect(announced() == 1)
        #expect(keyspace.check() == [])
    }

    private func fields(_ keyspace: Keyspace, _ key: String) -> [([UInt8], [UInt8])] {
        var fields: [([UInt8], [UInt8])] = []
        guard let record = ByteView.with(key, { keyspace.find($0, in: 0) }) else { return [] }
        keyspace.reader.forEachElement(of: record) {
            guard case .field(let name, let value) = $0 else { return }
            fields.append((keyspace.reader.bytes(of: name), keyspace.reader.bytes(of: value)))
        }
        return fields
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("A small hash lies in its row, in the order of insertion, and a changed field keeps its place")
    func packedHash() throws {
        let keyspace = try open()
        #expect(try set(keyspace, "hash", [(bytes("a"), bytes("1")), (bytes("b"), bytes("2"))]) == 2)
        #expect(try set(keyspace, "hash", [(bytes("a"), bytes("longer")), (bytes("c"), bytes(""))]) == 1)
        #expect(
            fields(keyspace, "hash").map { String(decoding: $0.0 + $0.1, as: UTF8.self) } == ["alonger", "b2", "c"]
        )
        #expect(get(keyspace, "hash", bytes("c")) == [])
        #expect(get(keyspace, "hash", bytes("d")) == nil)
        let record = try #require(keyspace.find(ByteView("hash"), in: 0))
        #expect(record.type == .hash && record.count == 3 && record.encoding == 0)
        #expect(try remove(keyspace, "hash", [bytes("b"), bytes("nothing"), bytes("b")], .hash) == 1)
        #expect(try remove(keyspace, "hash", [bytes("a"), bytes("c")], .hash) == 2)
        #expect(keyspace.find(ByteView("hash"), in: 0) == nil)
        #expect(keyspace.check() == [])
    }

    @Test("The encoding follows the limits, and stays when the value shrinks")
    func encodings() throws {
        let keyspace = try open()
        let limits = EncodingLimits(entries: 2, bytes: 4)
        try set(keyspace, "entries", [(bytes("a"), bytes("1")), (bytes("b"), bytes("1"))], limits: limits)
        #expect(keyspace.find(ByteView("entries"), in: 0)?.encoding == 0)
        try set(keyspace, "entries", [(bytes("c"), bytes("1"))], limits: limits)
        #expect(keyspace.find(ByteView("entries"), in: 0)?.encoding == 1)
        try remove(keyspace, "entries", [bytes("a"), bytes("b")], .hash)
        #expect(keyspace.find(ByteView("entries"), in: 0)?.encoding == 1)
        try set(keyspace, "length", [(bytes("a"), bytes("12345"))], limits: limits)
        #expect(keyspace.find(ByteView("length"), in: 0)?.encoding == 1)
        try set(keyspace, "field", [(bytes("12345"), bytes("1"))], limits: limits)
        #expect(keyspace.find(ByteView("field"), in: 0)?.encoding == 1)
    }

    @Test("A hash that outgrows its row moves into rows, keeps everything, and is deleted in the background")
    func hashInRows() throws {
        let keyspace = try open()
        var expected: [[UInt8]: [UInt8]] = [:]
        for number in 0..<2000 {
            let field = bytes("field:\(number)")
            let value = bytes("value:\(number)")
            expected[field] = value
            #expect(try set(keyspace, "hash", [(field, value)]) == 1)
        }
        #expect(try set(keyspace, "hash", [(bytes("field:7"), bytes("other"))]) == 0)
        expected[bytes("field:7")] = bytes("other")
        let record = try #require(keyspace.find(ByteView("hash"), in: 0))
        #expect(record.count == 2000 && record.encoding == 1)
        #expect(Dictionary(uniqueKeysWithValues: fields(keyspace, "hash")) == expected)
        for (field, value) in expected { #expect(get(keyspace, "hash", field) == value) }
        #expect(keyspace.check() == [])

        #expect(try remove(keyspace, "hash", (0..<1500).map { bytes("field:\($0)") }, .hash) == 1500)
        #expect(keyspace.find(ByteView("hash"), in: 0)?.count == 500)
        #expect(keyspace.check() == [])
        #expect(try ByteView.with("other") { try keyspace.rename(ByteView("hash"), in: 0, to: $0, in: 3) })
        #expect(keyspace.find(ByteView("other"), in: 3)?.count == 500)
        #expect(try keyspace.remove(ByteView("other"), in: 3))
        try checkpoint(keyspace)
        while try keyspace.reclaim(maximumRows: 100) {}
        #expect(keyspace.storedBytes == 0 && !keyspace.hasReclaimBacklog)
        try checkpoint(keyspace)
        #expect(keyspace.check() == [])
    }

    @Test("Long fields and large values have blobs, which are let go of alone and with their hash")
    func blobs() throws {
        let keyspace = try open()
        let longName = [UInt8](repeating: 110, count: 20_000)
        let otherName = [UInt8](repeating: 110, count: 20_001)
        let large = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        #expect(try set(keyspace, "hash", [(longName, large), (otherName, bytes("x")), (bytes("f"), large)]) == 3)
        #expect(get(keyspace, "hash", longName) == large)
        #expect(get(keyspace, "hash", otherName) == bytes("x"))
        #expect(get(keyspace, "hash", bytes("f")) == large)
        #expect(Set(fields(keyspace, "hash").map(\.0)) == [longName, otherName, bytes("f")])
        #expect(keyspace.check() == [])
        #expect(try set(keyspace, "hash", [(longName, bytes("small")), (bytes("f"), large + large)]) == 0)
        #expect(get(keyspace, "hash", longName) == bytes("small"))
        #expect(get(keyspace, "hash", bytes("f")) == large + large)
        #expect(keyspace.check() == [])
        try checkpoint(keyspace)
        while try keyspace.reclaim(maximumRows: 10) {}
        #expect(!keyspace.hasReclaimBacklog)
        #expect(keyspace.check() == [])
        #expect(try remove(keyspace, "hash", [otherName, bytes("f")], .hash) == 2)
        #expect(keyspace.check() == [])
        #expect(try keyspace.remove(ByteView("hash"), in: 0))
        try checkpoint(keyspace)
        while try keyspace.reclaim(maximumRows: 10) {}
        #expect(!keyspace.hasReclaimBacklog && keyspace.storedBytes == 0)
        try checkpoint(keyspace)
        #expect(keyspace.check() == [])
    }

    @Test(
        "A value of 40 MB goes into a field in several transactions, and a crash in between leaves the hash as it was"
    )
    func stagedValue() throws {
        let large = [UInt8](repeating: 5, count: 40 << 20)
        do {
            var options = KeyspaceOptions()
            options.dirtyPages = 1000
            let keyspace = try open(options)
            var calls = 0
            var lastCall = Int.max
            keyspace.onPressure = { () throws(KeyspaceError) in
                if let checkpoint = try keyspace.commit(at: LogPosition(offset: 1)) {
                    try checkpoint.makeDurable()
                    keyspace.finish(checkpoint)
                }
                calls += 1
                if calls == lastCall { throw .failed("the power is lost") }
            }
            defer { keyspace.onPressure = nil }
            try set(keyspace, "hash", [(bytes("a"), bytes("1")), (bytes("large"), large)])
            #expect(calls > 5)
            #expect(get(keyspace, "hash", bytes("large")) == large)
            #expect(keyspace.check() == [])
            lastCall = calls + 5
            #expect(throws: KeyspaceError.self) { try set(keyspace, "hash", [(bytes("more"), large)]) }
        }
        let keyspace = try open()
        #expect(fields(keyspace, "hash").count == 2)
        #expect(get(keyspace, "hash", bytes("large"))?.count == large.count)
        #expect(keyspace.hasReclaimBacklog)
        try checkpoint(keyspace)
        while try keyspace.reclaim(maximumRows: 500) {}
        #expect(!keyspace.hasReclaimBacklog)
        #expect(keyspace.check() == [])
    }

    @Test("The elements of a value can be walked in steps, and build the same value again", arguments: [3, 3000])
    func walkAndBuild(count: Int) throws {
        let keyspace = try open()
        let pairs = (0..<count).map { (bytes("field:\($0)"), [UInt8](repeating: UInt8($0 & 255), count: $0)) }
        try set(keyspace, "hash", pairs)
        let builder = ValueBuilder(keyspace, key: ByteView("copy"), in: 0, type: .hash)
        var position = ElementPosition()
        while !position.isAtEnd {
            var batch: [([UInt8], [UInt8])] = []
            let record = try #require(keyspace.find(ByteView("hash"), in: 0))
            keyspace.reader.forEachElement(of: record, from: &position) {
                if case .field(let name, let value) = $0 {
                    batch.append((keyspace.reader.bytes(of: name), keyspace.reader.bytes(of: value)))
                }
                return batch.count < 7
            }
            for (name, value) in batch {
                try ByteView.with(name) { name in
                    try ByteView.with(value) { try builder.append(.field(ElementBytes(name), value: ElementBytes($0))) }
                }
            }
        }
        #expect(builder.count == count)
        #expect(try builder.finish(expireAtMilliseconds: 99, encoding: 1))
        #expect(
            Dictionary(uniqueKeysWithValues: fields(keyspace, "copy")) == Dictionary(uniqueKeysWithValues: pairs)
        )
        #expect(keyspace.find(ByteView("copy"), in: 0)?.expireAtMilliseconds == 99)
        #expect(keyspace.check() == [])
    }

    @Test("A value that was built replaces what the key held; one that was abandoned leaves nothing behind")
    func builders() throws {
        let keyspace = try open()
        try keyspace.setString(ByteView("key"), in: 0, to: ByteView("before"))
        let abandoned = ValueBuilder(keyspace, key: ByteView("key"), in: 0, type: .set)
        for number in 0..<1000 {
            try ByteView.with("member:\(number)") { try abandoned.append(.member(ElementBytes($0))) }
        }
        try abandoned.abandon()
        #expect(keyspace.find(ByteView("key"), in: 0)?.type == .string)
        let string = ValueBuilder(keyspace, key: ByteView("key"), in: 0, type: .string)
        var expected: [UInt8] = []
        for number in 0..<300 {
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 5000)
            expected += piece
            try ByteView.with(piece) { try string.append(.string(ElementBytes($0))) }
        }
        try string.finish()
        let record = try #require(keyspace.find(ByteView("key"), in: 0))
        #expect(record.type == .string && keyspace.bytes(of: record) == expected)
        let empty = ValueBuilder(keyspace, key: ByteView("key"), in: 0, type: .set)
        #expect(try !empty.finish())
        #expect(keyspace.find(ByteView("key"), in: 0) == nil)
        try checkpoint(keyspace)
        while try keyspace.reclaim(maximumRows: 500) {}
        try checkpoint(keyspace)
        #expect(keyspace.storedBytes == 0 && !keyspace.hasReclaimBacklog)
        #expect(keyspace.check() == [])
    }

    @Test("Whoever asks hears of each change of a key, also of one that leaves its row alone")
    func changes() throws {
        let keyspace = try open()
        try set(keyspace, "hash", (0..<500).map { (bytes("field:\($0)"), bytes("value")) })
        var heard: [UInt64] = []
        keyspace.onKeyChange = { database, hash, _ in
            #expect(database == 0)
            heard.append(hash)
        }
        let hash = keyspace.keyHash(ByteView("hash"))
        try set(keyspace, "hash", [(bytes("field:1"), bytes("VALUE"))])
        #expect(heard == [hash])
        try remove(keyspace, "hash", [bytes("field:1")], .hash)
        #expect(heard == [hash, hash])
        try remove(keyspace, "hash", [bytes("field:1")], .hash)
        #expect(heard == [hash, hash])
        _ = try keyspace.remove(ByteView("hash"), in: 0)
        #expect(heard == [hash, hash, hash])
        keyspace.onKeyChange = nil
    }
}

/// Calls `body` with views of `arrays`.
func withViews<Result, Failure: Error>(
    _ arrays: [[UInt8]],
    _ body: ([ByteView]) throws(Failure) -> Result
) throws(Failure) -> Result {
    let joined = arrays.flatMap { $0 }
    return try ByteView.with(joined) { all throws(Failure) in
        var offset = 0
        let views = arrays.map { array in
            defer { offset += array.count }
            return all[offset..<(offset + array.count)]
        }
        return try body(views)
    }
}
