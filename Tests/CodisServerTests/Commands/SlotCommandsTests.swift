// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("Slots")
struct SlotCommandsTests {
    @Test("SLOTSHASHKEY replies a slot for each key")
    func hashKey() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSHASHKEY") == .array([]))
        #expect(
            redis.run("SLOTSHASHKEY", "a", "b", "c", "{user:1000}.name", "", "{}x")
                == .array([.integer(579), .integer(1017), .integer(879), .integer(995), .integer(0), .integer(0)])
        )
    }

    @Test("SLOTSINFO replies the slots of its range that are not empty")
    func info() throws {
        let redis = try CommandHarness()
        for key in ["a", "{a}x", "b"] { redis("SET \(key) 1") }
        let first = TestReply.array([.integer(579), .integer(2)])
        let second = TestReply.array([.integer(1017), .integer(1)])
        #expect(redis("SLOTSINFO") == .array([first, second]))
        #expect(redis("SLOTSINFO 580") == .array([second]))
        #expect(redis("SLOTSINFO 579 1") == .array([first]))
        #expect(redis("SLOTSINFO 0 0") == .array([]))
        #expect(redis("SLOTSINFO 1 2147483647") == .array([]))
        #expect(redis("SLOTSINFO 1024") == .error("ERR invalid slot number = 1024"))
        #expect(redis("SLOTSINFO 0 -1") == .error("ERR invalid slot count = -1"))
        #expect(redis("SLOTSINFO x") == .error("ERR value is not an integer or out of range"))
        #expect(redis("SLOTSINFO 0 1 2") == .error("ERR wrong number of arguments for 'slotsinfo' command"))
        redis("SELECT 1")
        #expect(redis("SLOTSINFO") == .array([]))
    }

    @Test("SLOTSSTATS replies keys, bytes, expiring keys, reads and writes of each slot that is not empty")
    func statistics() throws {
        let redis = try CommandHarness()
        for line in ["SET a 1", "SETEX {a}x 100 1", "SET b 1", "GET a", "MGET a {a}x nothing", "HSET h f v", "DEL h"] {
            redis(line)
        }
        let rows = try #require(redis("SLOTSSTATS").elements).map { $0.elements ?? [] }
        #expect(rows.map { $0.first } == [.integer(579), .integer(1017)])
        #expect(rows.map(\.count) == [6, 6])
        // Keys, expiring keys, reads, writes.
        #expect(rows[0][1] == .integer(2) && rows[0][3] == .integer(1) && rows[0][4] == .integer(3))
        #expect(rows[0][5] == .integer(2))
        #expect(try #require(rows[0][2].number) > 20)
        #expect(rows[1][1] == .integer(1) && rows[1][3] == .integer(0) && rows[1][4] == .integer(0))
        #expect(redis("SLOTSSTATS 580 1") == .array([]))
        #expect(redis("SLOTSSTATS 1 2 3") == .error("ERR wrong number of arguments for 'slotsstats' command"))
        redis("CONFIG RESETSTAT")
        #expect(redis("SLOTSSTATS 579").elements?.first?.elements?[4] == .integer(0))
    }

    @Test("SLOTSCHECK finds nothing wrong with what commands do")
    func check() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSCHECK") == .ok)
        for number in 0..<3000 { redis.run("SET", "key:\(number)", "v", "PX", "\(1 + number * 10)") }
        redis.run("SET", String(repeating: "long", count: 300), "v")
        redis("SELECT 3")
        redis("SETEX other 100 v")
        for line in ["SLOTSCHECK", "SLOTSCHECK with any words"] { #expect(redis(line) == .ok) }
        redis("SELECT 0")
        redis.advance(milliseconds: 10_000)
        #expect(redis("SLOTSCHECK") == .ok)
        // Nothing has expired by that.
        #expect(redis("DBSIZE") == .integer(3001))
        redis("FLUSHALL")
        #expect(redis("SLOTSCHECK") == .ok)
    }

    @Test("SLOTSDEL empties slots, checks all numbers first, and is in the log when it deleted something")
    func delete() throws {
        let redis = try CommandHarness()
        for key in ["a", "{a}x", "b"] { redis("SET \(key) 1") }
        #expect(redis("SLOTSDEL 579 1024") == .error("ERR invalid slot number = 1024"))
        #expect(redis("DBSIZE") == .integer(3))
        let empty = TestReply.array([.integer(579), .integer(0)])
        #expect(redis("SLOTSDEL 579 579") == .array([empty, empty]))
        #expect(redis("DBSIZE") == .integer(1))
        #expect(redis("SLOTSDEL 579") == .array([empty]))
        #expect(try redis.effectLines.suffix(2) == ["SET b 1", "SLOTSDEL 579 579"])
    }
}
