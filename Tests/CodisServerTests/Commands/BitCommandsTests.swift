// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Bit commands")
struct BitCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    @Test("SETBIT replies the old bit, and the string grows by zeros")
    func setbit() {
        #expect(server("SETBIT k 7 1") == .integer(0))
        #expect(server("GET k") == .bulk([1]))
        #expect(server("SETBIT k 7 0") == .integer(1))
        #expect(server("SETBIT k 20 1") == .integer(0))
        #expect(server("GET k") == .bulk([0, 0, 8]))
        #expect(server("SETBIT grown 100 0") == .integer(0))
        #expect(server("STRLEN grown") == .integer(13))
    }

    @Test("GETBIT is 0 beyond the string")
    func getbit() {
        server("SETBIT k 100001 1")
        #expect(server("GETBIT k 100001") == .integer(1))
        #expect(server("GETBIT k 100000") == .integer(0))
        #expect(server("GETBIT k 4294967295") == .integer(0))
        #expect(server("GETBIT missing 0") == .integer(0))
    }

    @Test(
        "bits are refused beyond 512 MB",
        arguments: ["SETBIT k 4294967296 1", "SETBIT k -1 1", "SETBIT k x 1", "GETBIT k 4294967296", "GETBIT k -1"]
    )
    func offsets(line: String) {
        #expect(server(line) == .error("ERR bit offset is not an integer or out of range"))
    }

    @Test("SETBIT wants a bit", arguments: ["2", "-1", "x", "20"])
    func bits(bit: String) {
        #expect(server("SETBIT k 0 \(bit)") == .error("ERR bit is not an integer or out of range"))
        #expect(server("EXISTS k") == .integer(0))
    }

    @Test(
        "BITCOUNT counts the ones of a range",
        arguments: [
            ("", 26), ("0 0", 4), ("1 1", 6), ("0 -1", 26), ("-2 -1", 7), ("5 3", 0), ("-100 -50", 4), ("6 9", 0),
        ]
    )
    func bitcount(range: String, ones: Int64) {
        server("SET k foobar")
        #expect(server("BITCOUNT k \(range)") == .integer(ones))
        #expect(server("BITCOUNT missing \(range)") == .integer(0))
    }

    @Test("BITCOUNT with half a range is a syntax error unless the key is missing")
    func bitcountSyntax() {
        server("SET k v")
        #expect(server("BITCOUNT k 1") == .error("ERR syntax error"))
        #expect(server("BITCOUNT k 1 2 3") == .error("ERR syntax error"))
        #expect(server("BITCOUNT k a 2") == .error("ERR value is not an integer or out of range"))
        #expect(server("BITCOUNT missing 1") == .integer(0))
    }

    @Test("BITCOUNT, BITPOS and BITOP agree with counting one by one, on strings of any size")
    func againstModel() {
        var random = SeededGenerator(seed: nil)
        for _ in 0..<60 {
            let sources = (0..<random.number(1...3)).map { _ in
                let length = random.number(0...10) * random.pick([1, 7, 1000])
                let filler: UInt8 = random.pick([0, 255, 90])
                return (0..<length).map { _ in random.oneIn(50) ? UInt8(random.number(0...255)) : filler }
            }
            check(sources, &random)
        }
    }

    private func check(_ sources: [[UInt8]], _ random: inout SeededGenerator) {
        server("FLUSHALL")
        for (index, source) in sources.enumerated() where !source.isEmpty || random.oneIn(2) {
            server.run([Array("SET".utf8), Array("s\(index)".utf8), source])
        }
        let first = sources[0]
        if server("EXISTS s0") == .integer(1) {
            let start = random.number(-20...20)
            let end = random.number(-20...9000)
            let range = BitModel.range(start, end, first.count)
            let part = range.map { Array(first[$0]) } ?? []
            #expect(
                server("BITCOUNT s0 \(start) \(end)") == .integer(Int64(BitModel.ones(part))),
                "seed \(random.seed)"
            )
            for bit in 0...1 {
                let found = BitModel.position(of: bit, in: part).map { $0 + (range?.lowerBound ?? 0) * 8 } ?? -1
                #expect(server("BITPOS s0 \(bit) \(start) \(end)") == .integer(Int64(found)), "seed \(random.seed)")
            }
        }
        let names = sources.indices.map { "s\($0)" }.joined(separator: " ")
        for operation in ["AND", "or", "XoR"] {
            let result = BitModel.combine(operation.lowercased(), sources)
            #expect(server("BITOP \(operation) t \(names)") == .integer(Int64(result.count)), "seed \(random.seed)")
            #expect(server("GET t") == (result.isEmpty ? .nullBulk : .bulk(result)), "seed \(random.seed)")
        }
        #expect(server("BITOP NOT t s0") == .integer(Int64(first.count)))
        #expect(server("GET t") == (first.isEmpty ? .nullBulk : .bulk(first.map { ~$0 })), "seed \(random.seed)")
    }

    @Test("BITOP replaces its target and drops its time to live; an empty result deletes it")
    func bitopTarget() {
        server.run([Array("SET".utf8), [97], [0xAA, 0x0F]])
        server("SETEX t 100 old")
        #expect(server("BITOP AND t a missing") == .integer(2))
        #expect(server("GET t") == .bulk([0, 0]))
        #expect(server("TTL t") == .integer(-1))
        #expect(server("BITOP NOT a a") == .integer(2))
        #expect(server("GET a") == .bulk([0x55, 0xF0]))
        #expect(server("BITOP OR t missing missing2") == .integer(0))
        #expect(server("EXISTS t") == .integer(0))
    }

    @Test("BITOP refuses unknown operations, and NOT of several")
    func bitopErrors() {
        #expect(server("BITOP NAND t a b") == .error("ERR syntax error"))
        #expect(
            server("BITOP NOT t a b") == .error("ERR BITOP NOT must be called with a single source key.")
        )
    }

    @Test(
        "BITPOS counts a string without end as followed by zeros",
        arguments: [
            ("0", "", 24), ("0", "0", 24), ("0", "1", 24), ("0", "0 -1", -1), ("0", "0 2", -1), ("1", "", 0),
            ("1", "1", 8), ("1", "5", -1), ("0", "5", -1), ("1", "2 1", -1),
        ]
    )
    func bitposOfOnes(bit: String, range: String, position: Int64) {
        server.run([Array("SET".utf8), [107], [255, 255, 255]])
        #expect(server("BITPOS k \(bit) \(range)") == .integer(position))
    }

    @Test("BITPOS of a missing key is 0 for 0 and -1 for 1; of an empty one -1")
    func bitposMissing() {
        #expect(server("BITPOS k 0") == .integer(0))
        #expect(server("BITPOS k 1") == .integer(-1))
        server.run("SET", "k", "")
        #expect(server("BITPOS k 0") == .integer(-1))
        #expect(server("BITPOS k 1") == .integer(-1))
    }

    @Test("BITPOS wants a bit, and at most a range")
    func bitposErrors() {
        server("SET k v")
        #expect(server("BITPOS k 2") == .error("ERR The bit argument must be 1 or 0."))
        #expect(server("BITPOS k x") == .error("ERR value is not an integer or out of range"))
        #expect(server("BITPOS k 1 0 1 2") == .error("ERR syntax error"))
        #expect(server("BITPOS k 1 a") == .error("ERR value is not an integer or out of range"))
    }
}

