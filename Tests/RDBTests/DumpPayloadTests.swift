// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RDB
internal import Testing

/// A value and the payload that Redis 2.8 makes of it.
struct DumpVector: CustomTestStringConvertible, Sendable {
    let name: String
    let payload: String
    let form: RDBValueShape.Form
    let makeItems: @Sendable () -> [Item]

    init(
        _ name: String,
        _ payload: String,
        _ items: @autoclosure @escaping @Sendable () -> [Item],
        form: RDBValueShape.Form = .plain
    ) {
        self.name = name
        self.payload = payload
        self.form = form
        makeItems = items
    }

    var items: [Item] { makeItems() }
    var testDescription: String { name }

    static let all: [DumpVector] = [
        DumpVector("hello", "00 05 68656c6c6f 0600 f59fb7f690611c99", strings("hello")),
        DumpVector("empty", "00 00 0600 cb7634c0fa2a9e49", strings("")),
        DumpVector("-123", "00 c085 0600 f4e4a2f3a126d713", strings("-123")),
        DumpVector("12345", "00 c13930 0600 0b7982a766a9342a", strings("12345")),
        DumpVector("123456789", "00 c215cd5b07 0600 325aa18915bc0b0d", strings("123456789")),
        DumpVector(
            "12345678901",
            "00 0b 3132333435363738393031 0600 a6a33a57d2425983",
            strings("12345678901")
        ),
        DumpVector("10", "00 c0 0a 06 00 f8 72 3f c5 fb fb 5f 28", strings("10")),
        DumpVector("100", "00 c0 64 06 00 11 c4 fd b1 95 5b b1 20", strings("100")),
        DumpVector("bar", "00 03 62 61 72 06 00 70 53 21 e0 1b 33 c1 84", strings("bar")),
        DumpVector(
            "20 times a",
            "00 14 6161616161616161616161616161616161616161 0600 155903deee449062",
            strings(String(repeating: "a", count: 20))
        ),
        DumpVector(
            "21 times a",
            "00 c306150161 61e00a00 0600 6be1dbe8f21403fb",
            strings(String(repeating: "a", count: 21))
        ),
        DumpVector(
            "compact list",
            """
            0a 31 310000002d000000 0900 00 01 61 03f202c0e80304f070110105d08096980006e000f2052a01000000\
            0afd02fe0d03feff ff 0600 ec5f06f81e99ade9
            """,
            elements("a", "1", "1000", "70000", "10000000", "5000000000", "12", "13", "-1"),
            form: .compact
        ),
        DumpVector("list", "01 02 0161 0162 0600 a445f8fe205626d6", elements("a", "b")),
        DumpVector(
            "set of integers",
            "0b 0e 02000000 03000000 010002000300 0600 33ef3462983b7188",
            members("1", "2", "3"),
            form: .compact
        ),
        DumpVector(
            "set of wider integers",
            "0b 10 04000000 02000000 01000000 70110100 0600 b1d82bee08336a57",
            members("1", "70000"),
            form: .compact
        ),
        DumpVector("set", "02 01 0161 0600 f47b81feb18726fe", members("a")),
        DumpVector(
            "compact sorted set",
            """
            0c 22 220000001a000000 0600 000161 03f2 020162 0303322e35 050163 030531652b3230 ff 0600 e29784fbd8c36541
            """,
            scored(("a", 1), ("b", 2.5), ("c", 1e20)),
            form: .compact
        ),
        DumpVector("sorted set, whole score", "03 01 0161 0131 0600 e4063996a62db22b", scored(("a", 1))),
        DumpVector(
            "sorted set, fraction",
            "03 01 0161 12 332e31343030303030303030303030303031 0600 faf472cf9130b45f",
            scored(("a", 3.14))
        ),
        DumpVector("sorted set, infinity", "03 01 0161 fe 0600 eca458c3365f6d71", scored(("a", .infinity))),
        DumpVector(
            "compact hash",
            "0d 17 1700000013000000 0400 000166 030176 03016e 03fe2a ff 0600 6d6db385c4b00a01",
            fields(("f", "v"), ("n", "42")),
            form: .compact
        ),
    ]

    /// What only newer versions of Redis write.
    static let newer: [DumpVector] = [
        DumpVector(
            "hash as listpack",
            "10 12 120000000400 8166 02 8176 02 816e 02 2a 01 ff 0a00 ff30e87f7262d991",
            fields(("f", "v"), ("n", "42"))
        ),
        DumpVector(
            "sorted set as listpack",
            "11 14 140000000400 8161 02 01 01 8162 02 83322e35 04 ff 0a00 d44c6ea4f644d9d7",
            scored(("a", 1), ("b", 2.5))
        ),
        DumpVector(
            "sorted set with binary scores",
            "05 01 0162 0000000000000440 0a00 73debdb1c30b0e33",
            scored(("b", 2.5))
        ),
    ]
}

