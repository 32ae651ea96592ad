// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import CommandLog
import Keyspace
import RESP
import Testing

@testable import CodisServer

@Suite("Atomic units of effects")
struct UnitTests {
    @Test("the effects of a unit stand between MULTI and EXEC, which a single one does without")
    func marks() throws {
        let redis = try CommandHarness()
        redis.server.beginUnit()
        redis("SET a 1")
        redis("SET b 2")
        redis.server.endUnit()
        redis.server.beginUnit()
        redis("SET c 3")
        redis.server.endUnit()
        redis.server.beginUnit()
        redis("GET c")
        redis.server.endUnit()
        #expect(try redis.effectLines == ["SELECT 0", "MULTI", "SET a 1", "SET b 2", "EXEC", "SET c 3"])
    }

    @Test("a unit that is to be marked stands between MULTI and EXEC with one effect and with none")
    func marked() throws {
        let redis = try CommandHarness()
        redis.server.beginUnit()
        redis.server.effects.markUnit(database: 3)
        redis.server.endUnit()
        redis.server.beginUnit()
        redis.server.effects.markUnit(database: 3)
        redis("SET a 1")
        redis.server.effects.markUnit(database: 0)
        redis.server.endUnit()
        #expect(
            try redis.effectLines == [
                "SELECT 3", "MULTI", "EXEC", "MULTI", "SELECT 0", "SET a 1", "EXEC",
            ]
        )
    }

    @Test("units within units are one, with all kinds of effects in it")
    func nesting() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        redis.server.beginUnit()
        redis("SETEX b 10 v")
        redis.server.beginUnit()
        redis("SELECT 2")
        redis("INCRBYFLOAT f 1.5")
        redis.server.endUnit()
        redis("SELECT 0")
        redis.run("set", "c", "")
        redis.server.endUnit()
        let lines = try redis.effectLines
        #expect(
            lines == [
                "SELECT 0", "SET a 1", "MULTI", "SET b v", "PEXPIREAT b \(redis.now + 10_000)", "SELECT 2", "SET f 1.5",
                "SELECT 0", "set c ", "EXEC",
            ]
        )
    }

    @Test("a unit leads an empty keyspace to the same contents, and is one commit or none of them")
    func replay() throws {
        var options = KeyspaceOptions()
        options.dirtyPages = 64
        let first = try CommandHarness(options: options)
        for number in 0..<40 {
            first.server.beginUnit()
            for key in 0..<20 { first("APPEND key:\(number):\(key % 3) \(String(repeating: "x", count: 3000))") }
            first("INCR count")
            first.server.endUnit()
        }
        let second = try CommandHarness(replaying: first.effects, options: options)
        second.now = first.now
        #expect(first.contents == second.contents)
        #expect(second("GET count") == .bulk("40"))
    }

    @Test("the frames of the log hold units whole, however long they are")
    func frames() throws {
        let directory = try TemporaryDirectory()
        let options = CommandLogOptions(segmentBytes: 1 << 20)
        let log = try CommandLog.open(directory: directory.path, options: options, replayFrom: 0) { _, _ in }
        let effects = EffectStream()
        effects.begin(log, database: 0)
        for number in 0..<20 {
            effects.append("SET", ByteView("outside"), ByteView("1"), database: 0)
            effects.beginUnit()
            for _ in 0...number { effects.append("APPEND", ByteView("inside"), ByteView("1"), database: 0) }
            #expect(effects.endUnit(longestFrame: 300))
        }
        try log.writeFrame()
        try log.shutdown()
        var frames: [String] = []
        let again = try CommandLog.open(directory: directory.path, options: options, replayFrom: 0) { payload, _ in
            frames.append(String(payload))
        }
        try again.shutdown()
        #expect(frames.count > 10)
        for frame in frames {
            #expect(frame.components("MULTI") == frame.components("EXEC"))
        }
        #expect(frames.reduce(0) { $0 + $1.components("APPEND") } == 210)
    }

    @Test("a unit that has changed as much as a transaction can hold gets a clear error")
    func limit() throws {
        var options = KeyspaceOptions()
        options.dirtyPages = 64
        options.mostDirtyPages = 1500
        let redis = try CommandHarness(options: options)
        redis.server.beginUnit()
        #expect(redis("SET first 1") == .ok)
        // Longer than what is written in one piece, and with pressure in between.
        let value = [UInt8](repeating: 0x78, count: 9 << 20)
        let words = [Array("SET".utf8), Array("second".utf8), value]
        #expect(
            redis.run(words)
                == .error(
                    "ERR The transaction or script has changed too much to be written as one: this command was not "
                        + "done. Split it into smaller ones."
                )
        )
        #expect(!redis.server.unitHasRoom(bytes: 0))
        redis.server.endUnit()
        #expect(redis("EXISTS second") == .integer(0))
        redis.server.beginUnit()
        #expect(redis.run(words) == .ok)
        redis.server.endUnit()
        #expect(redis("STRLEN second") == .integer(9 << 20))
        #expect(redis("GET first") == .bulk("1"))
    }

    @Test("a command in parts for which there is no more room in a unit is done as far as it went")
    func limitOfParts() throws {
        var options = KeyspaceOptions()
        options.dirtyPages = 64
        options.mostDirtyPages = 1500
        let redis = try CommandHarness(options: options)
        redis.server.beginUnit()
        let rest = [UInt8](repeating: 0x78, count: 500)
        let members = (0..<20_000).map { Array("\($0 &* 7919 % 20_000)".utf8) + rest }
        #expect(
            redis.run([Array("SADD".utf8), Array("set".utf8)] + members)
                == .error(
                    "ERR The transaction or script has changed too much to be written as one: a part of this command "
                        + "was not done. Split it into smaller ones."
                )
        )
        redis.server.endUnit()
        let count = redis("SCARD set")
        #expect(count != .integer(0) && count != .integer(20_000))
        #expect(try CommandHarness(replaying: redis.effects)("SCARD set") == count)
    }

    @Test("a log that ends within a unit is refused")
    func openEnd() throws {
        var request: [UInt8] = []
        request.appendRequest(["SELECT", "0"])
        request.appendRequest(["MULTI"])
        request.appendRequest(["SET", "a", "1"])
        #expect(throws: LogReplayError.self) { try CommandHarness(replaying: request) }
    }

    @Test("SAVE is refused within a unit, and a checkpoint that is asked for waits for its end")
    func checkpoints() throws {
        let redis = try CommandHarness()
        redis.server.beginUnit()
        redis("SET a 1")
        #expect(redis("SAVE") == .error("ERR SAVE is not possible within a transaction"))
        let commits = redis.server.keyspace.storageStatistics.commits
        redis.server.requestCheckpoint()
        #expect(redis.server.checkpoints.isWanted)
        #expect(redis.server.keyspace.storageStatistics.commits == commits)
        // The end of the unit would begin it on the event loop, which this test is not on.
        redis.server.checkpoints.isWanted = false
        redis.server.checkpoints.waiters = []
        redis.server.endUnit()
        #expect(redis("SAVE") == .ok)
    }
}

extension String {
    /// How often `word` occurs.
    fileprivate func components(_ word: String) -> Int { ranges(of: word).count }
}
