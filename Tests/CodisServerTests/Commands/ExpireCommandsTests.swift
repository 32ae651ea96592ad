// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Expire commands")
struct ExpireCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    @Test("a key expires after the millisecond it names")
    func expiry() {
        server("SET k v")
        #expect(server("PEXPIRE k 100") == .integer(1))
        server.advance(milliseconds: 100)
        #expect(server("GET k") == .bulk("v"))
        #expect(server("PTTL k") == .integer(0))
        server.advance(milliseconds: 1)
        #expect(server("GET k") == .nullBulk)
        #expect(server("TTL k") == .integer(-2))
    }

    @Test("the four commands that set a time to live agree")
    func units() {
        server("SET k v")
        #expect(server("EXPIRE k 10") == .integer(1))
        #expect(server("PTTL k") == .integer(10_000))
        #expect(server("PEXPIRE k 20000") == .integer(1))
        #expect(server("TTL k") == .integer(20))
        #expect(server("EXPIREAT k \(server.now / 1000 + 30)") == .integer(1))
        #expect(server("TTL k") == .integer(30))
        #expect(server("PEXPIREAT k \(server.now + 40_000)") == .integer(1))
        #expect(server("PTTL k") == .integer(40_000))
    }

    @Test("none of them makes a key", arguments: ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
    func missing(command: String) {
        #expect(server("\(command) k 100") == .integer(0))
        #expect(server("\(command) k x") == .error("ERR value is not an integer or out of range"))
        #expect(
            server("\(command) k") == .error("ERR wrong number of arguments for '\(command.lowercased())' command")
        )
    }

    @Test("a time that is over deletes the key", arguments: ["0", "-1", "-9223372036854775808"])
    func past(amount: String) {
        for command in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
            server("SET k v")
            #expect(server("\(command) k \(amount)") == .integer(1))
            #expect(server("DBSIZE") == .integer(0))
        }
    }

    @Test("a time beyond 64 bits is refused")
    func tooFar() {
        server("SET k v")
        #expect(server("EXPIRE k 9223372036854775807") == .error("ERR invalid expire time in expire"))
        #expect(server("PEXPIRE k 9223372036854775807") == .error("ERR invalid expire time in pexpire"))
        #expect(server("TTL k") == .integer(-1))
        #expect(server("PEXPIREAT k 9223372036854775807") == .integer(1))
        #expect(server("GET k") == .bulk("v"))
    }

    @Test("TTL rounds to the nearest second", arguments: [(1499, 1), (1500, 2), (400, 0), (500, 1)])
    func rounding(milliseconds: Int, seconds: Int64) {
        server("PSETEX k \(milliseconds) v")
        #expect(server("TTL k") == .integer(seconds))
        #expect(server("PTTL k") == .integer(Int64(milliseconds)))
    }

    @Test("TTL and PTTL are -1 without expiry and -2 without key")
    func none() {
        server("SET k v")
        #expect(server("TTL k") == .integer(-1))
        #expect(server("PTTL k") == .integer(-1))
        #expect(server("TTL x") == .integer(-2))
        #expect(server("PTTL x") == .integer(-2))
    }

    @Test("PERSIST removes the time to live")
    func persist() {
        server("SETEX k 100 v")
        #expect(server("PERSIST k") == .integer(1))
        #expect(server("TTL k") == .integer(-1))
        #expect(server("PERSIST k") == .integer(0))
        #expect(server("PERSIST x") == .integer(0))
    }

    @Test("a large value keeps its bytes when its time to live changes")
    func large() {
        for length in [4_040, 4_060, 100_000] {
            let value = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
            server.run([Array("SET".utf8), [107], value])
            #expect(server("EXPIRE k 100") == .integer(1))
            #expect(server("GET k") == .bulk(value))
            #expect(server("PERSIST k") == .integer(1))
            #expect(server("GET k") == .bulk(value))
        }
    }
}
