// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Long keys and large values")
struct LargeValueTests {
    @Test("keys of 1 byte to 1 MB are kept apart and survive")
    func keys() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let lengths = [1, 2, 100, 476, 477, 478, 491, 492, 493, 500, 503, 511, 512, 600, 4_096, 65_536, 1_048_576]
        let client = try server.connect()
        // Keys of one length differ in their last byte only.
        let keys = lengths.flatMap { length in
            (0..<3).map { filledBytes(UInt8(ascii: "k"), count: length - 1) + [UInt8($0)] }
        }
        for (index, key) in keys.enumerated() {
            try #require(try client.command([Array("SET".utf8), key, Array("value \(index)".utf8)]) == .ok)
        }
        try expect(keys, client)
        try server.killAndRestart()
        try expect(keys, try server.connect())
        try server.restart()
        let after = try server.connect()
        try expect(keys, after)
        #expect(try after.command([Array("DEL".utf8)] + keys) == .integer(Int64(keys.count)))
        #expect(try after.command("DBSIZE") == .integer(0))
        try server.stop()
    }

    @Test("values of 0 bytes to 64 MB come back as they were")
    func values() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let sizes = [0, 1, 1_000, 2_000, 4_000, 4_080, 4_081, 8_160, 16_384, 65_536, 1_000_000, 16_777_216, 67_108_864]
        let client = try server.connect(timeoutSeconds: 120)
        for size in sizes { try set(size, client) }
        for size in sizes { try expect(size, client) }
        try server.killAndRestart()
        let after = try server.connect(timeoutSeconds: 120)
        for size in sizes { try expect(size, after) }
        // Overwriting shrinks and grows them again.
        for size in sizes {
            try after.command("SET", "value:\(size)", "small")
            #expect(try after.command("GET", "value:\(size)") == .bulk("small"))
            try set(size, after)
            try expect(size, after)
        }
        try server.restart()
        let last = try server.connect(timeoutSeconds: 120)
        for size in sizes { try expect(size, last) }
        try server.stop()
    }

    @Test("parts of a large value are read and changed in place")
    func parts() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect()
        try client.command("SETRANGE", "sparse", "50000000", "end")
        #expect(try client.command("STRLEN", "sparse") == .integer(50_000_003))
        #expect(try client.command("GETRANGE", "sparse", "-5", "-1") == .bulk([0, 0] + Array("end".utf8)))
        #expect(try client.command("GETRANGE", "sparse", "0", "4") == .bulk(filledBytes(0, count: 5)))
        #expect(try client.command("APPEND", "sparse", "more") == .integer(50_000_007))
        #expect(try client.command("SETBIT", "sparse", "7", "1") == .integer(0))
        #expect(try client.command("BITPOS", "sparse", "1") == .integer(7))
        #expect(try client.command("GETRANGE", "sparse", "0", "0") == .bulk([1]))
        try server.killAndRestart()
        #expect(try server.command("GETRANGE", "sparse", "-7", "-1") == .bulk("endmore"))
        #expect(try server.command("STRLEN", "sparse") == .integer(50_000_007))
        #expect(
            try server.command("SETRANGE", "sparse", "536870911", "xy")
                == .error("ERR string exceeds maximum allowed size (512MB)")
        )
        try server.stop()
    }

    @Test(
        "a value of 512 MB, the greatest there is",
        .enabled(if: environmentSwitch("CODIS_TEST_HUGE"), "takes 2 GB of memory; CODIS_TEST_HUGE=1 runs it")
    )
    func hugeValue() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect(timeoutSeconds: 300)
        try set(536_870_912, client)
        try expect(536_870_912, client)
        #expect(
            try client.command("APPEND", "value:536870912", "x")
                == .error("ERR string exceeds maximum allowed size (512MB)")
        )
        try server.killAndRestart()
        try expect(536_870_912, try server.connect(timeoutSeconds: 300))
        try server.stop()
    }

    private func expect(_ keys: [[UInt8]], _ client: TestClient) throws {
        #expect(try client.command("DBSIZE") == .integer(Int64(keys.count)))
        for (index, key) in keys.enumerated() {
            let reply = try client.command([Array("GET".utf8), key])
            #expect(reply == .bulk("value \(index)"), "\(key.count) bytes")
        }
        let found = try #require(try client.command("KEYS", "*").elements)
        #expect(Set(found.compactMap(\.bytes)) == Set(keys))
    }

    /// Bytes that tell from their place whether a chunk is missing or twice there.
    private func value(_ size: Int) -> [UInt8] {
        var bytes = filledBytes(UInt8(truncatingIfNeeded: size), count: size)
        for place in stride(from: 0, to: size, by: 1_019) { bytes[place] = UInt8(truncatingIfNeeded: place >> 8) }
        return bytes
    }

    private func set(_ size: Int, _ client: TestClient) throws {
        let reply = try client.command([Array("SET".utf8), Array("value:\(size)".utf8), value(size)])
        try #require(reply == .ok)
    }

    private func expect(_ size: Int, _ client: TestClient) throws {
        let found = try #require(try client.command("GET", "value:\(size)").bytes)
        #expect(sameBytes(found, value(size)), "\(size) bytes")
        #expect(try client.command("STRLEN", "value:\(size)") == .integer(Int64(size)))
    }
}
