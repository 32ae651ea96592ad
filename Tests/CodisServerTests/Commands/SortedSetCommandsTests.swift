// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

/// Sorted sets in both forms: those of few members lie in the row of their key, those of more in rows of their own.
@Suite("Commands on sorted sets")
struct SortedSetCommandsTests {
    private let server: CommandHarness
    private static let notAFloat = TestReply.error("ERR value is not a valid float")
    private static let wrongType = TestReply.error(
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    )

    init() throws { server = try CommandHarness() }

    /// Puts `count` other members with great scores into the set, so that it takes the other form.
    private func fill(_ key: String, _ count: Int) {
        guard count > 0 else { return }
        let words = (0..<count).flatMap { ["\(1_000_000 + $0)", "filling member \($0)"] }
        server.run((["ZADD", key] + words).map { Array($0.utf8) })
    }

    private func bulks(_ reply: TestReply) -> [String] {
        guard case .array(let replies) = reply else { return ["\(reply)"] }
        return replies.map {
            if case .bulk(let bytes) = $0 { String(decoding: bytes, as: UTF8.self) } else { "\($0)" }
        }
    }

    @Test("ZADD tells how many members are new, and sets scores", arguments: [0, 300])
    func zadd(filling: Int) {
        fill("z", filling)
        #expect(server("ZADD z 1 a 2 b") == .integer(2))
        #expect(server("ZADD z 3 a 4 c") == .integer(1))
        #expect(server("ZADD z 3 a") == .integer(0))
        #expect(server("ZSCORE z a") == .bulk(Array("3".utf8)))
        #expect(server("ZCARD z") == .integer(Int64(3 + filling)))
        #expect(bulks(server("ZRANGE z 0 2 WITHSCORES")) == ["b", "2", "a", "3", "c", "4"])
    }

    @Test("ZADD changes nothing when one of its scores is none")
    func zaddMistakes() {
        #expect(server("ZADD z 1 a x b") == Self.notAFloat)
        #expect(server("ZADD z nan a") == Self.notAFloat)
        #expect(server.run("ZADD", "z", " 1", "a") == Self.notAFloat)
        #expect(server("ZADD z 1e400 a") == Self.notAFloat)
        #expect(server("ZADD z 1 a 2") == .error("ERR syntax error"))
        #expect(server("ZADD z 1") == .error("ERR wrong number of arguments for 'zadd' command"))
        #expect(server("EXISTS z") == .integer(0))
        server("SET s text")
        #expect(server("ZADD s 1 a") == Self.wrongType)
        #expect(server("ZADD s x a") == Self.notAFloat)
    }

    @Test(
        "Scores are replied with up to 17 digits",
        arguments: [
            ("0", "0"), ("-0", "-0"), ("1.5", "1.5"), ("3.14", "3.1400000000000001"), ("1e3", "1000"), ("-2", "-2"),
            ("0.1", "0.10000000000000001"), ("inf", "inf"), ("-inf", "-inf"), ("+inf", "inf"), ("1e17", "1e+17"),
            ("12345678901234567", "12345678901234568"), ("1e-5", "1.0000000000000001e-05"), ("0x10", "16"),
            ("5e-324", "4.9406564584124654e-324"), ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("123456789012345", "123456789012345"), ("1.", "1"), (".5", "0.5"), ("-.25", "-0.25"),
            ("99999999999999999", "1e+17"), ("00012", "12"), ("0.000001", "9.9999999999999995e-07"),
        ]
    )
    func scores(given: String, replied: String) {
        #expect(server("ZADD z \(given) a") == .integer(1))
        #expect(server("ZSCORE z a") == .bulk(Array(replied.utf8)))
        fill("z", 300)
        #expect(bulks(server("ZRANGEBYSCORE z \(replied) \(replied) WITHSCORES")) == ["a", replied])
        #expect(server("ZSCORE z a") == .bulk(Array(replied.utf8)))
        #expect(bulks(server("ZRANGE z 0 -1 WITHSCORES")).contains(replied))
    }

