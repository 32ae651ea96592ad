// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc
internal import Synchronization

/// What a replica takes for a master, up to a point: it agrees to everything, and answers PSYNC with a full resync and
/// then these bytes.
@safe
public final class StubMaster: Sendable {
    /// The port that it listens on, on 127.0.0.1.
    public let port: Int

    private let listener: Int32
    private let connections = Mutex<[Int32]>([])

    /// Listens; `afterHandshake` follows `+FULLRESYNC`, and then nothing.
    public init(afterHandshake: String) throws(TestClientError) {
        port = freePort()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        let status = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(listener, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0, listen(listener, 8) == 0 else { throw .system(call: "listen", errorNumber: errno) }
        Thread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                self.connections.withLock { $0.append(connection) }
                StubMaster.serve(connection, afterHandshake)
            }
        }.start()
    }

    /// Ends it, and its connections.
    public func end() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        connections.withLock { connections in
            for connection in connections { close(connection) }
            connections = []
        }
    }

    private static func serve(_ connection: Int32, _ afterHandshake: String) {
        var buffer = filledBytes(0, count: 4096)
        while true {
            let count = unsafe recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            let request = String(decoding: buffer[..<count], as: UTF8.self)
            let isLast = request.contains("PSYNC")
            let identifier = String(repeating: "0", count: 40)
            let reply = isLast ? "+FULLRESYNC \(identifier) 0\r\n" + afterHandshake : "+OK\r\n"
            let bytes = Array(reply.utf8)
            _ = unsafe send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            if isLast { return }
        }
    }
}
