// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
internal import Foundation
internal import RDB
internal import Testing

@Suite("RDB files")
struct RDBFileTests {
    /// A few keys in every form that version 6 has.
    static let sample: [(entry: Entry, form: RDBValueShape.Form)] = [
        (Entry(name: text("string"), kind: .string, items: strings("value")), .plain),
        (
            Entry(
                name: text("long"),
                kind: .string,
                items: strings(String(repeating: "abc", count: 2000)),
                expireAtMilliseconds: 1_700_000_000_123
            ), .plain
        ),
        (Entry(name: text("list"), kind: .list, items: elements("a", "1", "b")), .compact),
        (Entry(name: text("linkedlist"), kind: .list, items: elements("a", "1", "b")), .plain),
        (Entry(name: text("intset"), kind: .set, items: members("-5", "1", "70000")), .compact),
        (Entry(database: 3, name: text("set"), kind: .set, items: members("b", "a")), .plain),
        (Entry(database: 3, name: text("123"), kind: .sortedSet, items: scored(("a", 1), ("b", 2.5))), .compact),
        (
            Entry(
                database: 15,
                name: text("skiplist"),
                kind: .sortedSet,
                items: scored(("a", -.infinity), ("b", 0.1), ("c", 7))
            ), .plain
        ),
        (Entry(database: 15, name: text("hash"), kind: .hash, items: fields(("f", "v"), ("n", "42"))), .compact),
        (Entry(database: 15, name: text("table"), kind: .hash, items: fields(("f", "v"), ("n", "42"))), .plain),
    ]

    @Test("a file without keys is the one that Redis 2.8 writes")
    func emptyFile() throws {
        let empty = try file([])
        #expect(hexadecimal(empty) == "524544495330303036ffdcb343f05adcf256")
        #expect(try content(of: empty).entries == [])
    }

    @Test("what is written is read: keys, databases, times to live, elements in order")
    func roundTrip() throws {
        let written = try file(Self.sample)
        let read = try content(of: written)
        #expect(read.entries == Self.sample.map(\.entry))
        #expect(read.bytesRead == UInt64(written.count))
    }

    @Test("a file without compression and checksum ends in zeros and is read all the same")
    func withoutChecksum() throws {
        var options = RDBWriter.Options()
        options.compresses = false
        options.computesChecksum = false
        let written = try file(Self.sample, options: options)
        #expect(written.suffix(8) == filledBytes(0, count: 8)[...])
        #expect(try content(of: written).entries == Self.sample.map(\.entry))
    }

    @Test("the file may come in chunks of any size", arguments: [1, 2, 3, 7, 64, 1000, 300_000])
    func chunks(size: Int) throws {
        let long = Entry(name: text("huge"), kind: .string, items: [.string(filledBytes(0x41, count: 700_000))])
        var options = RDBWriter.Options()
        options.compresses = false
        let written = try file(Self.sample + [(long, .plain)], options: options)
        var position = 0
        let reader = RDBReader {
            let chunk = Array(written[position..<min(position + size, written.count)])
            position += chunk.count
            return chunk
        }
        let read = try content(of: reader)
        #expect(read.entries == Self.sample.map(\.entry) + [long])
        #expect(read.bytesRead == UInt64(written.count))
    }

