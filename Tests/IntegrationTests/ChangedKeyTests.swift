// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Keys that change while they move")
struct ChangedKeyTests {
    /// A target that changes the key on the source by a script that does not declare it, each time that it gets it, and
    /// says that it has it.
    private func target(changing source: TestServer) throws -> StubServer {
        let port = source.port
        return try StubServer { connection in
            while let request = connection.readRequest() {
                let name = String(decoding: request[0], as: UTF8.self)
                if name.hasSuffix("RESTORE") {
                    let client = try? TestClient(port: port, timeoutSeconds: 30)
                    _ = try? client?.command("EVAL", "return redis.call('incr', 'k')", "0")
                }
                connection.send(name == "DEL" ? ":1\r\n" : "+OK\r\n")
            }
        }
    }

    @Test(
        "a key that a script changes whenever it was sent stays, and the source says why",
        arguments: [
            (
                ["SLOTSMGRTONE", "10000", "k"],
                "IOERR the keys were changed while they were sent to the target; they stay here"
            ),
            (
                ["MIGRATE", "k", "0", "10000"],
                "IOERR the key was changed while it was sent to the target; it stays here"
            ),
        ]
    )
    func changed(words: [String], text: String) throws {
        let source = try TestServer()
        try source.command("SET", "k", "1")
        let stub = try target(changing: source)
        let command = [words[0], "127.0.0.1", "\(stub.port)"] + words.dropFirst()
        let client = try source.connect(timeoutSeconds: 60)
        #expect(try client.command(command.map { Array($0.utf8) }) == .error(text))
        let value = try #require(try client.command("GET", "k").text.flatMap { Int($0) })
        #expect(value > 1)
        stub.end()
        try source.stop()
    }

    @Test("MIGRATE to a target that stops reading tells that it cannot write")
    func stopsReading() throws {
        let source = try TestServer()
        let gate = Gate()
        let stub = try StubServer { connection in
            _ = connection.readRequest()
            connection.send("+OK\r\n")
            _ = connection.readBytes(1000)
            gate.pass()
        }
        let client = try source.connect(timeoutSeconds: 60)
        try client.command("SET", "k", String(repeating: "v", count: 50_000_000))
        try client.command("CONFIG", "SET", "rdbcompression", "no")
        #expect(
            try client.command("MIGRATE", "127.0.0.1", "\(stub.port)", "k", "0", "1000")
                == .error("IOERR error or timeout writing to target instance")
        )
        #expect(try client.command("STRLEN", "k") == .integer(50_000_000))
        gate.open()
        stub.end()
        try source.stop()
    }
}
