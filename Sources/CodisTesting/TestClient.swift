// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// A blocking connection to a server, for tests.
///
/// It can be used as a client would use it (`command`), as a pipelining client (`send`, then `receive`), and as
/// somebody who writes what is no protocol at all (`sendRaw`, `receiveRaw`). One thread uses it at a time.
@safe
public final class TestClient {
    private let descriptor: Int32
    private var input: [UInt8] = []
    private var inputStart = 0
    private var output: [UInt8] = []
    private var scratch = filledBytes(0, count: 262_144)
    private var isClosed = false

    /// Connects to `port` of `host`, an IPv4 address; no wait for a reply lasts longer than `timeoutSeconds`.
    public init(host: String = "127.0.0.1", port: Int, timeoutSeconds: Int = 30) throws(TestClientError) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", errorNumber: errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        unsafe inet_pton(AF_INET, host, &address.sin_addr)
        try finishConnecting(timeoutSeconds: timeoutSeconds) {
            unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    unsafe connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    /// Connects to the unix socket at `path`, which must be shorter than 108 bytes.
    public init(unixSocket path: String, timeoutSeconds: Int = 30) throws(TestClientError) {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", errorNumber: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { buffer in
            unsafe buffer.copyBytes(from: path.utf8.prefix(buffer.count - 1))
        }
        try finishConnecting(timeoutSeconds: timeoutSeconds) {
            unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    unsafe connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
    }

    deinit { close() }

    private func finishConnecting(timeoutSeconds: Int, _ connect: () -> Int32) throws(TestClientError) {
        guard connect() == 0 else {
            let errorNumber = errno
            close()
            throw .system(call: "connect", errorNumber: errorNumber)
        }
        var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        var on: Int32 = 1
        unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Ends the connection; calling it again does nothing.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        _ = Glibc.close(descriptor)
    }

    // MARK: Requests and replies

    /// Sends one command and returns its reply.
    @discardableResult
    public func command(_ arguments: String...) throws(TestClientError) -> TestReply {
        try command(arguments.map { Array($0.utf8) })
    }

    /// Sends one command whose arguments are any bytes and returns its reply.
    @discardableResult
    public func command(_ arguments: [[UInt8]]) throws(TestClientError) -> TestReply {
        enqueue(arguments)
        try flush()
        return try receive()
    }

    /// Adds a command to what the next `flush` sends.
    public func enqueue(_ arguments: String...) {
        enqueue(arguments.map { Array($0.utf8) })
    }

    /// Adds a command whose arguments are any bytes to what the next `flush` sends.
    public func enqueue(_ arguments: [[UInt8]]) {
        TestClient.encode(arguments, into: &output)
    }

    /// Sends the enqueued commands.
    public func flush() throws(TestClientError) {
        let bytes = output
        output.removeAll(keepingCapacity: true)
        try sendRaw(bytes)
    }

    /// Returns the next reply.
    public func receive() throws(TestClientError) -> TestReply {
        let reply = try parseReply(depth: 0)
        compact()
        return reply
    }

    /// Returns the next `count` replies.
    public func receive(_ count: Int) throws(TestClientError) -> [TestReply] {
        var replies: [TestReply] = []
        replies.reserveCapacity(count)
        for _ in 0..<count { replies.append(try receive()) }
        return replies
    }

    /// Returns the bytes of the next reply, exactly as they came.
    public func receiveReplyBytes() throws(TestClientError) -> [UInt8] {
        input.removeFirst(inputStart)
        inputStart = 0
        _ = try parseReply(depth: 0)
        return Array(input[0..<inputStart])
    }

    /// Appends a command in the multibulk form to `bytes`.
    public static func encode(_ arguments: [[UInt8]], into bytes: inout [UInt8]) {
        bytes += "*\(arguments.count)\r\n".utf8
        for argument in arguments {
            bytes += "$\(argument.count)\r\n".utf8
            bytes += argument
            bytes += "\r\n".utf8
        }
    }

    // MARK: Raw bytes

    /// Sends `text` as it is.
    public func sendRaw(_ text: String) throws(TestClientError) { try sendRaw(Array(text.utf8)) }

    /// Sends `bytes` as they are.
    public func sendRaw(_ bytes: [UInt8]) throws(TestClientError) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor,
                    buffer.baseAddress! + sent,
                    buffer.count - sent,
                    Int32(MSG_NOSIGNAL)
                )
            }
            if count >= 0 {
                sent += count
            } else if errno != EINTR {
                throw errno == EAGAIN ? .timedOut : .system(call: "send", errorNumber: errno)
            }
        }
    }

    /// Tells the server that nothing more will come.
    public func finishSending() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// Returns everything the server sends until it closes the connection.
    public func receiveUntilClosed() throws(TestClientError) -> [UInt8] {
        while true {
            do {
                try fill()
            } catch .closed {
                break
            } catch .system(_, ECONNRESET) {
                break
            }
        }
        let rest = Array(input[inputStart...])
        inputStart = input.count
        return rest
    }

    /// Returns exactly `count` bytes.
    public func receiveRaw(_ count: Int) throws(TestClientError) -> [UInt8] {
        while input.count - inputStart < count { try fill() }
        let bytes = Array(input[inputStart..<inputStart + count])
        inputStart += count
        compact()
        return bytes
    }

    /// Whether the server sent something, or closed the connection, within `milliseconds`.
    public func hasInput(withinMilliseconds milliseconds: Int32) -> Bool {
        guard inputStart == input.count else { return true }
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&state, 1, milliseconds) > 0
    }

    // MARK: Decoding

    private func parseReply(depth: Int) throws(TestClientError) -> TestReply {
        guard depth < 32 else { throw .malformedReply("arrays nested too deep") }
        let line = try nextLine()
        guard let kind = line.first else { throw .malformedReply("an empty line") }
        let rest = line.dropFirst()
        switch kind {
        case UInt8(ascii: "+"): return .status(String(decoding: rest, as: UTF8.self))
        case UInt8(ascii: "-"): return .error(String(decoding: rest, as: UTF8.self))
        case UInt8(ascii: ":"): return .integer(try number(in: rest))
        case UInt8(ascii: "$"):
            let count = try number(in: rest)
            guard count >= 0 else { return .nullBulk }
            return .bulk(try nextBulk(Int(count)))
        case UInt8(ascii: "*"):
            let count = try number(in: rest)
            guard count >= 0 else { return .nullArray }
            var elements: [TestReply] = []
            elements.reserveCapacity(Int(count))
            for _ in 0..<count { elements.append(try parseReply(depth: depth + 1)) }
            return .array(elements)
        default: throw .malformedReply(printable(line))
        }
    }

    private func nextLine() throws(TestClientError) -> [UInt8] {
        var searched = inputStart
        while true {
            if let end = input[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                guard end > inputStart, input[end - 1] == UInt8(ascii: "\r") else {
                    throw .malformedReply(printable(input[inputStart...end]))
                }
                let line = Array(input[inputStart..<end - 1])
                inputStart = end + 1
                return line
            }
            searched = input.count
            try fill()
        }
    }

    private func nextBulk(_ count: Int) throws(TestClientError) -> [UInt8] {
        input.reserveCapacity(inputStart + count + 2)
        while input.count - inputStart < count + 2 { try fill() }
        let end = inputStart + count
        guard input[end] == UInt8(ascii: "\r"), input[end + 1] == UInt8(ascii: "\n") else {
            throw .malformedReply("no line end after a string of \(count) bytes")
        }
        let bytes = Array(input[inputStart..<end])
        inputStart = end + 2
        return bytes
    }

    private func number(in digits: ArraySlice<UInt8>) throws(TestClientError) -> Int64 {
        guard let number = Int64(String(decoding: digits, as: UTF8.self)) else {
            throw .malformedReply("not a number: " + printable(digits))
        }
        return number
    }

    /// Waits for more bytes and appends them to `input`.
    private func fill() throws(TestClientError) {
        while true {
            let count = unsafe scratch.withUnsafeMutableBytes { buffer in
                unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
            }
            if count > 0 {
                unsafe scratch.withUnsafeBytes { buffer in
                    unsafe input.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
                }
                return
            }
            let errorNumber = errno
            if count == 0 { throw .closed }
            if errorNumber == EINTR { continue }
            throw errorNumber == EAGAIN ? .timedOut : .system(call: "recv", errorNumber: errorNumber)
        }
    }

    /// Forgets the bytes already consumed, now and then, so that the input does not grow without end.
    private func compact() {
        if inputStart == input.count {
            input.removeAll(keepingCapacity: input.capacity < 16_777_216)
            inputStart = 0
        } else if inputStart > 1_048_576 {
            input.removeFirst(inputStart)
            inputStart = 0
        }
    }
}
