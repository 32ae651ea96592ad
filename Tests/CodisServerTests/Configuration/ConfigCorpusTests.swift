// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation
import Testing

/// The fuzzer's seeds, and what it ever found, without the fuzzer.
@Suite struct ConfigCorpusTests {
    @Test("Every seed and every regression says the same once it was rewritten")
    func replay() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        var count = 0
        for folder in ["Corpus", "Regressions"] {
            let folder = root.appending(path: "Fuzz/\(folder)/ConfigFile").path()
            for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where !name.hasPrefix(".")
            {
                let text = try #require(FileManager.default.contents(atPath: "\(folder)/\(name)"))
                #expect(ConfigProperties.violation(Array(text)) == nil, "\(name)")
                count += 1
            }
        }
        #expect(count >= 4)
    }
}
