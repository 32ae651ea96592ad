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
