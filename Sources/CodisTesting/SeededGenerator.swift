// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A random number generator whose whole run follows from its seed (SplitMix64).
///
/// A test prints the seed; setting CODIS_TEST_SEED repeats the run.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// The seed it began with.
    public let seed: UInt64
    private var state: UInt64

    /// Begins at `seed`, or at CODIS_TEST_SEED if that is set, or else at a seed of its own choice.
    public init(seed: UInt64? = nil) {
        self.seed =
            seed ?? environmentNumber("CODIS_TEST_SEED").map { UInt64(bitPattern: Int64($0)) }
            ?? UInt64.random(in: 0...0xFFFF_FFFF)
        state = self.seed
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number within `range`.
    public mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// One of `choices`, which must not be empty.
    public mutating func pick<Element>(_ choices: [Element]) -> Element {
        choices[Int.random(in: 0..<choices.count, using: &self)]
    }

    /// True once in `times` on average.
    public mutating func oneIn(_ times: Int) -> Bool { number(1...times) == 1 }
}
