// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc

/// Asks `condition` again and again until it holds; returns false when `timeoutSeconds` are over.
public func waitUntil(timeoutSeconds: Double = 60, _ condition: () -> Bool) -> Bool {
    let end = monotonicSeconds() + timeoutSeconds
    var pauseMicroseconds: UInt32 = 200
    while !condition() {
        guard monotonicSeconds() < end else { return false }
        usleep(pauseMicroseconds)
        pauseMicroseconds = min(pauseMicroseconds * 2, 20_000)
    }
    return true
}

/// Seconds of a clock that only goes forward.
public func monotonicSeconds() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// The text of a file; empty if there is none.
public func textOfFile(_ path: String) -> String {
    guard let data = FileManager.default.contents(atPath: path) else { return "" }
    return String(decoding: data, as: UTF8.self)
}

/// The value of a whole number in the environment, as tests take their sizes and seeds from there.
public func environmentNumber(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
}

/// Whether an environment variable is set to anything but an empty text or 0.
public func environmentSwitch(_ name: String) -> Bool {
    let value = ProcessInfo.processInfo.environment[name] ?? ""
    return value != "" && value != "0"
}
