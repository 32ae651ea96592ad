// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Testing

@testable import LMDB

@Suite("The pages that a commit has changed")
struct ChangedPagesTests {
    private let directory: TemporaryDirectory
    private let environment: Environment

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(directory: directory.path, mapSizeBytes: 256 << 20, maximumTables: 40)
    }

    private func file() throws -> Data {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: directory.path + "/data.mdb"))
        defer { try? file.close() }
        return try file.read(upToCount: (environment.information.lastPage + 1) * environment.pageSize) ?? Data()
    }

    private func changedPages(_ before: Data, _ after: Data) -> [Int] {
        let size = environment.pageSize
        return (0..<after.count / size).filter { number in
            let bytes = number * size..<(number + 1) * size
            return bytes.upperBound > before.count || before[bytes] != after[bytes]
        }
    }

    @Test("They are those that the transaction has taken, and those of LMDB's own trees", arguments: 0..<4)
    func complete(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var tables: [Table] = []
        let first = try environment.beginWriting()
        for number in 0..<30 { tables.append(try #require(try first.openTable("rows \(number)", create: true))) }
        try first.commit()
        var sawOverflow = false
        for round in 0..<12 {
            let before = try file()
            let transaction = try environment.beginWriting()
            for _ in 0..<(round % 3 == 0 ? 6000 : 300) {
                let table = tables[Int.random(in: 0..<tables.count, using: &generator)]
                let key = "key:\(Int.random(in: 0..<8000, using: &generator))"
                let isLarge = Int.random(in: 0..<20, using: &generator) == 0
                let value = filledBytes(UInt8(round), count: isLarge ? 9000 : 300)
                // In some rounds much becomes free, so that the list of free pages takes pages of its own.
                if round % 4 == 3 || Int.random(in: 0..<3, using: &generator) == 0 {
                    _ = try ByteView.with(key) { try transaction.delete($0, in: table) }
                } else {
                    try ByteView.with(key) { key in
                        try ByteView.with(value) { try transaction.put(key, $0, in: table) }
                    }
                }
            }
            let taken = transaction.takenPages
            let number = transaction.number
            try transaction.commit()
            let own = try #require(environment.pagesOfOwnTrees(in: environment.metaPage(ofTransaction: number)))
            if own.contains(where: { $0.count > 1 }) { sawOverflow = true }
            let told = Set((taken + own).joined())
            // The first two are the meta pages.
            let missing = changedPages(before, try file()).filter { $0 > 1 && !told.contains($0) }
            #expect(missing == [], "round \(round)")
            if round % 4 != 3 { #expect(taken.contains { $0.count > 1 }) }
        }
        #expect(sawOverflow)
    }

    @Test("A meta page that is none of LMDB's leads to no pages")
    func unknown() throws {
        let transaction = try environment.beginWriting()
        let number = transaction.number
        _ = try transaction.openTable("rows", create: true)
        try transaction.commit()
        var page = try environment.metaPage(ofTransaction: number)
        #expect(environment.pagesOfOwnTrees(in: page) != nil)
        #expect(environment.pagesOfOwnTrees(in: []) == nil)
        // A root that is a meta page, and one behind the file.
        page[128] = 1
        #expect(environment.pagesOfOwnTrees(in: page) == nil)
        page.replaceSubrange(128..<136, with: [0, 0, 0, 1, 0, 0, 0, 0])
        #expect(environment.pagesOfOwnTrees(in: page) == nil)
    }

    @Test("Ranges that touch or overlap are one, and those that have less than the gap between them")
    func joined() {
        let ranges = [9..<12, 1..<3, 3..<5, 20..<21, 10..<11, 6..<6]
        #expect(ranges.joined(upTo: 0) == [1..<5, 9..<12, 20..<21])
        #expect(ranges.joined(upTo: 4) == [1..<12, 20..<21])
        #expect([Range<Int>]().joined(upTo: 4) == [])
    }

    @Test("Numbers of pages are sorted like any others", arguments: [0, 1, 2, 3000])
    func sorted(count: Int) {
        var generator = SeededGenerator(seed: 7)
        for bits in [1, 10, 11, 12, 23, 40] {
            var numbers = (0..<count).map { _ in Int.random(in: 0..<1 << bits, using: &generator) }
            let expected = numbers.sorted(by: >)
            unsafe numbers.withUnsafeMutableBufferPointer { unsafe PageNumberSort.sortDescending($0) }
            #expect(numbers == expected)
        }
    }
}