/// Bits one at a time.
private enum BitModel {
    static func range(_ start: Int, _ end: Int, _ length: Int) -> Range<Int>? {
        let first = max(0, start < 0 ? start + length : start)
        let last = min(length - 1, max(0, end < 0 ? end + length : end))
        return first <= last ? first..<(last + 1) : nil
    }

    static func ones(_ bytes: [UInt8]) -> Int {
        (0..<(bytes.count * 8)).count { isSet(bytes, $0) }
    }

    static func position(of bit: Int, in bytes: [UInt8]) -> Int? {
        (0..<(bytes.count * 8)).first { isSet(bytes, $0) == (bit == 1) }
    }

    private static func isSet(_ bytes: [UInt8], _ index: Int) -> Bool {
        bytes[index / 8] & (0x80 >> UInt8(index % 8)) != 0
    }

    static func combine(_ operation: String, _ sources: [[UInt8]]) -> [UInt8] {
        let length = sources.map(\.count).max() ?? 0
        let padded = sources.map { $0 + [UInt8](repeating: 0, count: length - $0.count) }
        return (0..<length).map { index in
            padded.dropFirst().reduce(padded[0][index]) { result, source in
                switch operation {
                case "and": result & source[index]
                case "or": result | source[index]
                default: result ^ source[index]
                }
            }
        }
    }
}
