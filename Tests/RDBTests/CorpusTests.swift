// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CodisTesting
internal import Foundation
internal import Testing

/// The fuzzer's seeds, and what it ever found, without the fuzzer.
@Suite("Seeds and regressions of the fuzzer")
struct CorpusTests {
    @Test("every seed and every regression keeps the properties")
    func replay() {
        let seeds = Self.files("Corpus/RDB")
        #expect(seeds.count >= 20)
        for file in seeds + Self.files("Regressions/RDB") {
            #expect(RDBProperties.violation(file.bytes) == nil, "\(file.name)")
        }
    }

    @Test("seeds with random changes keep the properties")
    func random() {
        var generator = SeededGenerator()
        for file in Self.files("Corpus/RDB") where file.bytes.count > 1 && file.bytes.count < 300 {
            for _ in 0..<20 {
                var bytes = file.bytes
                for _ in 0..<generator.number(1...3) {
                    bytes[generator.number(0...bytes.count - 1)] = UInt8.random(in: 0...255, using: &generator)
                }
                #expect(RDBProperties.violation(bytes) == nil, "\(file.name), seed \(generator.seed)")
            }
        }
    }

    /// The files of a folder of `Fuzz`, by name.
    private static func files(_ folder: String) -> [(name: String, bytes: [UInt8])] {
        let path = "\(TestServer.packageRoot)/Fuzz/\(folder)"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.sorted().filter { !$0.hasPrefix(".") }.compactMap { name in
            FileManager.default.contents(atPath: "\(path)/\(name)").map { (name, Array($0)) }
        }
    }
}
