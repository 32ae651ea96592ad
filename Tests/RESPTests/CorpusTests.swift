// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation
import RESP
import Testing

/// The fuzzer's seeds, and what it ever found, without the fuzzer.
@Suite struct CorpusTests {
    /// The files of a folder of `Fuzz`, by name.
    static func files(_ folder: String) -> [(name: String, bytes: [UInt8])] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let folder = root.appending(path: "Fuzz").appending(path: folder).path()
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.sorted().filter { !$0.hasPrefix(".") }.compactMap { name in
            FileManager.default.contents(atPath: "\(folder)/\(name)").map { (name, Array($0)) }
        }
    }

    @Test("Every seed and every regression decodes alike however it is cut")
    func replay() {
        let seeds = Self.files("Corpus/RESP")
        #expect(seeds.count >= 10)
        for file in seeds + Self.files("Regressions/RESP") {
            #expect(RESPProperties.violation(file.bytes) == nil, "\(file.name)")
        }
    }

    @Test("Random requests with random changes decode alike however they are cut")
    func random() {
        var generator = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &generator)
        var random = SplitMix(state: ProcessInfo.processInfo.environment["RESP_SEED"].flatMap { UInt64($0) } ?? seed)
        let start = random.state
        for _ in 0..<200 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes.appendRequest(
                    (0..<Int.random(in: 1...5, using: &random)).map { _ in
                        (0..<Int.random(in: 0...12, using: &random)).map { _ in
                            UInt8.random(in: 0...255, using: &random)
                        }
                    }
                )
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                    Array("*$\r\n\0-019 \"'x".utf8).randomElement(using: &random) ?? 0
            }
            #expect(RESPProperties.violation(bytes) == nil, "RESP_SEED=\(start)")
        }
    }
}

/// A small generator whose seed can be given.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
