// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("DEBUG")
struct DebugCommandTests {
    @Test("DIGEST is that of Redis 2.8 for the same keys")
    func digest() throws {
        let redis = try CommandHarness()
        #expect(redis("DEBUG DIGEST") == .status(String(repeating: "0", count: 40)))
        redis("SET foo bar")
        #expect(redis("DEBUG DIGEST") == .status("d2ab4820c1be0580ea28efbfe8bfa1dc05bb802a"))
        redis("EXPIRE foo 1000")
        #expect(redis("DEBUG DIGEST") == .status("8b0c6d22108f15467022bc27c005787072eb4c4b"))
        redis("PERSIST foo")
        redis("MOVE foo 9")
        #expect(redis("DEBUG DIGEST") == .status("dc80f2e0af29acd7775c097292c2196dfc04b5d9"))
    }

    @Test("POPULATE makes keys that are not there, counts as no change, and lasts")
    func populate() throws {
        let redis = try CommandHarness()
        redis("SET key:1 mine")
        #expect(redis("DEBUG POPULATE 3") == .ok)
        #expect(redis("MGET key:0 key:1 key:2") == .bulks("value:0", "mine", "value:2"))
        #expect(redis("DEBUG POPULATE 1 other") == .ok)
        #expect(redis("GET other:0") == .bulk("value:0"))
        #expect(
            try redis.effectLines
                == ["SELECT 0", "SET key:1 mine", "SET key:0 value:0", "SET key:2 value:2", "SET other:0 value:0"]
        )
    }

    @Test("ERROR replies what it is told, with line ends turned to blanks")
    func error() throws {
        let redis = try CommandHarness()
        #expect(redis.run("DEBUG", "ERROR", "A\r\nB") == .error("A  B"))
        #expect(
            redis("DEBUG foo") == .error("ERR Unknown DEBUG subcommand or wrong number of arguments for 'foo'")
        )
    }

    @Test("OBJECT tells the encoding and the length, and nothing of a key that is not there")
    func object() throws {
        let redis = try CommandHarness()
        #expect(redis("DEBUG OBJECT a") == .error("ERR no such key"))
        redis("SET a 12345")
        guard case .status(let text) = redis("DEBUG OBJECT a") else {
            Issue.record("DEBUG OBJECT replies no status")
            return
        }
        #expect(text.hasPrefix("Value at:0x"))
        #expect(text.contains(" refcount:1 encoding:int serializedlength:3 lru:"))
        #expect(text.contains(" lru_seconds_idle:0"))
    }

    @Test("RELOAD leaves everything as it was")
    func reload() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        let digest = redis("DEBUG DIGEST")
        #expect(redis("DEBUG RELOAD") == .ok)
        #expect(redis("DEBUG DIGEST") == digest)
    }
}
