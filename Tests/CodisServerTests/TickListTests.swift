// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("The list that each tick fills and empties")
struct TickListTests {
    /// Does the same to an array and compares.
    private struct Pair: ~Copyable {
        var list = TickList<Int>()
        var array: [Int] = []

        var isSame: Bool {
            guard list.count == array.count, list.isEmpty == array.isEmpty else { return false }
            for index in 0..<list.count where list[index] != array[index] { return false }
            return true
        }

        mutating func append(_ number: Int) {
            list.append(number)
            array.append(number)
        }
    }

    @Test("Whatever is done to it, it holds what an array would", arguments: [1, 2, 3])
    func asArray(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var pair = Pair()
        for step in 0..<2000 {
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                let count = Int.random(in: 0...pair.array.count, using: &random)
                pair.list.removeFirst(count)
                pair.array.removeFirst(count)
            case 1:
                var others = Pair()
                for number in 0..<Int.random(in: 0...40, using: &random) { others.append(-number) }
                let index = Int.random(in: 0...pair.array.count, using: &random)
                pair.list.insert(contentsOf: others.list, at: index)
                pair.array.insert(contentsOf: others.array, at: index)
            case 2 where Int.random(in: 0..<4, using: &random) == 0:
                pair.list.removeAll()
                pair.array.removeAll()
            default:
                pair.append(step)
            }
            let isSame = pair.isSame
            #expect(isSame, "step \(step)")
        }
    }
}
