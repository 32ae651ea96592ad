// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
@testable internal import RDB
internal import Testing

@Suite("CRC-64")
struct ChecksumTests {
    @Test(
        "known checksums",
        arguments: [
            ("", 0), ("123456789", 0xe9c6_d914_c4b8_d9ca), ("a", 0x5fb3_5402_5b27_7b14),
            ("hello", 0xd6b0_dd10_cb66_76a2),
            ("The quick brown fox jumps over the lazy dog", 0xbf7e_e596_c3aa_372b),
        ] as [(String, UInt64)]
    )
    func knownChecksum(input: String, checksum: UInt64) {
        #expect(ByteView.with(input) { CRC64.checksum(of: $0) } == checksum)
    }

    @Test("any cut of the bytes gives the checksum of the whole, which is that of one bit at a time")
    func cuts() {
        var generator = SeededGenerator()
        for length in 0..<70 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let cut = generator.number(0...length)
            var state = CRC64()
            ByteView.with(bytes) { view in
                state.add(view.prefix(cut))
                state.add(view.dropFirst(cut))
            }
            #expect(state.value == referenceCRC64(bytes), "seed \(generator.seed), length \(length), cut \(cut)")
        }
    }
}
