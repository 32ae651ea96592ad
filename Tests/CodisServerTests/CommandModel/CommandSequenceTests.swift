// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisServer
import CodisTesting
import Foundation
import Testing

@Suite("Sequences of commands against a model")
struct CommandSequenceTests {
    @Test("random sequences are answered as the model answers them, over restarts, and leave a sound keyspace")
    func random() throws {
        var random = SeededGenerator()
        print("sequences: CODIS_TEST_SEED=\(random.seed)")
        let directory = try TemporaryDirectory()
        let runner = try CommandRunner(directory: directory.path)
        for number in 0..<60 {
            let length = random.pick([50, 300, 2000])
            // The steps that cost most are few, but in some sequences many.
            let most: UInt8 = number % 4 == 0 ? 255 : 250
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...most, using: &random) }
            if let violation = CommandProperties.violation(bytes, runner) {
                Issue.record("seed \(random.seed), sequence \(number): \(violation)")
                return
            }
        }
        try runner.close()
    }

    @Test("every seed and every regression of the fuzzer keeps the properties")
    func corpus() throws {
        let directory = try TemporaryDirectory()
        let runner = try CommandRunner(directory: directory.path)
        for folder in ["Corpus", "Regressions"] {
            let path = "\(TestServer.packageRoot)/Fuzz/\(folder)/Commands"
            let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
            if folder == "Corpus" { #expect(names.count >= 5) }
            for name in names.sorted() where !name.hasPrefix(".") {
                let bytes = Array(FileManager.default.contents(atPath: "\(path)/\(name)") ?? Data())
                #expect(CommandProperties.violation(bytes, runner) == nil, "\(folder)/\(name)")
            }
        }
        try runner.close()
    }
}
