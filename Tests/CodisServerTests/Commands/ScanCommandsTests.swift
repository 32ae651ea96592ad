// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("SCAN")
struct ScanCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    /// Walks from cursor 0 to its return; the keys of each page.
    private func pages(_ command: String, _ options: String = "") -> [[String]] {
        var pages: [[String]] = []
        var cursor = "0"
        repeat {
            let reply = server("\(command) \(cursor) \(options)").elements ?? []
            guard reply.count == 2, let next = reply[0].text, let keys = reply[1].elements else { return [["?"]] }
            pages.append(keys.compactMap(\.text))
            cursor = next
        } while cursor != "0" && pages.count < 10_000
        return pages
    }

    @Test("a whole iteration returns every key exactly once", arguments: [1, 5, 10, 100, 100_000])
    func everyKey(count: Int) {
        for number in 0..<500 { server("SET key:\(number) v") }
        let found = pages("SCAN", "COUNT \(count)").flatMap { $0 }
        #expect(found.count == 500)
        #expect(Set(found) == Set((0..<500).map { "key:\($0)" }))
    }

    @Test("COUNT is about what a page holds, 10 unless told")
    func pageSize() {
        for number in 0..<500 { server("SET key:\(number) v") }
        #expect(pages("SCAN")[0].count == 10)
        #expect(pages("SCAN", "COUNT 25")[0].count == 25)
    }

    @Test("keys that stay are returned though others come and go")
    func changes() {
        for number in 0..<300 { server("SET stay:\(number) v") }
        var found: Set<String> = []
        var cursor = "0"
        var step = 0
        repeat {
            let reply = server("SCAN \(cursor)").elements ?? []
            guard reply.count == 2 else { break }
            found.formUnion(reply[1].elements?.compactMap(\.text) ?? [])
            cursor = reply[0].text ?? "0"
            step += 1
            server("SET come:\(step) v")
            server("DEL come:\(step - 1)")
        } while cursor != "0"
        #expect((0..<300).allSatisfy { found.contains("stay:\($0)") })
    }

    @Test("MATCH filters the pages")
    func match() {
        for number in 0..<100 { server("SET key:\(number) v") }
        #expect(Set(pages("SCAN", "MATCH key:?").flatMap { $0 }) == Set((0..<10).map { "key:\($0)" }))
        #expect(pages("SCAN", "match * count 1000")[0].count == 100)
        #expect(pages("SCAN", "COUNT 1000 MATCH x*") == [[]])
    }

    @Test("expired keys are left out")
    func expired() {
        server("PSETEX gone 1 v")
        server("SET k v")
        server.advance(milliseconds: 2)
        #expect(pages("SCAN") == [["k"]])
    }

    @Test(
        "any cursor is safe",
        arguments: ["1", "12345678901234567", "9223372036854775808", "18446744073709551615", "-1"]
    )
    func anyCursor(cursor: String) {
        for number in 0..<50 { server("SET key:\(number) v") }
        #expect(server("SCAN \(cursor)").elements?.count == 2)
    }

    @Test(
        "SCAN refuses what it cannot understand",
        arguments: [
            ("SCAN x", "ERR invalid cursor"), ("SCAN 18446744073709551616", "ERR invalid cursor"),
            ("SCAN 5x", "ERR invalid cursor"), ("SCAN 0 COUNT", "ERR syntax error"),
            ("SCAN 0 COUNT 0", "ERR syntax error"), ("SCAN 0 COUNT -5", "ERR syntax error"),
            ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"), ("SCAN 0 FOO bar", "ERR syntax error"),
            ("SCAN 0 MATCH", "ERR syntax error"), ("SCAN", "ERR wrong number of arguments for 'scan' command"),
        ]
    )
    func refusals(line: String, text: String) {
        #expect(server(line) == .error(text))
    }

    @Test("SLOTSSCAN walks the keys of one slot")
    func slotsscan() {
        for number in 0..<50 { server("SET {a}\(number) v") }
        server("SET foo v")
        #expect(Set(pages("SLOTSSCAN 579", "COUNT 7").flatMap { $0 }) == Set((0..<50).map { "{a}\($0)" }))
        #expect(pages("SLOTSSCAN 289") == [["foo"]])
        #expect(pages("SLOTSSCAN 0") == [[]])
    }

    @Test(
        "SLOTSSCAN checks slot, cursor, the number of arguments and the count, in this order",
        arguments: [
            ("SLOTSSCAN 1024 x", "ERR invalid slot number = 1024"), ("SLOTSSCAN -1 0", "ERR invalid slot number = -1"),
            ("SLOTSSCAN x 0", "ERR value is not an integer or out of range"),
            ("SLOTSSCAN 0 x COUNT", "ERR invalid cursor"),
            ("SLOTSSCAN 0 0 COUNT", "ERR wrong number of arguments for 'slotsscan' command"),
            ("SLOTSSCAN 0 0 FOO 1", "ERR syntax error"), ("SLOTSSCAN 0 0 COUNT 0", "ERR syntax error"),
            ("SLOTSSCAN 0 0 COUNT x", "ERR syntax error"),
        ]
    )
    func slotsscanErrors(line: String, text: String) {
        #expect(server(line) == .error(text))
    }
}
