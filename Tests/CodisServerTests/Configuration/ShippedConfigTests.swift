// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation
import Testing

@testable import CodisServer

/// `conf/codis-server.conf` against the rows of the directives.
@Suite struct ShippedConfigTests {
    private let text: String

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        text = try String(contentsOf: root.appending(path: "conf/codis-server.conf"), encoding: .utf8)
    }

    @Test("The shipped file holds the defaults")
    func defaults() throws {
        var config = try configuration(text)
        config.configFile = nil
        var expected = ServerConfig()
        expected.directory = "/start"
        #expect(config == expected)
    }

    @Test("The shipped file documents every directive, and gives its default or an example")
    func complete() throws {
        // An example is a line that begins with `#` and no blank; prose begins with `# `.
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("# ") }
            .map { $0.hasPrefix("#") ? $0.dropFirst() : $0 }
        let named = Set(lines.compactMap { $0.split(separator: " ").first.map(String.init) })
        for directive in ConfigDirective.table where directive.isInFile {
            #expect(named.contains(directive.name), "\(directive.name) is not in conf/codis-server.conf")
        }
    }

    @Test("Every example of the shipped file can be used")
    func examples() throws {
        for line in text.split(separator: "\n") where line.hasPrefix("#") && !line.hasPrefix("# ") && line.count > 1 {
            #expect(throws: Never.self, "\(line)") {
                try configuration(String(line.dropFirst()), files: ["/etc/codis/local.conf": ""])
            }
        }
    }
}
