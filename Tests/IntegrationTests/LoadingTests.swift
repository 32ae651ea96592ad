// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("While data are loaded")
struct LoadingTests {
    private static let loading = TestReply.error("LOADING Redis is loading the dataset in memory")
    private static let keys = 400_000

    /// A server that has begun to load an append-only file for which it needs a while.
    private func loadingServer() throws -> TestServer {
        let server = try TestServer(configuration: ["appendonly yes"], starts: false)
        var file = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
        for number in 0..<Self.keys {
            let key = "key:\(number)"
            file += "*3\r\n$3\r\nSET\r\n$\(key.utf8.count)\r\n\(key)\r\n$5\r\nvalue\r\n"
        }
        try Data(file.utf8).write(to: URL(fileURLWithPath: server.directory + "/appendonly.aof"))
        try server.launch()
        return server
    }

    /// A client that was told that the data are being loaded.
    private func earlyClient(_ server: TestServer) throws -> TestClient {
        var client: TestClient?
        #expect(
            waitUntil {
                client = try? server.connect(); return client != nil
            }
        )
        let found = try #require(client)
        #expect(try found.command("GET", "key:0") == Self.loading)
        return found
    }

    @Test("clients are told so, may ask how far it is, and stay connected until everything is there")
    func answers() throws {
        let server = try loadingServer()
        let client = try earlyClient(server)
        for command in [["SET", "a", "b"], ["PING"], ["DBSIZE"], ["CONFIG", "GET", "*"], ["BGSAVE"], ["EXEC"]] {
            #expect(try client.command(command.map { Array($0.utf8) }) == Self.loading, "\(command)")
        }
        #expect(try client.command("GET") == .error("ERR wrong number of arguments for 'get' command"))
        #expect(try client.command("SELECT", "0") == .ok)
        #expect(try client.command("SUBSCRIBE", "news").elements?.first == .bulk("subscribe"))
        #expect(try client.command("UNSUBSCRIBE", "news").elements?.first == .bulk("unsubscribe"))
        let size = try #require(
            try FileManager.default.attributesOfItem(atPath: server.directory + "/appendonly.aof")[.size] as? Int
        )
        var info = ""
        // The size is known when the thread that loads has opened the file.
        #expect(
            waitUntil {
                info = (try? client.command("INFO", "persistence"))?.text ?? ""
                return info.contains("loading_total_bytes:\(size)\r\n")
            }
        )
        #expect(info.contains("\r\nloading:1\r\n"))
        let fields = ["loading_start_time", "loading_total_bytes", "loading_loaded_bytes", "loading_loaded_perc"]
        for field in fields + ["loading_eta_seconds"] { #expect(info.contains("\r\n\(field):"), "\(field)") }
        #expect(waitUntil { (try? client.command("PING")) == .status("PONG") })
        #expect(try client.command("DBSIZE") == .integer(Int64(Self.keys)))
        #expect(try client.command("INFO", "persistence").text?.contains("loading_") == false)
        #expect(try client.command("SET", "key:0", "changed") == .ok)
        try server.killAndRestart()
        #expect(try server.command("GET", "key:0") == .bulk("changed"))
        #expect(try server.command("DBSIZE") == .integer(Int64(Self.keys)))
        try server.stop()
    }

    @Test("SIGTERM and SHUTDOWN end the server at once, and the next start loads the data", arguments: [true, false])
    func ended(isSignal: Bool) throws {
        let server = try loadingServer()
        let client = try earlyClient(server)
        // There is nothing yet that could be examined.
        server.checksAfterwards = false
        if isSignal {
            try server.stop()
        } else {
            client.enqueue("SHUTDOWN")
            try client.flush()
            try server.waitUntilEnded()
        }
        server.checksAfterwards = true
        try server.start()
        #expect(try server.command("DBSIZE") == .integer(Int64(Self.keys)))
        let names = try FileManager.default.contentsOfDirectory(atPath: server.directory)
        #expect(Set(names).isSubset(of: ["appendonly.aof", "keyspace", "log"]), "\(names)")
        try server.stop()
    }
}
