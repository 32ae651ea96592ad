// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP
import Testing

@Suite struct DecimalNumberTests {
    static let canonicalCases: [(String, Int64?)] = [
        ("0", 0), ("-0", nil), ("00", nil), ("01", nil), ("+1", nil), (" 1", nil), ("1 ", nil), ("", nil), ("-", nil),
        ("9223372036854775807", .max), ("9223372036854775808", nil), ("-9223372036854775808", .min),
        ("-9223372036854775809", nil), ("18446744073709551616", nil), ("99999999999999999999", nil), ("1\0", nil),
        ("12345678901", 12_345_678_901), ("-7", -7), ("1a", nil), ("-01", nil),
    ]

    static let lenientCases: [(String, Int64?)] = [
        ("+5", 5), ("007", 7), ("-007", -7), ("", 0), ("-", nil), ("+", nil), ("+-1", nil), (" 1", nil), ("1 ", nil),
        ("5\0x", 5), ("\0", 0), ("5.0", nil), ("00000000000000000000000001", 1), ("9223372036854775808", nil),
        ("-0", 0), ("-9223372036854775808", .min), ("0x10", nil),
    ]

    @Test("A canonical integer has one spelling", arguments: canonicalCases)
    func canonical(text: String, expected: Int64?) {
        #expect(ByteView.with(text) { DecimalNumber.canonical($0) } == expected)
    }

    @Test("An argument may have a sign and leading zeros", arguments: lenientCases)
    func lenient(text: String, expected: Int64?) {
        #expect(ByteView.with(text) { DecimalNumber.lenient($0) } == expected)
    }

    @Test("Digits are those that Swift prints")
    func digits() {
        var values: [Int64] = [0, .min, .max]
        var power: Int64 = 1
        for _ in 0..<19 {
            values += [power, power - 1, power + 1, -power, 1 - power]
            power = power.multipliedReportingOverflow(by: 10).partialValue
        }
        for value in values + Array(-1_100...1_100) {
            let digits = DecimalNumber.digits(of: value)
            #expect(String(decoding: digits, as: UTF8.self) == String(value))
            #expect(ByteView.with(digits) { DecimalNumber.canonical($0) } == value)
        }
    }
}
