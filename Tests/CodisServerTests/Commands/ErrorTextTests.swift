// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import RESP
import Testing

@testable import CodisServer

@Suite("Error texts that no other test is about")
struct ErrorTextTests {
    @Test(
        "commands that cannot be part of a transaction say so, and those around them are done",
        arguments: [
            ("DEBUG LOADAOF", "ERR DEBUG LOADAOF is not possible within a transaction"),
            ("MIGRATE 127.0.0.1 1 key 0 100", "ERR MIGRATE is not possible within a transaction or script"),
            ("SAVE", "ERR SAVE is not possible within a transaction"),
        ]
    )
    func transaction(command: String, text: String) throws {
        let redis = try CommandHarness()
        redis("SET key value")
        redis("MULTI")
        #expect(redis(command) == .status("QUEUED"))
        redis("APPEND key s")
        #expect(redis("EXEC") == .array([.error(text), .integer(6)]))
    }

    @Test(
        "arguments that cannot be are refused",
        arguments: [
            ("DEBUG SDSLEN number", "ERR Not an sds encoded string."),
            ("DEBUG SDSLEN list", "ERR Not an sds encoded string."),
            ("DEBUG SDSLEN none", "ERR no such key"),
        ]
    )
    func arguments(command: String, text: String) throws {
        let redis = try CommandHarness()
        redis("MSET key value number 1")
        redis("RPUSH list a")
        #expect(redis(command) == .error(text))
    }

    @Test("a transaction that is too long is not done")
    func longTransaction() throws {
        let redis = try CommandHarness()
        redis.server.longestTransaction = 100
        redis("MULTI")
        #expect(redis("SET a 1") == .status("QUEUED"))
        #expect(redis("SET a \(String(repeating: "x", count: 100))") == .error("ERR The transaction is too long"))
        #expect(redis("EXEC") == .error("EXECABORT Transaction discarded because of previous errors."))
        #expect(redis("EXISTS a") == .integer(0))
    }

    @Test(
        "SLOTSCHECK names the key or the slot that is wrong",
        arguments: [
            (.notFound(key: Array("a".utf8)), "ERR step 1, miss = 'a'"),
            (.notInSlot(key: Array("a".utf8)), "ERR step 2, miss = 'a'"),
            (.miscounted(slot: 579, counted: 20, found: 19), "ERR step 2, slot 579 has 19 keys and counts 20"),
        ] as [(SlotCheck.Outcome, String)]
    )
    func slotsCheck(outcome: SlotCheck.Outcome, text: String) {
        #expect(SlotCommands.errorLine(of: outcome) == Array(text.utf8))
    }

    @Test("a value in pieces stays in the database where it began")
    func pieces() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSRESTORE-PART p HMSET a 1") == .ok)
        redis("SELECT 1")
        #expect(redis("SLOTSRESTORE-PART p HMSET b 2") == .error("ERR the value arrives in another database"))
    }

    @Test("without a log to read, DEBUG LOADAOF fails and changes nothing")
    func withoutLog() throws {
        let redis = try CommandHarness()
        redis("SET key value")
        _ = try redis.effects
        let log = try #require(redis.server.effects.log)
        redis.server.effects.end()
        #expect(redis("DEBUG LOADAOF") == .error("ERR Error trying to load the AOF file"))
        #expect(redis("GET key") == .bulk("value"))
        redis.server.effects.begin(log, database: -1)
    }

    @Test(
        "what the engine cannot do is told",
        arguments: [
            (
                KeyspaceError.outOfSpace,
                "MISCONF No space left on the disk for new data. Reads and deletes are served; "
                    + "free some space and writes work again by themselves."
            ),
            (.failed("input/output error"), "MISCONF The keyspace cannot be written any more: input/output error"),
            (
                .transactionTooLarge,
                "ERR The transaction or script has changed too much to be written as one: this command was not done. "
                    + "Split it into smaller ones."
            ),
        ]
    )
    func engine(error: KeyspaceError, text: String) {
        #expect(String(decoding: CommandError(error).line, as: UTF8.self) == text)
    }
}
