// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Synchronization

/// The next candidate, so that two servers of one test run never get the same port.
private let nextCandidate = Atomic<Int>(Int.random(in: 0..<10_000))

/// A TCP port on which nobody listens now.
///
/// It is taken from 20000...29999, below the ports that the system gives to outgoing connections: one of those could
/// take the port between this call and the server's start.
public func freePort() -> Int {
    while true {
        let port = 20_000 + nextCandidate.add(1, ordering: .relaxed).oldValue % 10_000
        if canListen(onPort: port) { return port }
    }
}

private func canListen(onPort port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { _ = close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    let status = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            unsafe bind(descriptor, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    return status == 0
}