@Suite("DUMP payloads")
struct DumpPayloadTests {
    @Test("a payload of Redis 2.8 gives the elements of its value", arguments: DumpVector.all)
    func decodesVector(_ vector: DumpVector) throws {
        let decoded = try decode(hex(vector.payload), accepting: DumpPayload.versionsOfRedis28)
        #expect(decoded.items == vector.items)
        #expect(decoded.kind == vector.items[0].kind)
    }

    @Test("a value becomes the payload that Redis 2.8 makes of it", arguments: DumpVector.all)
    func encodesVector(_ vector: DumpVector) throws {
        #expect(hexadecimal(try encode(vector.items, vector.form)) == hexadecimal(hex(vector.payload)))
    }

    @Test("payloads of newer versions are read where they are accepted", arguments: DumpVector.newer)
    func decodesNewerVector(_ vector: DumpVector) throws {
        #expect(try decode(hex(vector.payload)).items == vector.items)
        #expect(throws: RDBError.wrongPayloadFooter) {
            try decode(hex(vector.payload), accepting: DumpPayload.versionsOfRedis28)
        }
    }

    @Test("a type that 2.8 does not know is refused by who takes version 6 only")
    func refusesNewerType() throws {
        let payload = withFooter(hex("05 01 0162 0000000000000440"))
        #expect(try decode(payload).items == scored(("b", 2.5)))
        #expect(throws: RDBError.self) { try decode(payload, accepting: 6...6) }
    }

    @Test("a footer of another version, a wrong checksum, or none is refused as such")
    func refusesFooter() {
        let good = hex("00 05 68656c6c6f 0600 f59fb7f690611c99")
        #expect(throws: Never.self) { try decode(good, accepting: 6...6) }
        #expect(throws: RDBError.wrongPayloadFooter) { try decode(good, accepting: 7...12) }
        #expect(throws: RDBError.wrongPayloadFooter) { try decode(withFooter([0, 0], version: 13)) }
        #expect(throws: RDBError.wrongPayloadFooter) { try decode(withFooter([0, 0], version: 0)) }
        #expect(throws: RDBError.wrongPayloadFooter) { try decode(Array(good.dropLast())) }
        #expect(throws: RDBError.wrongPayloadFooter) { try decode([]) }
        var bad = good
        bad[3] ^= 1
        #expect(throws: RDBError.wrongPayloadFooter) { try decode(bad) }
    }

    @Test("a payload of a footer alone is cut short")
    func refusesNothing() {
        #expect(throws: RDBError.shortRead(position: 0)) { try decode(withFooter([])) }
    }

    @Test("validation counts elements and refuses a value that has none")
    func validates() throws {
        let counted = try ByteView.with(hex("01 02 0161 0162 0600 a445f8fe205626d6")) { (view) throws(RDBError) in
            try DumpPayload.validate(view, accepting: 6...6)
        }
        #expect(counted.kind == .list)
        #expect(counted.count == 2)
        for empty in ["0100", "0200", "0300", "0400", "0a 0b 0b0000000a0000000000ff", "0b 08 0200000000000000"] {
            #expect(throws: RDBError.malformed("a value without elements", position: 1)) {
                try ByteView.with(withFooter(hex(empty))) { (view) throws(RDBError) in
                    _ = try DumpPayload.validate(view, accepting: 6...6)
                }
            }
        }
    }

    @Test("values that Redis 2.8 does not have are named", arguments: [(15, "stream"), (21, "stream"), (7, "module")])
    func namesUnsupported(type: Int, word: String) {
        let payload = withFooter([UInt8(type), 0, 0, 0], version: 11)
        let error = #expect(throws: RDBError.self) { try decode(payload) }
        #expect("\(String(describing: error))".contains(word))
    }

    @Test("an encoder refuses what it cannot say and goes on with the next value")
    func refusesUnencodable() throws {
        let encoder = DumpEncoder()
        #expect(throws: RDBError.self) {
            try encoder.begin(RDBValueShape(.set, .compact, count: 1))
            try encoder.append(.setMember(ByteView("no number")))
        }
        #expect(throws: RDBError.self) {
            try encoder.begin(RDBValueShape(.list, count: 1))
            try encoder.append(.setMember(ByteView("member")))
        }
        #expect(throws: RDBError.self) {
            try encoder.begin(RDBValueShape(.list, count: 1))
            _ = try encoder.finish()
        }
        #expect(throws: RDBError.self) {
            try encoder.begin(RDBValueShape(.list, count: 0))
            try encoder.append(.listElement(ByteView("too many")))
        }
        let payload = Array(try encoder.encode(string: ByteView("hello")))
        #expect(hexadecimal(payload) == "000568656c6c6f0600f59fb7f690611c99")
        #expect(encoder.valueLength == 6)
    }
}
