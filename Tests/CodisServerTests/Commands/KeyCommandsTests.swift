// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Key commands")
struct KeyCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    @Test("DEL counts the keys it deletes")
    func del() {
        server("MSET a 1 b 2 c 3")
        #expect(server("DEL a x c a") == .integer(2))
        #expect(server("DBSIZE") == .integer(1))
    }

    @Test("an expired key does not count for DEL, nor for EXISTS")
    func expiredKeys() {
        server("PSETEX k 10 v")
        server.advance(milliseconds: 11)
        #expect(server("DEL k") == .integer(0))
        server("PSETEX k 10 v")
        server.advance(milliseconds: 11)
        #expect(server("EXISTS k") == .integer(0))
    }

    @Test("EXISTS takes one key")
    func exists() {
        server("SET k v")
        #expect(server("EXISTS k") == .integer(1))
        #expect(server("EXISTS x") == .integer(0))
        #expect(server("EXISTS k x") == .error("ERR wrong number of arguments for 'exists' command"))
    }

    @Test("TYPE names the type, none without key")
    func type() {
        server("SET k v")
        #expect(server("TYPE k") == .status("string"))
        #expect(server("TYPE x") == .status("none"))
    }

    @Test("RENAME replaces the target and takes the expiry along")
    func rename() {
        server("SETEX a 100 1")
        server("SET b 2")
        #expect(server("RENAME a b") == .ok)
        #expect(server("GET b") == .bulk("1"))
        #expect(server("TTL b") == .integer(100))
        #expect(server("EXISTS a") == .integer(0))
        server("SET c 3")
        server("RENAME c b")
        #expect(server("TTL b") == .integer(-1))
    }

    @Test("RENAME moves a large value whole")
    func renameLarge() {
        let value = [UInt8](repeating: 7, count: 50_000)
        server.run([Array("SET".utf8), [97], value])
        #expect(server("RENAME a b") == .ok)
        #expect(server("GET b") == .bulk(value))
        #expect(server("APPEND b x") == .integer(50_001))
    }

    @Test("RENAME to itself is an error, also when the key is missing", arguments: ["RENAME", "RENAMENX"])
    func renameToItself(command: String) {
        #expect(server("\(command) a a") == .error("ERR source and destination objects are the same"))
        #expect(server("\(command) a b") == .error("ERR no such key"))
    }

    @Test("RENAMENX leaves an existing target")
    func renamenx() {
        server("MSET a 1 b 2")
        #expect(server("RENAMENX a b") == .integer(0))
        #expect(server("RENAMENX a c") == .integer(1))
        #expect(server("MGET b c") == .bulks("2", "1"))
        server("PSETEX d 10 4")
        server.advance(milliseconds: 11)
        #expect(server("RENAMENX c d") == .integer(1))
        #expect(server("TTL d") == .integer(-1))
    }

    @Test("MOVE takes a key with its expiry to another database")
    func move() {
        server("SETEX k 100 v")
        #expect(server("MOVE k 3") == .integer(1))
        #expect(server("EXISTS k") == .integer(0))
        #expect(server("MOVE k 3") == .integer(0))
        server("SET k other")
        #expect(server("MOVE k 3") == .integer(0))
        server("SELECT 3")
        #expect(server("GET k") == .bulk("v"))
        #expect(server("TTL k") == .integer(100))
    }

    @Test("MOVE refuses its own and unknown databases")
    func moveErrors() {
        server("SET k v")
        #expect(server("MOVE k 0") == .error("ERR source and destination objects are the same"))
        for index in ["16", "-1", "x", "99999999999999"] {
            #expect(server("MOVE k \(index)") == .error("ERR index out of range"))
        }
    }

    @Test("RANDOMKEY gives any of the keys, null without")
    func randomkey() {
        #expect(server("RANDOMKEY") == .nullBulk)
        server("MSET a 1 b 2 c 3")
        server("PSETEX gone 1 v")
        server.advance(milliseconds: 2)
        var seen: Set<String> = []
        for _ in 0..<200 { seen.insert(server("RANDOMKEY").text ?? "") }
        #expect(seen == ["a", "b", "c"])
        server("FLUSHDB")
        server("PSETEX gone 1 v")
        server.advance(milliseconds: 2)
        #expect(server("RANDOMKEY") == .nullBulk)
    }

    @Test(
        "KEYS takes a glob",
        arguments: [
            ("*", ["bar", "baz", "foo", "f*o"]), ("ba?", ["bar", "baz"]), ("b[a-c][rx]", ["bar"]), ("f\\*o", ["f*o"]),
            ("[^b]*", ["foo", "f*o"]), ("x*", []),
        ]
    )
    func keys(pattern: String, found: [String]) {
        server("MSET foo 1 bar 2 baz 3 f*o 4")
        server("PSETEX bag 1 v")
        server.advance(milliseconds: 2)
        let texts = server.run("KEYS", pattern).elements?.compactMap(\.text) ?? ["?"]
        #expect(texts.sorted() == found.sorted())
    }
}
