// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import CodisServer

@Suite("Statistics")
struct StatisticsTests {
    @Test(
        "SHA-1 of the standard's examples",
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
        ]
    )
    func sha1(text: String, digest: String) {
        let bytes = SHA1.digest(of: Array(text.utf8))
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }

    @Test("the slow log cuts long arguments and long lists of them, as Redis does")
    func slowLog() {
        var log = SlowLog()
        let words = [[UInt8]](repeating: [UInt8](repeating: 0x61, count: 130), count: 40)
        withViews(of: words[...], []) { views in
            var arguments = Arguments()
            arguments.take(views)
            log.note(arguments, microseconds: 5, atSeconds: 7, maximumLength: 10)
        }
        let entry = log.entries[0]
        #expect(entry.arguments.count == 32)
        #expect(
            String(decoding: entry.arguments[0], as: UTF8.self)
                == String(repeating: "a", count: 128) + "... (2 more bytes)"
        )
        #expect(String(decoding: entry.arguments[31], as: UTF8.self) == "... (9 more arguments)")
    }

    private func withViews(of words: ArraySlice<[UInt8]>, _ views: [ByteView], _ body: ([ByteView]) -> Void) {
        guard let first = words.first else { return body(views) }
        ByteView.with(first) { view in withViews(of: words.dropFirst(), views + [view], body) }
    }

    @Test("the latency monitor keeps the greatest of each second, and 160 seconds")
    func latency() {
        var monitor = LatencyMonitor()
        monitor.note("command", milliseconds: 5, atSeconds: 1)
        monitor.note("command", milliseconds: 9, atSeconds: 1)
        monitor.note("command", milliseconds: 7, atSeconds: 1)
        #expect(monitor.events["command"]?.samples.map(\.milliseconds) == [9])
        for second in 2..<400 { monitor.note("command", milliseconds: 1, atSeconds: Int64(second)) }
        #expect(monitor.events["command"]?.samples.count == 160)
        #expect(monitor.events["command"]?.greatest == 9)
        let wasThere = monitor.reset("command")
        let isStillThere = monitor.reset("command")
        #expect(wasThere)
        #expect(!isStillThere)
    }
}
