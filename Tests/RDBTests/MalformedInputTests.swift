// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
internal import RDB
internal import Testing

@Suite("Damaged payloads and files")
struct MalformedInputTests {
    private static let payloads: [[UInt8]] = {
        var all = (DumpVector.all + DumpVector.newer).map { hex($0.payload) }
        let pairs = (0..<12).map { Item.field(text("field-\($0)"), text(String(repeating: "\($0 * 7)", count: $0))) }
        let long = String(repeating: "the same again and again, ", count: 16)
        for items in [pairs, strings(long), elements(long, "1", long, "-70000", "end")] {
            for form in [RDBValueShape.Form.plain, .compact] {
                for compresses in [true, false] {
                    if let payload = try? encode(items, form, compresses: compresses) { all.append(payload) }
                }
            }
        }
        all.append(withFooter(hex("09 0e 02 01 66 02 01 7631 aa 01 67 01 00 77 ff")))
        all.append(withFooter(hex("12 02 02 0b 0b0000000200 0101 0201 ff 01 05 68656c6c6f"), version: 10))
        return all
    }()

    /// Either gives elements or throws; the elements are touched, so that a view beyond its memory would show.
    private func decodeAnyway(_ payload: [UInt8]) -> Bool { (try? decode(payload)) != nil }

    @Test("every cut of a payload, with a footer made to fit, is refused or read, and never traps", arguments: payloads)
    func cuts(payload: [UInt8]) {
        let body = payload.dropLast(10)
        for length in 0..<body.count {
            let isRead = decodeAnyway(withFooter(Array(body.prefix(length)), version: 12))
            // A plain string of no length, or the like, may be whole by chance, but never a packed value.
            if let type = body.first, type >= 9 { #expect(!isRead, "cut at \(length)") }
        }
    }

    @Test(
        "every changed byte of a payload, with a footer made to fit, is refused or read, and never traps",
        arguments: payloads
    )
    func changes(payload: [UInt8]) {
        var generator = SeededGenerator()
        let body = Array(payload.dropLast(10))
        let telling: [UInt8] = [0, 0x7F, 0x80, 0x81, 0xC3, 0xF0, 0xFE, 0xFF]
        for index in 0..<min(body.count, 150) {
            for value in telling + [body[index] ^ 0x10] {
                var changed = body
                changed[index] = value
                _ = decodeAnyway(withFooter(changed, version: 12))
            }
        }
        for _ in 0..<200 {
            var changed = body
            for _ in 0..<generator.number(1...6) {
                changed[generator.number(0...changed.count - 1)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = decodeAnyway(withFooter(changed, version: 12))
        }
    }

    @Test("random bytes as a value of every type are refused or read, and never trap")
    func noise() {
        var generator = SeededGenerator()
        for type in UInt8(0)...26 {
            for _ in 0..<300 {
                let noise = (0..<generator.number(0...60)).map { _ in
                    generator.oneIn(2) ? UInt8.random(in: 0...255, using: &generator) : UInt8(generator.number(0...3))
                }
                _ = decodeAnyway(withFooter([type] + noise, version: 12))
            }
        }
    }

    @Test("every cut of a file is short, and every changed byte is found or harmless")
    func files() throws {
        let whole = try file(RDBFileTests.sample)
        for length in 0..<whole.count {
            #expect(throws: RDBError.self) { try content(of: Array(whole.prefix(length))) }
        }
        var unchecked = RDBReader.Options()
        unchecked.verifiesChecksum = false
        unchecked.skipsUnsupported = true
        var generator = SeededGenerator()
        for index in 0..<whole.count {
            var changed = whole
            changed[index] ^= UInt8(generator.number(1...255))
            _ = try? content(of: changed, options: unchecked)
            // The last digit of the version: a file of one before 5 has no checksum.
            if index == 8, UInt8(ascii: "1")...UInt8(ascii: "4") ~= changed[index] { continue }
            #expect(throws: RDBError.self, "byte \(index)") { try content(of: changed) }
        }
    }
}