    @Test("ZINCRBY adds to a score, and refuses what is no number", arguments: [0, 300])
    func zincrby(filling: Int) {
        fill("z", filling)
        #expect(server("ZINCRBY z 1.5 a") == .bulk(Array("1.5".utf8)))
        #expect(server("ZINCRBY z -2 a") == .bulk(Array("-0.5".utf8)))
        #expect(server("ZINCRBY z inf b") == .bulk(Array("inf".utf8)))
        #expect(server("ZINCRBY z -inf b") == .error("ERR resulting score is not a number (NaN)"))
        #expect(server("ZSCORE z b") == .bulk(Array("inf".utf8)))
        #expect(server("ZINCRBY z x a") == Self.notAFloat)
        #expect(server("ZINCRBY z nan a") == Self.notAFloat)
        server("SET s text")
        #expect(server("ZINCRBY s 1 a") == Self.wrongType)
        #expect(server("ZINCRBY z 1") == .error("ERR wrong number of arguments for 'zincrby' command"))
    }

    @Test("ZREM takes members out, and the key goes with the last", arguments: [0, 300])
    func zrem(filling: Int) {
        fill("z", filling)
        server("ZADD z 1 a 2 b 3 c")
        #expect(server("ZREM z a x c") == .integer(2))
        #expect(server("ZREM z a") == .integer(0))
        #expect(server("ZREM missing a") == .integer(0))
        #expect(bulks(server("ZRANGE z 0 0")) == ["b"])
        for index in 0..<filling { server.run("ZREM", "z", "filling member \(index)") }
        #expect(server("ZREM z b b") == .integer(1))
        #expect(server("EXISTS z") == .integer(0))
        server("SET s text")
        #expect(server("ZREM s a") == Self.wrongType)
    }

    @Test("ZRANK and ZREVRANK tell the position of a member from either end", arguments: [0, 300])
    func zrank(filling: Int) {
        fill("z", filling)
        server("ZADD z 10 x 20 y 30 z")
        #expect(server("ZRANK z x") == .integer(0))
        #expect(server("ZRANK z z") == .integer(2))
        #expect(server("ZREVRANK z z") == .integer(Int64(filling)))
        #expect(server("ZREVRANK z x") == .integer(Int64(filling + 2)))
        #expect(server("ZRANK z nobody") == .nullBulk)
        #expect(server("ZREVRANK missing x") == .nullBulk)
        server("SET s text")
        #expect(server("ZRANK s x") == Self.wrongType)
        #expect(server("ZREVRANK s x") == Self.wrongType)
    }

    @Test("ZRANGE and ZREVRANGE take positions from either end", arguments: [0, 300])
    func zrange(filling: Int) {
        server("ZADD z -4 a -3 b -2 c -1 d")
        fill("z", filling)
        #expect(bulks(server("ZRANGE z 1 2")) == ["b", "c"])
        #expect(bulks(server("ZRANGE z 0 0 withscores")) == ["a", "-4"])
        #expect(bulks(server("ZRANGE z 2 1")) == [])
        #expect(bulks(server("ZRANGE z \(filling + 4) -1")) == [])
        #expect(bulks(server("ZRANGE z \(-filling - 3) \(-filling - 2)")) == ["b", "c"])
        #expect(bulks(server("ZRANGE z -10000 1")) == ["a", "b"])
        #expect(bulks(server("ZREVRANGE z \(filling) \(filling + 1)")) == ["d", "c"])
        #expect(bulks(server("ZREVRANGE z -2 100000 WITHSCORES")) == ["b", "-3", "a", "-4"])
        #expect(bulks(server("ZRANGE z 0 -1")).count == filling + 4)
        #expect(bulks(server("ZRANGE missing 0 -1")) == [])
        #expect(server("ZRANGE z x 1") == .error("ERR value is not an integer or out of range"))
        #expect(server("ZREVRANGE z 0 1.5") == .error("ERR value is not an integer or out of range"))
        #expect(server("ZRANGE z 0 1 SCORES") == .error("ERR syntax error"))
        #expect(server("ZRANGE z 0 1 WITHSCORES more") == .error("ERR syntax error"))
        server("SET s text")
        #expect(server("ZRANGE s 0 1") == Self.wrongType)
        #expect(server("ZREVRANGE s 0 1") == Self.wrongType)
    }

