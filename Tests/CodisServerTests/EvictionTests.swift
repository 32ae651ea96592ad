// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("maxmemory")
struct EvictionTests {
    /// A server with 200 keys, of which those of even number expire, and a limit at their size.
    private func full(_ policy: String) throws -> CommandHarness {
        let redis = try CommandHarness()
        for number in 0..<200 {
            redis("SET key:\(number) value")
            if number % 2 == 0 { redis("PEXPIRE key:\(number) \(1_000_000 + number * 1000)") }
        }
        redis("CONFIG SET maxmemory-policy \(policy)")
        redis("CONFIG SET maxmemory \(try used(redis))")
        return redis
    }

    private func used(_ redis: CommandHarness) throws -> Int {
        let lines = redis("INFO memory").text?.split(separator: "\r\n") ?? []
        let line = try #require(lines.first { $0.hasPrefix("used_memory:") })
        return try #require(Int(line.dropFirst("used_memory:".count)))
    }

    private func evicted(_ redis: CommandHarness) -> Int {
        let lines = redis("INFO stats").text?.split(separator: "\r\n") ?? []
        return lines.first { $0.hasPrefix("evicted_keys:") }.flatMap { Int($0.dropFirst("evicted_keys:".count)) } ?? -1
    }

    @Test(
        "keys go so that others can be set, and the data stay within the limit",
        arguments: ["allkeys-random", "allkeys-lru", "volatile-random", "volatile-lru", "volatile-ttl"]
    )
    func evicts(policy: String) throws {
        let redis = try full(policy)
        let limit = try used(redis)
        for number in 0..<60 { #expect(redis("SET new:\(number) value") == .ok) }
        // The last command may add beyond the limit, as in Redis: eviction comes before a command.
        #expect(try used(redis) <= limit + 100)
        #expect(evicted(redis) >= 30)
        if policy.hasPrefix("volatile") {
            for number in stride(from: 1, to: 200, by: 2) { #expect(redis("EXISTS key:\(number)") == .integer(1)) }
        }
        let dels = try redis.effectLines.filter { $0.hasPrefix("DEL ") }
        #expect(dels.count == evicted(redis))
    }

    @Test("volatile-ttl takes the keys that would expire first")
    func timeToLive() throws {
        let redis = try full("volatile-ttl")
        for number in 0..<20 { redis("SET new:\(number) value") }
        let count = evicted(redis)
        for index in 0..<100 { #expect(redis("EXISTS key:\(2 * index)") == .integer(index < count ? 0 : 1)) }
    }

    @Test("allkeys-lru spares the keys that are used")
    func leastRecentlyUsed() throws {
        let redis = try full("allkeys-lru")
        redis("CONFIG SET maxmemory-samples 10")
        redis.advance(milliseconds: 100_000)
        for number in 0..<50 { redis("GET key:\(number)") }
        redis.advance(milliseconds: 1000)
        for number in 0..<50 { redis("SET new:\(number) value") }
        let spared = (0..<50).count { redis("EXISTS key:\($0)") == .integer(1) }
        #expect(spared >= 45)
        #expect(evicted(redis) >= 30)
    }

    @Test("with nothing that may be evicted, what could make the data grow is refused and all else is served")
    func nothingToEvict() throws {
        let refusal = TestReply.error("OOM command not allowed when used memory > 'maxmemory'.")
        let redis = try CommandHarness()
        redis("SET a 1")
        redis("CONFIG SET maxmemory 1")
        redis("CONFIG SET maxmemory-policy volatile-lru")
        #expect(redis("SET b 1") == refusal)
        redis("CONFIG SET maxmemory-policy noeviction")
        #expect(redis("SET b 1") == refusal)
        #expect(redis("GET a") == .bulk("1"))
        #expect(redis("EXPIRE a 100") == .integer(1))
        #expect(redis("DEL a") == .integer(1))
        #expect(redis("SET b 1") == .ok)
    }

    @Test("a limit far below the data is reached in bounded steps, a command each")
    func farBelow() throws {
        let redis = try full("allkeys-random")
        redis("CONFIG SET maxmemory 1")
        for _ in 0..<10 { redis("PING") }
        #expect(redis("DBSIZE") == .integer(0))
    }
}
