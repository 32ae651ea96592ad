// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Why a test's connection cannot go on.
public enum TestClientError: Error, Equatable, Sendable {
    /// The connection was refused or lost, with the system's error number.
    case system(call: String, errorNumber: Int32)
    /// The server closed the connection where a reply was due.
    case closed
    /// The time given for a reply is over.
    case timedOut
    /// The bytes received are no reply; they are given as text.
    case malformedReply(String)
}
