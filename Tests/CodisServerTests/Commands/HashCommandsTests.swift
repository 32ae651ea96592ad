// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Hash commands")
struct HashCommandsTests {
    private let server: CommandHarness

    init() throws { server = try CommandHarness() }

    @Test("HSET replies 1 for a new field and 0 for a changed one; HGET finds it, and null without field or key")
    func setAndGet() {
        #expect(server("HSET h f v") == .integer(1))
        #expect(server("HSET h f w") == .integer(0))
        #expect(server("HGET h f") == "w")
        #expect(server("HGET h g") == .nullBulk)
        #expect(server("HGET missing f") == .nullBulk)
        #expect(server.run("HSET", "h", "", "") == .integer(1))
        #expect(server.run("HGET", "h", "") == "")
        #expect(server("TYPE h") == .status("hash"))
    }

    @Test("HSETNX sets a field that is not there, and only that")
    func setIfMissing() {
        #expect(server("HSETNX h f v") == .integer(1))
        #expect(server("HSETNX h f w") == .integer(0))
        #expect(server("HGET h f") == "v")
    }

    @Test("HMSET sets pairs, the last of a field counts; HMGET replies null for what is missing")
    func many() {
        #expect(server("HMSET h a 1 b 2 a 3") == .status("OK"))
        #expect(server("HMGET h a b c") == .array(["3", "2", .nullBulk]))
        #expect(server("HMGET missing a b") == .array([.nullBulk, .nullBulk]))
        #expect(server("HMSET h a") == .error("ERR wrong number of arguments for 'hmset' command"))
        #expect(server("HMSET h a 1 b") == .error("ERR wrong number of arguments for HMSET"))
    }

    @Test("HDEL counts what was there, and the key goes with its last field")
    func delete() {
        server("HMSET h a 1 b 2 c 3")
        #expect(server("HDEL h a nothing a") == .integer(1))
        #expect(server("HDEL h b c d") == .integer(2))
        #expect(server("EXISTS h") == .integer(0))
        #expect(server("HDEL h a") == .integer(0))
    }

