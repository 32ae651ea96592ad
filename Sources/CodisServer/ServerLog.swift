// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The log that the operator reads, in the lines of Redis 2.8: `[pid] DD Mon HH:MM:SS.mmm C message`.
///
/// The file is opened anew for each line, so that it may be moved away at any time (redis.c, redisLogRaw). It may be
/// used from any thread: it has no state but what was configured at the start.
struct ServerLog: Sendable {
    /// How important a line must be.
    var level: LogLevel
    /// The file; empty for standard output.
    var file: String
    /// The name under which lines go to syslog too; nil if they do not.
    var syslogFacility: SyslogFacility?

    init(level: LogLevel = .notice, file: String = "") {
        self.level = level
        self.file = file
    }

    init(_ config: ServerConfig) {
        level = config.logLevel
        file = config.logFile
        syslogFacility = config.syslogEnabled ? config.syslogFacility : nil
    }

    func debug(_ message: @autoclosure () -> String) { write(.debug, message) }
    func verbose(_ message: @autoclosure () -> String) { write(.verbose, message) }
    func notice(_ message: @autoclosure () -> String) { write(.notice, message) }
    func warning(_ message: @autoclosure () -> String) { write(.warning, message) }

    private func write(_ level: LogLevel, _ message: () -> String) {
        guard level.rank >= self.level.rank else { return }
        let message = message()
        var now = timeval()
        unsafe gettimeofday(&now, nil)
        writeRaw(ServerLog.line(message, level: level, processID: getpid(), now: now))
        if syslogFacility != nil { sendToSyslog(level, message) }
    }

    /// Writes `text` as it is, for the banner.
    func writeRaw(_ text: String) {
        guard !file.isEmpty else {
            ServerLog.writeAll(1, Array(text.utf8))
            return
        }
        let descriptor = unsafe open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return }
        ServerLog.writeAll(descriptor, Array(text.utf8))
        close(descriptor)
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes[written...].withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            written += count
        }
    }

    /// The longest message, in bytes.
    static let longestMessage = 1024

    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// The line for a message, with its line end.
    static func line(_ message: String, level: LogLevel, processID: Int32, now: timeval) -> String {
        var seconds = now.tv_sec
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        let (hour, minute, second) = unsafe (Int(parts.tm_hour), Int(parts.tm_min), Int(parts.tm_sec))
        let day = unsafe padded(Int(parts.tm_mday), 2)
        let month = unsafe months[Int(parts.tm_mon)]
        let time = "\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2))"
        let milliseconds = padded(Int(now.tv_usec) / 1000, 3)
        let cut = String(decoding: message.utf8.prefix(longestMessage), as: UTF8.self)
        return "[\(processID)] \(day) \(month) \(time).\(milliseconds) \(level.mark) \(cut)\n"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    // MARK: Syslog

    /// The socket of the system's log; one datagram is one message.
    private static let syslogPath = "/dev/log"

    /// `openlog` keeps the name it is given, and `syslog` takes C's variable arguments, so the datagram is written
    /// here: `<priority>Mon dd hh:mm:ss ident[pid]: message`.
    private func sendToSyslog(_ level: LogLevel, _ message: String) {
        guard let facility = syslogFacility else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: ServerLog.syslogPath.utf8) }
        let datagram = Array("<\(facility.code | level.syslogSeverity)>\(syslogIdent)[\(getpid())]: \(message)".utf8)
        _ = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let length = socklen_t(MemoryLayout<sockaddr_un>.size)
                return unsafe sendto(descriptor, datagram, datagram.count, Int32(MSG_DONTWAIT), address, length)
            }
        }
    }

    /// The name in front of lines in syslog.
    var syslogIdent = "redis"
}

extension LogLevel {
    var rank: Int {
        switch self {
        case .debug: 0
        case .verbose: 1
        case .notice: 2
        case .warning: 3
        }
    }

    var mark: Character {
        switch self {
        case .debug: "."
        case .verbose: "-"
        case .notice: "*"
        case .warning: "#"
        }
    }

    /// The severity that syslog knows it by.
    var syslogSeverity: Int {
        switch self {
        case .debug: 7
        case .verbose: 6
        case .notice: 5
        case .warning: 4
        }
    }
}

extension SyslogFacility {
    /// The facility's number, in the place where a priority holds it.
    var code: Int {
        let number =
            switch self {
            case .user: 1
            case .local0: 16
            case .local1: 17
            case .local2: 18
            case .local3: 19
            case .local4: 20
            case .local5: 21
            case .local6: 22
            case .local7: 23
            }
        return number << 3
    }
}
