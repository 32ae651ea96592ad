// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("SORT")
struct SortCommandTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    private func sorted(_ line: String) -> [String] {
        guard let elements = server(line).elements else { return ["no array"] }
        return elements.map { $0.bytes.map { String(decoding: $0, as: UTF8.self) } ?? "(nil)" }
    }

    @Test("numbers are sorted by value, ascending or descending")
    func numbers() {
        server("RPUSH l 10 9 -5 3.5 1e2 0x10 -inf")
        #expect(sorted("SORT l") == ["-inf", "-5", "3.5", "9", "10", "0x10", "1e2"])
        #expect(sorted("SORT l DESC") == ["1e2", "0x10", "10", "9", "3.5", "-5", "-inf"])
        #expect(sorted("SORT l DESC ASC") == ["-inf", "-5", "3.5", "9", "10", "0x10", "1e2"])
        #expect(sorted("SORT missing") == [])
    }

    @Test("equal numbers are sorted by their bytes")
    func ties() {
        server("RPUSH l 1.0 1 01 1e0")
        #expect(sorted("SORT l") == ["01", "1", "1.0", "1e0"])
        #expect(sorted("SORT l DESC") == ["1e0", "1.0", "1", "01"])
    }

    @Test("ALPHA sorts by bytes")
    func texts() {
        server("RPUSH l banana Apple cherry apple ban")
        #expect(sorted("SORT l ALPHA") == ["Apple", "apple", "ban", "banana", "cherry"])
        #expect(sorted("SORT l alpha desc") == ["cherry", "banana", "ban", "apple", "Apple"])
    }

    @Test("what is no number cannot be sorted without ALPHA")
    func notNumbers() {
        for value in ["abc", "1x", "nan", "1e999"] {
            server("DEL l")
            server("RPUSH l 1 \(value)")
            #expect(server("SORT l") == .error("ERR One or more scores can't be converted into double"), "\(value)")
            #expect(
                server("SORT l STORE d") == .error("ERR One or more scores can't be converted into double"),
                "\(value)"
            )
        }
        #expect(server("EXISTS d") == .integer(0))
        server("RPUSH m 1")
        server("SET w1 text")
        #expect(server("SORT m BY w*") == .error("ERR One or more scores can't be converted into double"))
    }

    @Test("LIMIT cuts the sorted elements")
    func limit() {
        server("RPUSH l 5 3 1 4 2")
        #expect(sorted("SORT l LIMIT 1 2") == ["2", "3"])
        #expect(sorted("SORT l LIMIT 3 100") == ["4", "5"])
        #expect(sorted("SORT l LIMIT 5 1") == [])
        #expect(sorted("SORT l LIMIT -3 2") == ["1", "2"])
        #expect(sorted("SORT l LIMIT 2 -1") == ["3", "4", "5"])
        #expect(sorted("SORT l LIMIT 0 0") == [])
        #expect(sorted("SORT l LIMIT 0 9223372036854775807") == ["1", "2", "3", "4", "5"])
        #expect(sorted("SORT l BY nosort LIMIT 1 2") == ["3", "1"])
        #expect(server("SORT l LIMIT x 1") == .error("ERR value is not an integer or out of range"))
        #expect(server("SORT l LIMIT 0 x") == .error("ERR value is not an integer or out of range"))
    }

    @Test("BY sorts by the values of other keys; a missing one weighs 0, or comes first among texts")
    func weights() {
        server("RPUSH l a b c d")
        server("MSET w_a 3 w_b -1 w_c 2")
        #expect(sorted("SORT l BY w_*") == ["b", "d", "c", "a"])
        #expect(sorted("SORT l BY w_* DESC") == ["a", "c", "d", "b"])
        #expect(sorted("SORT l BY w_* LIMIT 1 2") == ["d", "c"])
        server("MSET t_a zz t_b y t_c x")
        #expect(sorted("SORT l BY t_* ALPHA") == ["d", "c", "b", "a"])
        #expect(sorted("SORT l BY t_* ALPHA DESC") == ["a", "b", "c", "d"])
        server("RPUSH list_a x")
        #expect(sorted("SORT l BY list_* ALPHA") == ["a", "b", "c", "d"])
    }

    @Test("GET replies other keys' values, the element for #, and null for what is missing or no string")
    func results() {
        server("RPUSH l 3 1 2")
        server("MSET v1 one v2 two suffix1x first")
        server("RPUSH v3 list")
        #expect(sorted("SORT l GET v*") == ["one", "two", "(nil)"])
        #expect(
            sorted("SORT l GET # GET v* GET suffix*x") == [
                "1", "one", "first", "2", "two", "(nil)", "3", "(nil)", "(nil)",
            ]
        )
        #expect(sorted("SORT l GET fixed") == ["(nil)", "(nil)", "(nil)"])
        let long = String(repeating: "long", count: 5_000)
        server.run("SET", "v3", long)
        #expect(sorted("SORT l DESC LIMIT 0 1 GET v*") == [long])
    }

    @Test("BY a pattern without a place leaves lists in their order, whatever the direction")
    func keptOrder() {
        server("RPUSH l c a b")
        #expect(sorted("SORT l BY nosort") == ["c", "a", "b"])
        #expect(sorted("SORT l BY nosort DESC") == ["c", "a", "b"])
        #expect(sorted("SORT l BY nosort GET #") == ["c", "a", "b"])
        #expect(sorted("SORT l BY nosort BY x*") == ["c", "a", "b"])
    }

    @Test("STORE makes a list of the result, in place of whatever was there")
    func storing() {
        server("RPUSH l 3 1 2")
        server("SETEX d 100 text")
        #expect(server("SORT l STORE d") == .integer(3))
        #expect(sorted("LRANGE d 0 -1") == ["1", "2", "3"])
        #expect(server("TTL d") == .integer(-1))
        #expect(server("OBJECT ENCODING d") == .bulk("ziplist"))
        server("SET v1 one")
        #expect(server("SORT l GET v* GET # STORE d") == .integer(6))
        #expect(sorted("LRANGE d 0 -1") == ["one", "1", "", "2", "", "3"])
        #expect(server("SORT l DESC STORE l") == .integer(3))
        #expect(sorted("LRANGE l 0 -1") == ["3", "2", "1"])
    }

    @Test("STORE of nothing deletes the destination")
    func storingNothing() {
        server("SET d text")
        #expect(server("SORT missing STORE d") == .integer(0))
        #expect(server("EXISTS d") == .integer(0))
        #expect(server("SORT missing STORE d") == .integer(0))
    }

    @Test("a small sorted set has the other form after SORT, as in 2.8; nothing else tells it from one that has not")
    func sortedSets() throws {
        let redis = try CommandHarness()
        redis("ZADD z 2 b 1 a")
        let digest = redis("DEBUG DIGEST")
        #expect(redis("OBJECT ENCODING z") == .bulk("ziplist"))
        #expect(redis("SORT z ALPHA DESC") == .bulks("b", "a"))
        #expect(redis("OBJECT ENCODING z") == .bulk("skiplist"))
        #expect(redis("DEBUG DIGEST") == digest)
        // It is no change for the log, as in 2.8: a replica or the next start has the first form until it grows.
        #expect(try redis.effectLines == ["SELECT 0", "ZADD z 2 b 1 a"])
        let replayed = try CommandHarness(replaying: redis.effects)
        #expect(replayed("OBJECT ENCODING z") == .bulk("ziplist"))
        for command in ["ZADD z 3 c", "ZRANGE z 0 -1 WITHSCORES", "ZREM z a", "ZRANK z c", "DEBUG DIGEST"] {
            #expect(replayed(command) == redis(command), "\(command)")
        }
    }

    @Test("many elements are sorted, and stored as a linked list")
    func many() {
        for start in stride(from: 0, to: 5_000, by: 500) {
            server.run(["LPUSH", "l"] + (start..<(start + 500)).map { String($0 * 7919 % 5_000) })
        }
        #expect(sorted("SORT l") == (0..<5_000).map(String.init))
        #expect(server("SORT l DESC STORE d") == .integer(5_000))
        #expect(sorted("LRANGE d 0 -1") == (0..<5_000).reversed().map(String.init))
        #expect(server("OBJECT ENCODING d") == .bulk("linkedlist"))
        server.run("LSET", "d", "7", String(repeating: "9", count: 3_000))
        #expect(sorted("SORT d ALPHA LIMIT 4999 1") == [String(repeating: "9", count: 3_000)])
    }

    @Test("expired weights are missing ones")
    func expiredWeights() {
        server("RPUSH l a b")
        server("SET w_b -1")
        server("PSETEX w_a 10 -5")
        #expect(sorted("SORT l BY w_*") == ["a", "b"])
        server.advance(milliseconds: 11)
        #expect(sorted("SORT l BY w_* GET w_*") == ["-1", "(nil)"])
    }

    @Test(
        "options are words of SORT with their arguments",
        arguments: [
            "SORT l FOO", "SORT l BY", "SORT l GET", "SORT l STORE", "SORT l LIMIT 1", "SORT l LIMIT", "SORT l ASC x",
        ]
    )
    func syntax(command: String) {
        server("RPUSH l 1")
        #expect(server(command) == .error("ERR syntax error"))
    }

    @Test("strings and other types cannot be sorted")
    func wrongType() {
        server("SET s text")
        #expect(server("SORT s FOO") == .error("WRONGTYPE Operation against a key holding the wrong kind of value"))
    }

    @Test("only STORE enters the log")
    func effects() throws {
        server("RPUSH l 2 1")
        server("SORT l")
        server("SORT l STORE d")
        server("SORT missing STORE d")
        server("SORT missing STORE d")
        #expect(
            try server.effectLines == ["SELECT 0", "RPUSH l 2 1", "SORT l STORE d", "SORT missing STORE d"]
        )
    }
}
