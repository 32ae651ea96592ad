// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP

/// Numbers of bytes as configuration files write them: `64kb`, `1gb`, `100`.
enum MemorySize {
    private static let units: [(name: StaticString, bytes: Int)] = [
        ("", 1), ("b", 1), ("k", 1_000), ("kb", 1 << 10), ("m", 1_000_000), ("mb", 1 << 20), ("g", 1_000_000_000),
        ("gb", 1 << 30),
    ]

    /// Reads digits and a unit, in any case.
    ///
    /// Units are none or `b`, `k`, `kb`, `m`, `mb`, `g`, `gb`, where those of two letters are powers of 1024.
    /// Redis 2.8: util.c, memtoll.
    static func parse(_ text: ByteView) -> Int? {
        var digits = 0
        while digits < text.count, text[digits] >= 0x30, text[digits] <= 0x39 { digits += 1 }
        guard digits > 0, let number = DecimalNumber.lenient(text.prefix(digits)) else { return nil }
        let unit = text.dropFirst(digits)
        guard let bytes = units.first(where: { unit.equalsIgnoringCase($0.name) })?.bytes else { return nil }
        let (product, isTooLarge) = Int(number).multipliedReportingOverflow(by: bytes)
        return isTooLarge ? nil : product
    }

    /// `bytes` with the greatest unit that says it exactly.
    static func text(_ bytes: Int) -> String {
        if bytes != 0, bytes % (1 << 30) == 0 { return "\(bytes >> 30)gb" }
        if bytes != 0, bytes % (1 << 20) == 0 { return "\(bytes >> 20)mb" }
        if bytes != 0, bytes % (1 << 10) == 0 { return "\(bytes >> 10)kb" }
        return "\(bytes)"
    }
}