    @Test("HLEN, HEXISTS, HKEYS, HVALS and HGETALL tell what there is, in the order of insertion while it is small")
    func whole() {
        server("HMSET h a 1 b 2 c 3")
        server("HSET h a one")
        #expect(server("HLEN h") == .integer(3))
        #expect(server("HEXISTS h b") == .integer(1))
        #expect(server("HEXISTS h x") == .integer(0))
        #expect(server("HKEYS h") == .array(["a", "b", "c"]))
        #expect(server("HVALS h") == .array(["one", "2", "3"]))
        #expect(server("HGETALL h") == .array(["a", "one", "b", "2", "c", "3"]))
        for command in ["HKEYS", "HVALS", "HGETALL"] { #expect(server("\(command) missing") == .array([])) }
        #expect(server("HLEN missing") == .integer(0))
        #expect(server("HEXISTS missing f") == .integer(0))
    }

    @Test("HINCRBY counts from 0, refuses text and overflow, and leaves the field alone then")
    func count() {
        #expect(server("HINCRBY h f 5") == .integer(5))
        #expect(server("HINCRBY h f -8") == .integer(-3))
        #expect(server("HINCRBY h f x") == .error("ERR value is not an integer or out of range"))
        server("HMSET h text abc max 9223372036854775807 min -9223372036854775808")
        #expect(server("HINCRBY h text 1") == .error("ERR hash value is not an integer"))
        #expect(server("HINCRBY h max 1") == .error("ERR increment or decrement would overflow"))
        #expect(server("HINCRBY h min -1") == .error("ERR increment or decrement would overflow"))
        #expect(server("HINCRBY h max -1") == .integer(9_223_372_036_854_775_806))
        #expect(server("HGET h text") == "abc")
    }

    @Test("HINCRBYFLOAT counts in long doubles, and refuses what is no number")
    func countFractions() {
        #expect(server("HINCRBYFLOAT h f 10.5") == "10.5")
        #expect(server("HINCRBYFLOAT h f 0.1") == "10.6")
        server("HSET h exponent 5.0e3")
        #expect(server("HINCRBYFLOAT h exponent 2.0e2") == "5200")
        #expect(server("HINCRBYFLOAT h f x") == .error("ERR value is not a valid float"))
        server("HSET h text abc")
        #expect(server("HINCRBYFLOAT h text 1") == .error("ERR hash value is not a valid float"))
    }

    @Test("HSCAN replies small hashes whole and meets each field of a large one once", arguments: [10, 3000])
    func scan(count: Int) {
        for number in 0..<count { server("HSET h field:\(number) \(number)") }
        var seen: [String: String] = [:]
        var cursor = "0"
        repeat {
            let reply = server("HSCAN h \(cursor) COUNT 50").elements ?? []
            guard reply.count == 2, let next = reply[0].text, let pairs = reply[1].elements else {
                Issue.record("no cursor and elements")
                return
            }
            cursor = next
            if count == 10 { #expect(cursor == "0") } else { #expect(pairs.count <= 110) }
            for index in stride(from: 0, to: pairs.count, by: 2) {
                let field = pairs[index].text ?? ""
                #expect(seen.updateValue(pairs[index + 1].text ?? "", forKey: field) == nil)
            }
        } while cursor != "0"
        #expect(seen.count == count)
        #expect(seen["field:7"] == "7")
    }

    @Test("HSCAN filters by field, and checks cursor, type and options in this order")
    func scanOptions() {
        server("HMSET h aa 1 ab 2 b 3")
        #expect(server("HSCAN h 0 MATCH a*") == .array(["0", .array(["aa", "1", "ab", "2"])]))
        #expect(server("HSCAN h 99999999999999999999999") == .error("ERR invalid cursor"))
        #expect(server("HSCAN missing 0 COUNT x") == .array(["0", .array([])]))
        #expect(server("HSCAN h 0 COUNT x") == .error("ERR value is not an integer or out of range"))
        #expect(server("HSCAN h 0 COUNT 0") == .error("ERR syntax error"))
        #expect(server("HSCAN h 0 FOO 1") == .error("ERR syntax error"))
        #expect(server("HSCAN h 0 MATCH") == .error("ERR syntax error"))
    }

    @Test("a hash is a ziplist up to 512 fields of 64 bytes, and never again once it was more")
    func encodings() {
        let long = String(repeating: "x", count: 65)
        server("HSET value f \(long.dropLast())")
        #expect(server("OBJECT ENCODING value") == "ziplist")
        server("HSET value f \(long)")
        #expect(server("OBJECT ENCODING value") == "hashtable")
        server("HSET value f 1")
        #expect(server("OBJECT ENCODING value") == "hashtable")
        server("HSET field \(long) 1")
        #expect(server("OBJECT ENCODING field") == "hashtable")
        server("HINCRBY counted \(long) 1")
        #expect(server("OBJECT ENCODING counted") == "ziplist")
        for number in 0..<512 { server("HSET many \(number) v") }
        #expect(server("OBJECT ENCODING many") == "ziplist")
        server("HSET many more v")
        #expect(server("OBJECT ENCODING many") == "hashtable")
        server("CONFIG SET hash-max-ziplist-entries 1")
        server("HMSET two a 1 b 2")
        #expect(server("OBJECT ENCODING two") == "hashtable")
    }

    @Test(
        "a key of another type is refused by every command on hashes",
        arguments: [
            "HSET k f v", "HGET k f", "HMSET k f v", "HMGET k f", "HSETNX k f v", "HDEL k f", "HLEN k", "HEXISTS k f",
            "HGETALL k", "HKEYS k", "HVALS k", "HINCRBY k f 1", "HINCRBYFLOAT k f 1", "HSCAN k 0",
        ]
    )
    func wrongType(command: String) {
        server("SET k v")
        #expect(
            server(command) == .error("WRONGTYPE Operation against a key holding the wrong kind of value")
        )
        #expect(server("GET k") == "v")
    }

    @Test("commands on strings refuse a hash; RENAME, EXPIRE and a long key leave its fields")
    func otherCommands() {
        let longKey = String(repeating: "k", count: 600)
        server("HMSET h a 1 b 2")
        #expect(server("GET h") == .error("WRONGTYPE Operation against a key holding the wrong kind of value"))
        #expect(server("MGET h") == .array([.nullBulk]))
        #expect(server("EXPIRE h 100") == .integer(1))
        #expect(server("RENAME h \(longKey)") == .status("OK"))
        #expect(server("HGETALL \(longKey)") == .array(["a", "1", "b", "2"]))
        #expect(server("HSET \(longKey) c 3") == .integer(1))
        #expect(server("TTL \(longKey)") == .integer(100))
        for number in 0..<1000 { server("HSET \(longKey) field:\(number) value") }
        #expect(server("RENAME \(longKey) h") == .status("OK"))
        #expect(server("HLEN h") == .integer(1003))
        #expect(server("SET h string") == .status("OK"))
        #expect(server("GET h") == "string")
    }

    @Test(
        "fields and values of any bytes and any length are kept",
        arguments: [1, 63, 476, 477, 478, 1990, 5000, 300_000]
    )
    func lengths(length: Int) {
        let field = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 29) }
        let short = Array("f".utf8)
        let (hset, hget, key) = (Array("HSET".utf8), Array("HGET".utf8), Array("h".utf8))
        #expect(server.run([hset, key, field, value]) == .integer(1))
        #expect(server.run([hset, key, short, value]) == .integer(1))
        #expect(server.run([hset, key, field, short]) == .integer(0))
        #expect(server.run([hget, key, field]) == .bulk(short))
        #expect(server.run([hget, key, short]) == .bulk(value))
        #expect(server.run([Array("HGETALL".utf8), key]).elements?.count == 4)
        #expect(server.run([Array("HDEL".utf8), key, field]) == .integer(1))
        #expect(server.run([Array("HEXISTS".utf8), key, field]) == .integer(0))
        #expect(server.run([hset, key, short, short]) == .integer(0))
    }
}