    @Test("ZRANGEBYSCORE, its reverse and ZCOUNT take scores, with or without the ends", arguments: [0, 300])
    func zrangebyscore(filling: Int) {
        server("ZADD z -inf a 1 b 2 c 3 d 4 e 5 f inf g")
        fill("z", filling)
        #expect(bulks(server("ZRANGEBYSCORE z -inf 2")) == ["a", "b", "c"])
        #expect(bulks(server("ZRANGEBYSCORE z (-inf (3")) == ["b", "c"])
        #expect(bulks(server("ZRANGEBYSCORE z (2 4")) == ["d", "e"])
        #expect(bulks(server("ZREVRANGEBYSCORE z 4 (1")) == ["e", "d", "c"])
        #expect(bulks(server("ZREVRANGEBYSCORE z 2 -inf WITHSCORES")) == ["c", "2", "b", "1", "a", "-inf"])
        #expect(bulks(server("ZRANGEBYSCORE z 4 2")) == [])
        #expect(bulks(server("ZRANGEBYSCORE z (2 2")) == [])
        #expect(bulks(server("ZRANGEBYSCORE z 6 7")) == [])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 LIMIT 0 2")) == ["b", "c"])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 limit 2 3 WITHSCORES")) == ["d", "3", "e", "4", "f", "5"])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 WITHSCORES LIMIT 20 10")) == [])
        #expect(bulks(server("ZREVRANGEBYSCORE z 10 0 LIMIT 1 2")) == ["e", "d"])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 LIMIT 3 -1")) == ["e", "f"])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 LIMIT -1 2")) == [])
        #expect(bulks(server("ZRANGEBYSCORE z 0 10 LIMIT 0 0")) == [])
        #expect(server("ZCOUNT z 2 4") == .integer(3))
        #expect(server("ZCOUNT z (2 (4") == .integer(1))
        #expect(server("ZCOUNT z -inf +inf") == .integer(Int64(7 + filling)))
        #expect(server("ZCOUNT missing 0 1") == .integer(0))
        #expect(bulks(server("ZRANGEBYSCORE missing 0 1")) == [])
    }

