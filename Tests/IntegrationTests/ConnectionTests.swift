// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Connections")
struct ConnectionTests {
    @Test("a unix socket serves, has the permissions asked for, and goes with the server")
    func unixSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/s"
        let server = try TestServer(configuration: ["unixsocket \(path)", "unixsocketperm 700"])
        let client = try TestClient(unixSocket: path)
        #expect(try client.command("SET", "a", "b") == .ok)
        #expect(try server.command("GET", "a") == .bulk("b"))
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        #expect(try client.command("CLIENT", "LIST").text?.contains("addr=\(path):0") == true)
        try server.stop()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("a stale unix socket does not stand in the way")
    func staleUnixSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/s"
        let server = try TestServer(configuration: ["unixsocket \(path)"])
        try server.kill()
        try server.start()
        #expect(try TestClient(unixSocket: path).command("PING") == .status("PONG"))
        try server.stop()
    }

    @Test("bind takes several addresses")
    func bindSeveral() throws {
        let server = try TestServer(configuration: ["bind 127.0.0.1 127.0.0.2"])
        #expect(try TestClient(host: "127.0.0.1", port: server.port).command("PING") == .status("PONG"))
        #expect(try TestClient(host: "127.0.0.2", port: server.port).command("PING") == .status("PONG"))
        #expect(throws: TestClientError.self) { try TestClient(host: "127.0.0.3", port: server.port) }
        try server.stop()
    }

    @Test("a port that is taken is fatal")
    func portTaken() throws {
        let first = try TestServer()
        let second = try TestServer(arguments: ["--port", "\(first.port)"], starts: false)
        second.checksAfterwards = false
        try second.launch()
        try second.waitUntilEnded(expecting: .exited(1))
        #expect(second.output.contains("Address already in use"), "\(second.output)")
        try first.stop()
    }

    @Test("requirepass lets nobody in without the password")
    func password() throws {
        let server = try TestServer(configuration: ["requirepass secret"])
        let client = try server.connect()
        #expect(try client.command("GET", "a") == .error("NOAUTH Authentication required."))
        #expect(try client.command("PING") == .error("NOAUTH Authentication required."))
        #expect(try client.command("NOSUCH") == .error("ERR unknown command 'NOSUCH'"))
        #expect(try client.command("AUTH", "wrong") == .error("ERR invalid password"))
        #expect(try client.command("GET", "a") == .error("NOAUTH Authentication required."))
        #expect(try client.command("AUTH", "secret") == .ok)
        #expect(try client.command("GET", "a") == .nullBulk)
        #expect(try client.command("AUTH", "wrong") == .error("ERR invalid password"))
        #expect(try client.command("GET", "a") == .error("NOAUTH Authentication required."))
        let other = try server.connect()
        #expect(try other.command("QUIT") == .ok)
        try server.stop()
    }

    @Test("without requirepass AUTH is an error")
    func noPassword() throws {
        let server = try TestServer()
        #expect(
            try server.command("AUTH", "any") == .error("ERR Client sent AUTH, but no password is set")
        )
        try server.stop()
    }

    @Test("maxclients turns further connections away with an error")
    func maxclients() throws {
        let server = try TestServer(configuration: ["maxclients 5"])
        // The connection that waited for the server's start may still be counted for a moment.
        #expect(waitUntil { (try? server.info("connected_clients")) == "1" })
        var clients: [TestClient] = []
        for _ in 0..<5 {
            let client = try server.connect()
            #expect(try client.command("PING") == .status("PONG"))
            clients.append(client)
        }
        for _ in 0..<3 {
            let refused = try server.connect()
            let received = try refused.receiveUntilClosed()
            #expect(String(decoding: received, as: UTF8.self) == "-ERR max number of clients reached\r\n")
        }
        let rejected = try clients[0].command("INFO", "stats").text ?? ""
        #expect(rejected.contains("rejected_connections:3\r\n"), "\(rejected)")
        clients.removeLast().close()
        #expect(waitUntil { (try? server.command("PING")) == .status("PONG") })
        try server.stop()
    }

    @Test("timeout closes idle clients and spares busy ones")
    func idleTimeout() throws {
        let server = try TestServer(configuration: ["timeout 3"])
        let idle = try server.connect()
        let busy = try server.connect()
        #expect(try idle.command("PING") == .status("PONG"))
        let closed = waitUntil {
            _ = try? busy.command("PING")
            return idle.hasInput(withinMilliseconds: 10)
        }
        #expect(closed)
        #expect(throws: TestClientError.closed) { try idle.receive() }
        #expect(try busy.command("PING") == .status("PONG"))
        try server.stop()
    }

    @Test("a client over the output buffer limit is closed")
    func outputBufferLimit() throws {
        let server = try TestServer(configuration: ["client-output-buffer-limit normal 10mb 0 0"])
        let client = try server.connect()
        try client.command([Array("SET".utf8), Array("large".utf8), filledBytes(7, count: 1_000_000)])
        #expect(try client.command("GET", "large").bytes?.count == 1_000_000)
        let greedy = try server.connect()
        for _ in 0..<100 { greedy.enqueue("GET", "large") }
        try greedy.flush()
        #expect(waitUntil { (try? server.command("CLIENT", "LIST").text?.split(separator: "\n").count) == 2 })
        let received = try greedy.receiveUntilClosed()
        #expect(received.count < 100 * 1_000_000)
        #expect(try client.command("PING") == .status("PONG"))
        try server.stop()
    }

    @Test("CLIENT KILL, SETNAME and LIST see the connections")
    func clientCommand() throws {
        let server = try TestServer()
        let client = try server.connect()
        let other = try server.connect()
        #expect(try client.command("CLIENT", "SETNAME", "first") == .ok)
        #expect(try other.command("CLIENT", "SETNAME", "second") == .ok)
        #expect(try client.command("CLIENT", "GETNAME") == .bulk("first"))
        let list = try #require(try client.command("CLIENT", "LIST").text)
        let line = try #require(list.split(separator: "\n").first { $0.contains("name=second ") })
        let address = try #require(line.split(separator: " ").first { $0.hasPrefix("addr=") }).dropFirst(5)
        #expect(try client.command("CLIENT", "KILL", String(address)) == .ok)
        #expect(throws: TestClientError.self) { try other.command("PING") }
        #expect(try client.command("CLIENT", "KILL", "127.0.0.1:1") == .error("ERR No such client"))
        try server.stop()
    }
}