    @Test("a file is read from its descriptor, and bytes behind its end are left to others")
    func descriptor() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/dump.rdb"
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        let handle = try #require(FileHandle(forUpdatingAtPath: path))
        let writer = RDBWriter(fileDescriptor: handle.fileDescriptor)
        try writer.selectDatabase(0)
        try writer.writeString(ByteView("value"), forKey: ByteView("key"), expireAtMilliseconds: 5)
        try writer.finish()
        try handle.write(contentsOf: Data(text("*1\r\n")))
        try handle.seek(toOffset: 0)
        let read = try content(of: RDBReader(fileDescriptor: handle.fileDescriptor))
        #expect(
            read.entries
                == [Entry(name: text("key"), kind: .string, items: strings("value"), expireAtMilliseconds: 5)]
        )
        #expect(read.bytesRead == writer.bytesWritten)
    }

    @Test("the reader goes on to the next key over what was not read of a value")
    func skipsRest() throws {
        let written = try file(Self.sample)
        try ByteView.with(written) { (view) throws(RDBError) in
            let reader = RDBReader(view)
            var names: [String] = []
            while case .key(let key) = try reader.next() {
                names.append(String(key.name))
                if names.count % 2 == 0 { _ = try reader.value.next() }
            }
            #expect(names == Self.sample.map { String(decoding: $0.entry.name, as: UTF8.self) })
        }
    }

    @Test("a value of a 200,000 elements goes to the taker in chunks while it is written")
    func streams() throws {
        let sink = ByteSink()
        let writer = RDBWriter { chunk in
            sink.bytes += Array(chunk)
            sink.chunks += 1
            #expect(chunk.count < 200_000)
        }
        let count = 200_000
        try writer.selectDatabase(0)
        try writer.beginKey(ByteView("list"), RDBValueShape(.list, count: count))
        for _ in 0..<count { try writer.append(.listElement(ByteView("element"))) }
        try writer.endKey()
        try writer.finish()
        #expect(sink.chunks > 10)
        #expect(UInt64(sink.bytes.count) == writer.bytesWritten)
        let read: Int = try ByteView.with(sink.bytes) { (view) throws(RDBError) in
            let reader = RDBReader(view)
            guard case .key = try reader.next() else { return 0 }
            return try reader.value.skip()
        }
        #expect(read == count)
    }

    // MARK: What newer and older versions have

    /// A file of `version` with `body`, and with a checksum where the version has one.
    private func handmade(_ version: String, _ body: String) -> [UInt8] {
        let bytes = text("REDIS" + version) + hex(body) + [0xFF]
        guard let number = Int(version), number >= 5 else { return bytes }
        let checksum = referenceCRC64(bytes)
        return bytes + (0..<8).map { UInt8(checksum >> (8 * UInt64($0)) & 0xFF) }
    }

    @Test("versions 1 to 12 are read, and versions below 5 have no checksum", arguments: 1...12)
    func versions(version: Int) throws {
        let number = (version < 10 ? "000" : "00") + "\(version)"
        let read = try content(of: handmade(number, "fe00 00 0161 0162"))
        #expect(read.entries == [Entry(name: text("a"), kind: .string, items: strings("b"))])
    }

    @Test("times to live in seconds, of old, and in milliseconds")
    func expiry() throws {
        let read = try content(
            of: handmade("0003", "fd 01000000 00 0161 0162 fc 0200000000000000 00 0163 0164 00 0165 0166")
        )
        #expect(read.entries.map(\.expireAtMilliseconds) == [1000, 2, nil])
        let past = try content(of: handmade("0003", "fd ffffffff 00 0161 0162"))
        #expect(past.entries.map(\.expireAtMilliseconds) == [-1000])
    }

    @Test("facts, sizes, idle times and frequencies of newer versions")
    func newerOpcodes() throws {
        let body = "fa 03766572 05372e302e30 fa 0462697473 c040 fe02 fb 02 01 f8 8100000000000000ff f9 07 00 0161 0162"
        let bytes = handmade("0012", body + "f4 01 02 03 00 0163 0164")
        let read = try content(of: bytes)
        #expect(read.auxiliary == ["ver": "7.0.0", "bits": "64"])
        #expect(read.sizes == [[2, 2, 1]])
        #expect(read.entries.count == 2)
        try ByteView.with(bytes) { (view) throws(RDBError) in
            let reader = RDBReader(view)
            while true {
                guard case .key(let key) = try reader.next() else { continue }
                #expect(key.idleSeconds == 255)
                #expect(key.frequency == 7)
                #expect(key.databaseIndex == 2)
                #expect(reader.version == 12)
                break
            }
        }
    }

    private static let pending = "01 000102030405060708090a0b0c0d0e0f 0011223344556677 02"
    private static let owned = "01 000102030405060708090a0b0c0d0e0f"

    /// What 2.8 cannot hold, what it is called, and whether it belongs to a key.
    private static let unsupported: [(body: String, word: String)] = [
        ("0f 0173 01 0161 0162 01 05 00 01 0167 05 00 \(pending) 01 0163 0011223344556677 \(owned)", "stream"),
        (
            "13 0173 01 0161 0162 01 05 00 01 00 00 00 01 01 0167 05 00 09 \(pending) "
                + "01 0163 0011223344556677 \(owned)",
            "stream"
        ),
        (
            """
            15 0173 01 0161 0162 01 05 00 01 00 00 00 01 01 0167 05 00 09 \(pending) \
            01 0163 0011223344556677 0011223344556677 \(owned)
            """, "stream"
        ),
        ("07 0173 81 27dff9ffffffffff 01 05 02 06 03 00112233 04 0011223344556677 05 026869 00", "module"),
        ("16 0173 01 05 0166 0176", "expiring fields"), ("17 0173 0162", "expiring fields"),
        ("18 0173 0011223344556677 01 05 0166 0176", "expiring fields"),
        ("19 0173 0011223344556677 0162", "expiring fields"),
    ]

    @Test("values that 2.8 does not have are skipped if asked, else refused by name", arguments: unsupported.indices)
    func unsupportedValues(index: Int) throws {
        let (body, word) = Self.unsupported[index]
        let bytes = handmade("0012", "fe00 00 0161 0162" + body + "00 0163 0164")
        var options = RDBReader.Options()
        options.skipsUnsupported = true
        let read = try content(of: bytes, options: options)
        #expect(read.entries.map(\.name) == [text("a"), text("c")])
        #expect(read.skipped.count == 1)
        #expect(read.skipped.allSatisfy { $0.hasPrefix("s: ") && $0.contains(word) })
        let error = #expect(throws: RDBError.self) { try content(of: bytes) }
        guard case .unsupported(_, let key, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(key == text("s"))
        // Every cut of it is short, whether it is skipped or not.
        for length in 9..<bytes.count {
            #expect(throws: RDBError.self) { try content(of: Array(bytes.prefix(length)), options: options) }
        }
    }

    @Test("what stands between keys and 2.8 does not have is skipped if asked")
    func unsupportedOpcodes() throws {
        let module = "f7 81 27dff9ffffffffff 02 02 05 026869 00"
        let bytes = handmade("0010", "f5 05 68656c6c6f" + module + "fe00 00 0161 0162")
        var options = RDBReader.Options()
        options.skipsUnsupported = true
        let read = try content(of: bytes, options: options)
        #expect(read.entries.count == 1)
        #expect(
            read.skipped == [
                "-: a library of functions, which Redis 2.8 does not have", "-: data of the module 'J9_5_____'",
            ]
        )
        #expect(throws: RDBError.self) { try content(of: bytes) }
        #expect(throws: RDBError.self) { try content(of: handmade("0010", "f6 0161 0162 00 0163"), options: options) }
        #expect(throws: RDBError.self) { try content(of: handmade("0008", "06 0161 05 00"), options: options) }
    }

    // MARK: What is wrong with a file

    @Test("a file that is none, or of another version, is refused in the words of 2.8")
    func signature() {
        #expect(throws: RDBError.wrongSignature) { try content(of: text("RUBBISH000")) }
        #expect(throws: RDBError.unknownVersion(13)) { try content(of: text("REDIS0013\u{7F}")) }
        #expect(throws: RDBError.unknownVersion(0)) { try content(of: text("REDIS0000")) }
        #expect(throws: RDBError.unknownVersion(0)) { try content(of: text("REDISabcd")) }
        #expect(throws: RDBError.shortRead(position: 7)) { try content(of: text("REDIS00")) }
        #expect(throws: RDBError.shortRead(position: 0)) { try content(of: []) }
        #expect(RDBError.wrongSignature.redisLogLine == "Wrong signature trying to load DB from file")
        #expect(RDBError.unknownVersion(13).redisLogLine == "Can't handle RDB format version 13")
        #expect(
            RDBError.shortRead(position: 7).redisLogLine
                == "Short read or OOM loading DB. Unrecoverable error, aborting now."
        )
        #expect(RDBError.wrongChecksum(stored: 1, computed: 2).redisLogLine == "Wrong RDB checksum. Aborting now.")
        #expect("\(RDBError.shortRead(position: 7))".contains("byte 7"))
    }

    @Test("a changed byte is found by the checksum, unless nobody asks for it")
    func checksum() throws {
        var bytes = handmade("0006", "fe00 00 0161 0162")
        bytes[13] = 0x63
        let error = #expect(throws: RDBError.self) { try content(of: bytes) }
        guard case .wrongChecksum = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        var options = RDBReader.Options()
        options.verifiesChecksum = false
        #expect(try content(of: bytes, options: options).entries.count == 1)
    }

    @Test("a database beyond the limit is refused")
    func databaseLimit() {
        var options = RDBReader.Options()
        options.databaseLimit = 16
        let bytes = handmade("0006", "fe10 00 0161 0162")
        #expect(throws: RDBError.databaseOutOfRange(16, limit: 16)) { try content(of: bytes, options: options) }
        #expect(throws: Never.self) { try content(of: bytes) }
    }

    @Test("what the source throws reaches the caller")
    func sourceError() {
        #expect(throws: RDBError.system(operation: "read", code: 9)) {
            try content(of: RDBReader(fileDescriptor: -1))
        }
        #expect(throws: RDBError.system(operation: "fetch", code: 5)) {
            try content(of: RDBReader { () throws(RDBError) in throw .system(operation: "fetch", code: 5) })
        }
    }
}
