// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc
internal import Synchronization

/// What a server takes for another one that keys are moved to: it keeps each command that it gets, and answers what the
/// test says.
@safe
public final class StubTarget: Sendable {
    /// What a command is answered with.
    public enum Answer: Sendable {
        /// These bytes.
        case bytes([UInt8])
        /// Nothing.
        case silence
        /// The connection is closed.
        case close
    }

    /// The port that it listens on, on 127.0.0.1.
    public let port: Int

    private let listener: Int32
    private let answer: @Sendable (_ command: [String]) -> Answer
    private let state = Mutex(State())

    private struct State {
        var connections: [Int32] = []
        var connectionCount = 0
        var commands: [[[UInt8]]] = []
    }

    /// Listens; `answer` is asked about each command, whose arguments are shown as text.
    public init(answer: @escaping @Sendable (_ command: [String]) -> Answer) throws(TestClientError) {
        self.answer = answer
        port = freePort()
        listener = try StubServer.listen(port: port, backlog: 8)
        Thread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                self.state.withLock {
                    $0.connections.append(connection)
                    $0.connectionCount += 1
                }
                Thread { [weak self] in self?.serve(connection) }.start()
            }
        }.start()
    }

    /// A target of Codis 3.2 that takes everything.
    public convenience init() throws(TestClientError) {
        try self.init { command in StubTarget.acknowledgement(of: command) }
    }

    /// The commands that came, over all connections.
    public var commands: [[[UInt8]]] { state.withLock { $0.commands } }

    /// The same as lines of text.
    public var lines: [String] {
        commands.map { command in command.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ") }
    }

    /// How many connections there were.
    public var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// What a target of Codis 3.2 answers when nothing is wrong.
    public static func acknowledgement(of command: [String]) -> Answer {
        switch command.dropFirst().first {
        case "delete" where command.count == 3: .bytes(acknowledgement("0"))
        default: .bytes(acknowledgement(command[0] == "SLOTSRESTORE-ASYNC" ? "1" : "OK"))
        }
    }

    /// The bytes of an acknowledgement.
    public static func acknowledgement(_ text: String, code: String = "0") -> [UInt8] {
        var bytes: [UInt8] = []
        TestClient.encode(["SLOTSRESTORE-ASYNC-ACK", code, text].map { Array($0.utf8) }, into: &bytes)
        return bytes
    }

    /// Closes the connections; new ones may come.
    public func disconnect() {
        state.withLock { state in
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
            state.connections = []
        }
    }

    /// Ends it, and its connections.
    public func end() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        disconnect()
    }

    // MARK: Connections

    private func serve(_ connection: Int32) {
        defer { close(connection) }
        var buffer = filledBytes(0, count: 65_536)
        var input: [UInt8] = []
        while true {
            let count = unsafe recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            input.append(contentsOf: buffer[..<count])
            while let (command, length) = StubTarget.command(in: input) {
                input.removeFirst(length)
                state.withLock { $0.commands.append(command) }
                switch answer(command.map { String(decoding: $0, as: UTF8.self) }) {
                case .silence: break
                case .close: return forget(connection)
                case .bytes(let bytes): _ = unsafe send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
        forget(connection)
    }

    private func forget(_ connection: Int32) {
        state.withLock { $0.connections.removeAll { $0 == connection } }
    }

    /// The command at the start of `bytes`, and its length there; nil if it is not complete.
    private static func command(in bytes: [UInt8]) -> (arguments: [[UInt8]], length: Int)? {
        var offset = 0
        func number(_ kind: UInt8) -> Int? {
            guard offset < bytes.count, let end = bytes[offset...].firstIndex(of: 0x0A) else { return nil }
            guard bytes[offset] == kind else { return nil }
            defer { offset = end + 1 }
            return Int(String(decoding: bytes[offset + 1..<end - 1], as: UTF8.self))
        }
        guard let count = number(UInt8(ascii: "*")) else { return nil }
        var arguments: [[UInt8]] = []
        for _ in 0..<count {
            guard let length = number(UInt8(ascii: "$")), offset + length + 2 <= bytes.count else { return nil }
            arguments.append(Array(bytes[offset..<offset + length]))
            offset += length + 2
        }
        return (arguments, offset)
    }
}
