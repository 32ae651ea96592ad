// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc
internal import Synchronization

/// What servers take for another server, and a test writes byte for byte: each connection is served by a function on a
/// thread of its own.
@safe
public final class StubServer: Sendable {
    /// The port that it listens on, on 127.0.0.1.
    public let port: Int

    private let listener: Int32
    private let state = Mutex(State())

    private struct State {
        var connections: [Int32] = []
        var isEnded = false
    }

    /// Listens, and has `serve` called with each connection, which is closed when that returns.
    public init(_ serve: @escaping @Sendable (StubConnection) -> Void) throws(TestClientError) {
        port = freePort()
        listener = try StubServer.listen(port: port, backlog: 64)
        Thread { [weak self, listener] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                guard let number = self?.take(descriptor) else {
                    close(descriptor)
                    return
                }
                Thread {
                    serve(StubConnection(descriptor, number: number))
                    shutdown(descriptor, Int32(SHUT_RDWR))
                }.start()
            }
        }.start()
    }

    deinit { end() }

    /// A port on which connections are never made, because whoever listens there has more of them waiting than it
    /// takes; as long as the result lives.
    public static func unreachable() throws(TestClientError) -> UnreachablePort { try UnreachablePort() }

    /// How many connections there were.
    public var connectionCount: Int { state.withLock { $0.connections.count } }

    /// Ends it, and its connections.
    public func end() {
        let descriptors = state.withLock { state in
            defer {
                state.isEnded = true
                state.connections = []
            }
            return state.isEnded ? nil : state.connections
        }
        guard let descriptors else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    private func take(_ descriptor: Int32) -> Int? {
        state.withLock { state in
            guard !state.isEnded else { return nil }
            state.connections.append(descriptor)
            return state.connections.count
        }
    }

    /// A socket that listens on `port` of 127.0.0.1.
    static func listen(port: Int, backlog: Int32) throws(TestClientError) -> Int32 {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        unsafe setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        let status = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(listener, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0, Glibc.listen(listener, backlog) == 0 else {
            throw .system(call: "listen", errorNumber: errno)
        }
        return listener
    }
}

/// A connection to a `StubServer`, used by one thread at a time.
///
/// Its descriptor stays open as long as the test's process: so no other gets its number while somebody may still use
/// it.
@safe
public final class StubConnection: @unchecked Sendable {
    // Unchecked: `input` belongs to the thread that serves the connection.
    private let descriptor: Int32
    private var input: [UInt8] = []
    /// 1 for the server's first connection.
    public let number: Int

    fileprivate init(_ descriptor: Int32, number: Int) {
        self.descriptor = descriptor
        self.number = number
        var on: Int32 = 1
        unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    /// The next request, nil at the end of the connection.
    public func readRequest() -> [[UInt8]]? {
        guard let count = readNumber(after: "*") else { return nil }
        var arguments: [[UInt8]] = []
        for _ in 0..<count {
            guard let length = readNumber(after: "$"), let bytes = readBytes(length + 2) else { return nil }
            arguments.append(bytes.dropLast(2))
        }
        return arguments
    }

    /// Reads the next request and gives its name; nil if that is `name`, in which case nothing behind it was read, or
    /// at the end of the connection.
    public func readRequest(namedUntil name: String) -> String? {
        guard let count = readNumber(after: "*") else { return nil }
        var found: String?
        for index in 0..<count {
            guard let length = readNumber(after: "$"), let bytes = readBytes(length + 2) else { return nil }
            guard index == 0 else { continue }
            found = String(decoding: bytes.dropLast(2), as: UTF8.self)
            if found == name { return nil }
        }
        return found
    }

    /// The next `count` bytes, nil at the end of the connection.
    public func readBytes(_ count: Int) -> [UInt8]? {
        while input.count < count { guard fill() else { return nil } }
        defer { input.removeFirst(count) }
        return Array(input.prefix(count))
    }

    /// Sends `text` as it is.
    public func send(_ text: String) {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }

    /// Waits until the other end closes the connection.
    public func waitForEnd() { while fill() { input = [] } }

    private func readNumber(after mark: String) -> Int? {
        while true {
            if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: input[..<end], as: UTF8.self).trimmingCharacters(in: .newlines)
                input.removeFirst(end + 1)
                return line.hasPrefix(mark) ? Int(line.dropFirst()) : nil
            }
            guard fill() else { return nil }
        }
    }

    private func fill() -> Bool {
        var buffer = filledBytes(0, count: 65_536)
        let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        input.append(contentsOf: buffer[..<count])
        return true
    }
}

/// A port whose queue of connections is full.
@safe
public final class UnreachablePort {
    /// The port, on 127.0.0.1.
    public let port: Int
    private let listener: Int32
    private var fillers: [Int32] = []

    fileprivate init() throws(TestClientError) {
        port = freePort()
        listener = try StubServer.listen(port: port, backlog: 0)
        for _ in 0..<8 {
            let flags = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let filler = socket(AF_INET, flags, 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
            _ = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    unsafe connect(filler, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            fillers.append(filler)
        }
    }

    deinit {
        for filler in fillers { close(filler) }
        close(listener)
    }
}