    @Test("Mistaken ranges of scores are refused before the key is looked at")
    func mistakenScores() {
        server("SET s text")
        let notAFloat = TestReply.error("ERR min or max is not a float")
        for command in ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZCOUNT", "ZREMRANGEBYSCORE"] {
            #expect(server("\(command) s str 1") == notAFloat)
            #expect(server("\(command) s 1 str") == notAFloat)
            #expect(server("\(command) s 1 NaN") == notAFloat)
            #expect(server("\(command) s 1 (x") == notAFloat)
            #expect(server("\(command) s 1 1") == Self.wrongType)
        }
        for command in ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"] {
            #expect(server("\(command) s 1 1 LIMIT 1") == .error("ERR syntax error"))
            #expect(server("\(command) s 1 1 LIMIT x 1") == .error("ERR value is not an integer or out of range"))
            #expect(server("\(command) s 1 1 OTHER") == .error("ERR syntax error"))
        }
    }

    @Test("ZRANGEBYLEX, its reverse and ZLEXCOUNT take members", arguments: [0, 300])
    func zrangebylex(filling: Int) {
        server("ZADD z 0 alpha 0 bar 0 cool 0 down 0 elephant 0 foo 0 great 0 hill 0 omega")
        if filling > 0 {
            let words = (0..<filling).flatMap { ["0", "zz\($0)"] }
            server.run((["ZADD", "z"] + words).map { Array($0.utf8) })
        }
        #expect(bulks(server("ZRANGEBYLEX z - [cool")) == ["alpha", "bar", "cool"])
        #expect(bulks(server("ZRANGEBYLEX z [bar [down")) == ["bar", "cool", "down"])
        #expect(bulks(server("ZRANGEBYLEX z (bar (down")) == ["cool"])
        #expect(bulks(server("ZRANGEBYLEX z (omega (zz")) == [])
        #expect(bulks(server("ZRANGEBYLEX z + -")) == [])
        #expect(bulks(server("ZRANGEBYLEX z - + LIMIT 2 2")) == ["cool", "down"])
        #expect(bulks(server("ZRANGEBYLEX z - [bar LIMIT -1 2")) == [])
        #expect(bulks(server("ZREVRANGEBYLEX z [cool -")) == ["cool", "bar", "alpha"])
        #expect(bulks(server("ZREVRANGEBYLEX z (d [bar limit 0 1")) == ["cool"])
        #expect(server("ZLEXCOUNT z - +") == .integer(Int64(9 + filling)))
        #expect(server("ZLEXCOUNT z [bar (foo") == .integer(4))
        #expect(server("ZLEXCOUNT z + [bar") == .integer(0))
        #expect(server("ZLEXCOUNT missing - +") == .integer(0))
        #expect(bulks(server("ZREVRANGEBYLEX missing + -")) == [])
    }

    @Test("Mistaken ranges of members are refused before the key is looked at")
    func mistakenMembers() {
        server("SET s text")
        let notValid = TestReply.error("ERR min or max not valid string range item")
        for command in ["ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZLEXCOUNT", "ZREMRANGEBYLEX"] {
            #expect(server("\(command) s fooz [b") == notValid)
            #expect(server("\(command) s [a b") == notValid)
            #expect(server("\(command) s -x +") == notValid)
            #expect(server.run(command, "s", "", "+") == notValid)
            #expect(server("\(command) s - +") == Self.wrongType)
        }
        #expect(server("ZRANGEBYLEX s - + LIMIT 1") == .error("ERR syntax error"))
        #expect(server("ZREVRANGEBYLEX s + - LIMIT 1 x") == .error("ERR value is not an integer or out of range"))
        #expect(server("ZRANGEBYLEX s - + WITHSCORES") == .error("ERR syntax error"))
    }

    @Test("The three ZREMRANGEBY commands remove ranges, and the key with the last member", arguments: [0, 300])
    func zremrange(filling: Int) {
        server("ZADD z 1 a 2 b 3 c 4 d 5 e")
        fill("z", filling)
        #expect(server("ZREMRANGEBYRANK z 1 2") == .integer(2))
        #expect(server("ZREMRANGEBYRANK z \(filling + 3) -1") == .integer(0))
        #expect(server("ZREMRANGEBYRANK z 2 1") == .integer(0))
        #expect(bulks(server("ZRANGE z 0 2")).prefix(3) == ["a", "d", "e"])
        #expect(server("ZREMRANGEBYSCORE z (1 4") == .integer(1))
        #expect(server("ZREMRANGEBYSCORE z 7 8") == .integer(0))
        #expect(server("ZREMRANGEBYSCORE z 0 1000") == .integer(2))
        #expect(server("ZREMRANGEBYRANK z 0 -1") == .integer(Int64(filling)))
        #expect(server("EXISTS z") == .integer(0))
        server("ZADD l 0 a 0 b 0 c 0 d")
        #expect(server("ZREMRANGEBYLEX l [b (d") == .integer(2))
        #expect(server("ZREMRANGEBYLEX l - +") == .integer(2))
        #expect(server("ZREMRANGEBYLEX l - +") == .integer(0))
        #expect(server("ZREMRANGEBYSCORE l 0 1") == .integer(0))
        #expect(server("ZREMRANGEBYRANK l 0 1") == .integer(0))
        #expect(server("ZREMRANGEBYRANK l x 1") == .error("ERR value is not an integer or out of range"))
        server("SET s text")
        #expect(server("ZREMRANGEBYRANK s 0 1") == Self.wrongType)
    }

    @Test("ZUNIONSTORE and ZINTERSTORE combine sorted sets and sets", arguments: [0, 300])
    func stores(filling: Int) {
        server("ZADD a 1 x 2 y")
        server("ZADD b 10 y 20 z")
        fill("b", filling)
        #expect(server("ZUNIONSTORE out 2 a b") == .integer(Int64(3 + filling)))
        #expect(bulks(server("ZRANGE out 0 2 WITHSCORES")) == ["x", "1", "y", "12", "z", "20"])
        #expect(server("ZINTERSTORE out 2 a b") == .integer(1))
        #expect(bulks(server("ZRANGE out 0 -1 WITHSCORES")) == ["y", "12"])
        #expect(server("ZINTERSTORE out 2 a b WEIGHTS 2 3 AGGREGATE MIN") == .integer(1))
        #expect(server("ZSCORE out y") == .bulk(Array("4".utf8)))
        #expect(server("ZINTERSTORE out 2 a b aggregate max weights 2 3") == .integer(1))
        #expect(server("ZSCORE out y") == .bulk(Array("30".utf8)))
        #expect(server("ZUNIONSTORE a 2 a a") == .integer(2))
        #expect(bulks(server("ZRANGE a 0 -1 WITHSCORES")) == ["x", "2", "y", "4"])
        #expect(server("ZINTERSTORE out 2 a missing") == .integer(0))
        #expect(server("EXISTS out") == .integer(0))
        #expect(server("ZUNIONSTORE out 1 missing") == .integer(0))
        #expect(server("ZUNIONSTORE out 2 a missing") == .integer(2))
    }

    @Test("A union of infinities of both signs, or of nothing times infinity, has the score 0")
    func infinities() {
        server("ZADD a inf x")
        server("ZADD b -inf x")
        server("ZUNIONSTORE out 2 a b")
        #expect(server("ZSCORE out x") == .bulk(Array("0".utf8)))
        server("ZUNIONSTORE out 1 a WEIGHTS 0")
        #expect(server("ZSCORE out x") == .bulk(Array("0".utf8)))
    }

    @Test("Mistaken stores are refused, and leave the destination as it is")
    func mistakenStores() {
        server("ZADD out 1 kept")
        server("ZADD a 1 x")
        server("SET s text")
        for command in ["ZUNIONSTORE", "ZINTERSTORE"] {
            #expect(
                server("\(command) out 0 a") == .error("ERR at least 1 input key is needed for ZUNIONSTORE/ZINTERSTORE")
            )
            #expect(server("\(command) out x a") == .error("ERR value is not an integer or out of range"))
            #expect(server("\(command) out 2 a") == .error("ERR syntax error"))
            #expect(server("\(command) out 2 a s") == Self.wrongType)
            #expect(server("\(command) out 1 a WEIGHTS x") == .error("ERR weight value is not a float"))
            #expect(server("\(command) out 1 a WEIGHTS") == .error("ERR syntax error"))
            #expect(server("\(command) out 1 a AGGREGATE avg") == .error("ERR syntax error"))
            #expect(server("\(command) out 1 a b") == .error("ERR syntax error"))
        }
        #expect(bulks(server("ZRANGE out 0 -1")) == ["kept"])
    }

    @Test("ZSCAN meets every member once, with its score", arguments: [0, 300])
    func zscan(filling: Int) {
        server("ZADD z 1.5 a 2 b")
        fill("z", filling)
        var members: [String: String] = [:]
        var cursor = "0"
        var seen = 0
        repeat {
            guard case .array(let parts) = server("ZSCAN z \(cursor) COUNT 20"), parts.count == 2,
                case .bulk(let next) = parts[0]
            else { return #expect(Bool(false), "no reply of ZSCAN") }
            cursor = String(decoding: next, as: UTF8.self)
            let flat = bulks(parts[1])
            for index in stride(from: 0, to: flat.count, by: 2) { members[flat[index]] = flat[index + 1] }
            seen += flat.count / 2
        } while cursor != "0"
        #expect(seen == filling + 2 && members.count == seen)
        #expect(members["a"] == "1.5" && members["b"] == "2")
        #expect(server("ZSCAN z x") == .error("ERR invalid cursor"))
        #expect(server("ZSCAN z 0 COUNT 0") == .error("ERR syntax error"))
        #expect(server("ZSCAN z 0 COUNT x") == .error("ERR value is not an integer or out of range"))
        #expect(server("ZSCAN missing 0") == .array([.bulk([0x30]), .array([])]))
        server("SET s text")
        #expect(server("ZSCAN s 0") == Self.wrongType)
    }

    @Test("Commands on a key that is no sorted set are refused")
    func wrongTypes() {
        server("SET s text")
        #expect(server("ZCARD s") == Self.wrongType)
        #expect(server("ZSCORE s a") == Self.wrongType)
        #expect(server("ZCARD missing") == .integer(0))
        #expect(server("ZSCORE missing a") == .nullBulk)
        server("ZADD z 1 a")
        #expect(server("GET z") == Self.wrongType)
        #expect(server("TYPE z") == .status("zset"))
    }

    @Test("OBJECT ENCODING goes from ziplist to skiplist by number and length of members, and stays there")
    func encodings() {
        for index in 0..<128 { server("ZADD z \(index) \(index)") }
        #expect(server("OBJECT ENCODING z") == .bulk(Array("ziplist".utf8)))
        server("ZADD z 128 128")
        #expect(server("OBJECT ENCODING z") == .bulk(Array("skiplist".utf8)))
        server("ZREMRANGEBYRANK z 3 -1")
        #expect(server("OBJECT ENCODING z") == .bulk(Array("skiplist".utf8)))
        server("ZUNIONSTORE z 1 z")
        #expect(server("OBJECT ENCODING z") == .bulk(Array("ziplist".utf8)))
        let long = String(repeating: "m", count: 65)
        server("ZADD y 1 \(long.dropLast())")
        #expect(server("OBJECT ENCODING y") == .bulk(Array("ziplist".utf8)))
        server("ZADD y 1 \(long)")
        #expect(server("OBJECT ENCODING y") == .bulk(Array("skiplist".utf8)))
        server("CONFIG SET zset-max-ziplist-entries 0")
        server("ZADD x 1 a")
        #expect(server("OBJECT ENCODING x") == .bulk(Array("skiplist".utf8)))
    }

    @Test("A time to live stays when members come and go")
    func expiry() {
        server("ZADD z 1 a")
        server("EXPIRE z 100")
        fill("z", 300)
        server("ZREM z a")
        #expect(server("TTL z") == .integer(100))
        server("ZUNIONSTORE z 1 z")
        #expect(server("TTL z") == .integer(-1))
    }

    @Test("What is propagated replays to the same sorted sets")
    func replay() throws {
        server("ZADD z 1 a 2 b")
        server("ZINCRBY z 0.1 a")
        server("ZINCRBY z 0.2 a")
        server("ZADD z 2 b")
        server("ZREM z nobody")
        server("ZUNIONSTORE u 2 z z WEIGHTS 1 3")
        server("ZREMRANGEBYRANK u 0 0")
        server("ZINTERSTORE nothing 1 missing")
        #expect(
            try server.effectLines == [
                "SELECT 0", "ZADD z 1 a 2 b", "ZINCRBY z 0.1 a", "ZINCRBY z 0.2 a", "ZUNIONSTORE u 2 z z WEIGHTS 1 3",
                "ZREMRANGEBYRANK u 0 0",
            ]
        )
    }

    @Test("Members may be long, and are told apart by their last byte")
    func longMembers() {
        let head = String(repeating: "h", count: 100_000)
        let members = (0..<20).map { "\(head)\(10 + $0)" }
        for member in members.reversed() { #expect(server.run("ZADD", "z", "7", member) == .integer(1)) }
        #expect(server.run("ZADD", "z", "7", members[3]) == .integer(0))
        #expect(bulks(server("ZRANGE z 0 -1")) == members)
        #expect(server.run("ZRANK", "z", members[5]) == .integer(5))
        #expect(server.run("ZREMRANGEBYLEX", "z", "[\(members[2])", "(\(members[5])") == .integer(3))
        #expect(server.run("ZINCRBY", "z", "1", members[0]) == .bulk(Array("8".utf8)))
        #expect(server.run("ZREVRANK", "z", members[0]) == .integer(0))
        #expect(server.run("ZREM", "z", members[1]) == .integer(1))
        #expect(server("ZCARD z") == .integer(16))
    }
}
