// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// A HyperLogLog as Redis keeps it in a string, byte for byte (Redis 2.8: `hyperloglog.c`).
///
/// | bytes | field |
/// |---|---|
/// | 0–3 | `HYLL` |
/// | 4 | 0 dense, 1 sparse |
/// | 5–7 | zero |
/// | 8–15 | the estimate as it was last made, little-endian; the top bit says that it no longer holds |
/// | 16– | 16,384 registers |
///
/// Dense registers have 6 bits each, packed from the low bits up. Sparse ones are runs: `00xxxxxx` x+1 zeros,
/// `01xxxxxx yyyyyyyy` xy+1 zeros, `1vvvvvxx` x+1 times the value v+1.
struct HyperLogLog {
    private(set) var bytes: [UInt8]

    static let headLength = 16
    static let registerCount = 16_384
    /// The length of a dense one.
    static let denseLength = headLength + registerCount * 6 / 8
    private static let greatestSparseValue: UInt8 = 32
    private static let longestValueRun = 4
    private static let longestShortZeros = 64

    /// What changing one came to.
    enum Outcome {
        case unchanged
        case changed
        /// The runs of a sparse one do not make 16,384 registers.
        case corrupted
    }

    /// One whose registers are all zero.
    init() {
        bytes = Array("HYLL".utf8) + [1, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
        bytes += [0x40 | UInt8((HyperLogLog.registerCount - 1) >> 8), UInt8((HyperLogLog.registerCount - 1) & 0xFF)]
    }

    /// The one in `bytes`, or nil if they are none.
    init?(_ bytes: [UInt8]) {
        guard HyperLogLog.isHead(bytes.prefix(HyperLogLog.headLength), length: bytes.count) else { return nil }
        self.bytes = bytes
    }

    /// Whether a string of `length` bytes that begins with `head` is one, as far as that tells.
    static func isHead(_ head: some Collection<UInt8>, length: Int) -> Bool {
        guard length >= headLength, head.starts(with: Array("HYLL".utf8)) else { return false }
        let encoding = head[head.index(head.startIndex, offsetBy: 4)]
        return encoding == 1 || (encoding == 0 && length == denseLength)
    }

    var isDense: Bool { bytes[4] == 0 }

    /// The estimate that the head holds, if it still holds.
    var cachedEstimate: UInt64? {
        guard bytes[15] & 0x80 == 0 else { return nil }
        return bytes[8..<16].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The bytes of the head that hold `estimate`.
    static func cache(of estimate: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: estimate >> UInt64(8 * $0)) }
    }

    mutating func invalidateCache() { bytes[15] |= 0x80 }

    mutating func store(estimate: UInt64) { bytes.replaceSubrange(8..<16, with: HyperLogLog.cache(of: estimate)) }

    // MARK: Elements

    /// The register that `element` counts in, and the value that it asks for there.
    static func register(of element: ByteView) -> (index: Int, value: UInt8) {
        let hash = murmurHash64A(element, seed: 0xADC8_3B19)
        let index = Int(hash & UInt64(registerCount - 1))
        // The top bit counts as set, so that there is an end.
        let zeros = ((hash | 1 << 63) >> 14).trailingZeroBitCount
        return (index, UInt8(zeros + 1))
    }

    /// Counts `element`; a sparse one that would become longer than `sparseLimit` bytes becomes dense.
    mutating func add(_ element: ByteView, sparseLimit: Int) -> Outcome {
        let (index, value) = HyperLogLog.register(of: element)
        return isDense ? raiseDense(index, to: value) : raiseSparse(index, to: value, sparseLimit: sparseLimit)
    }

    private mutating func raiseDense(_ index: Int, to value: UInt8) -> Outcome {
        let byte = HyperLogLog.place(of: index).byte
        let high: UInt8 = byte + 1 < bytes.count ? bytes[byte + 1] : 0
        let pair = UInt16(bytes[byte]) | UInt16(high) << 8
        guard let changed = HyperLogLog.raised(pair, register: index, to: value) else { return .unchanged }
        bytes[byte] = UInt8(truncatingIfNeeded: changed)
        if byte + 1 < bytes.count { bytes[byte + 1] = UInt8(changed >> 8) }
        return .changed
    }

    /// What the two bytes in which a dense register begins become when it is raised to `value`; nil if it has that.
    static func raised(_ pair: UInt16, register index: Int, to value: UInt8) -> UInt16? {
        let shift = place(of: index).shift
        guard UInt8(pair >> shift & 63) < value else { return nil }
        return pair & ~(63 << shift) | UInt16(value) << shift
    }

    /// Where the six bits of a dense register begin: in which byte, at which bit.
    static func place(of index: Int) -> (byte: Int, shift: UInt16) {
        (headLength + index * 6 / 8, UInt16(index * 6 % 8))
    }

    // MARK: Sparse

    private enum Run {
        case zeros(Int)
        case longZeros(Int)
        case values(UInt8, Int)

        var count: Int {
            switch self {
            case .zeros(let count), .longZeros(let count), .values(_, let count): count
            }
        }

        var length: Int {
            if case .longZeros = self { 2 } else { 1 }
        }
    }

    /// The run at `position`, nil if it is cut.
    private func run(at position: Int) -> Run? {
        let byte = bytes[position]
        if byte & 0x80 != 0 { return .values((byte >> 2 & 31) + 1, Int(byte & 3) + 1) }
        if byte & 0x40 == 0 { return .zeros(Int(byte & 63) + 1) }
        guard position + 1 < bytes.count else { return nil }
        return .longZeros(Int(byte & 63) << 8 + Int(bytes[position + 1]) + 1)
    }

    private static func values(_ value: UInt8, _ count: Int) -> UInt8 { 0x80 | (value - 1) << 2 | UInt8(count - 1) }

    private static func zeros(_ count: Int) -> [UInt8] {
        count > longestShortZeros
            ? [0x40 | UInt8((count - 1) >> 8), UInt8((count - 1) & 0xFF)] : [UInt8(count - 1)]
    }

    private mutating func raiseSparse(_ index: Int, to value: UInt8, sparseLimit: Int) -> Outcome {
        guard value <= HyperLogLog.greatestSparseValue else { return promote(index, to: value) }
        var position = HyperLogLog.headLength
        var previous: Int?
        var first = 0
        var found: Run?
        while position < bytes.count {
            guard let run = run(at: position) else { return .corrupted }
            if index < first + run.count {
                found = run
                break
            }
            previous = position
            position += run.length
            first += run.count
        }
        guard let found else { return .corrupted }
        var pieces: [UInt8] = []
        let before = index - first
        let behind = first + found.count - 1 - index
        switch found {
        case .values(let old, _):
            guard old < value else { return .unchanged }
            if before > 0 { pieces.append(HyperLogLog.values(old, before)) }
            pieces.append(HyperLogLog.values(value, 1))
            if behind > 0 { pieces.append(HyperLogLog.values(old, behind)) }
        case .zeros, .longZeros:
            if before > 0 { pieces += HyperLogLog.zeros(before) }
            pieces.append(HyperLogLog.values(value, 1))
            if behind > 0 { pieces += HyperLogLog.zeros(behind) }
        }
        let growth = pieces.count - found.length
        if growth > 0, bytes.count + growth > sparseLimit { return promote(index, to: value) }
        bytes.replaceSubrange(position..<position + found.length, with: pieces)
        mergeValues(from: previous ?? HyperLogLog.headLength)
        invalidateCache()
        return .changed
    }

    /// Joins neighbouring runs of the same value, within five runs from `start` on.
    private mutating func mergeValues(from start: Int) {
        var position = start
        var steps = 5
        while position < bytes.count, steps > 0 {
            steps -= 1
            guard case .values(let value, let count)? = run(at: position) else {
                position += run(at: position)?.length ?? 1
                continue
            }
            if position + 1 < bytes.count, case .values(value, let next)? = run(at: position + 1),
                count + next <= HyperLogLog.longestValueRun
            {
                bytes[position + 1] = HyperLogLog.values(value, count + next)
                bytes.remove(at: position)
                continue
            }
            position += 1
        }
    }

    private mutating func promote(_ index: Int, to value: UInt8) -> Outcome {
        guard makeDense() else { return .corrupted }
        return raiseDense(index, to: value)
    }

    /// Makes a sparse one dense; false if its runs do not make up the registers.
    mutating func makeDense() -> Bool {
        guard !isDense else { return true }
        guard let registers = registers() else { return false }
        setRegisters(registers)
        return true
    }

    // MARK: Registers

    /// The values of all registers; nil if the runs of a sparse one do not make them up.
    func registers() -> [UInt8]? {
        var registers = [UInt8](repeating: 0, count: HyperLogLog.registerCount)
        return mergeRegisters(into: &registers) ? registers : nil
    }

    /// Raises each of `registers` to the value of the register here; false if the runs do not make up all of them.
    func mergeRegisters(into registers: inout [UInt8]) -> Bool {
        if isDense {
            var index = 0
            var byte = HyperLogLog.headLength
            // Four registers are three bytes.
            while index < HyperLogLog.registerCount {
                let bits = UInt32(bytes[byte]) | UInt32(bytes[byte + 1]) << 8 | UInt32(bytes[byte + 2]) << 16
                for part in 0..<4 {
                    let value = UInt8(bits >> UInt32(6 * part) & 63)
                    if registers[index + part] < value { registers[index + part] = value }
                }
                index += 4
                byte += 3
            }
            return true
        }
        var index = 0
        var position = HyperLogLog.headLength
        while position < bytes.count {
            guard let run = run(at: position), index + run.count <= HyperLogLog.registerCount else { return false }
            if case .values(let value, let count) = run {
                for register in index..<index + count where registers[register] < value {
                    registers[register] = value
                }
            }
            index += run.count
            position += run.length
        }
        return index == HyperLogLog.registerCount
    }

    /// Makes it a dense one of these registers; its head stays otherwise.
    mutating func setRegisters(_ registers: [UInt8]) {
        var dense = [UInt8](repeating: 0, count: HyperLogLog.denseLength)
        dense.replaceSubrange(0..<HyperLogLog.headLength, with: bytes[0..<HyperLogLog.headLength])
        dense[4] = 0
        var byte = HyperLogLog.headLength
        for index in stride(from: 0, to: HyperLogLog.registerCount, by: 4) {
            var bits: UInt32 = 0
            for part in 0..<4 { bits |= UInt32(registers[index + part] & 63) << UInt32(6 * part) }
            dense[byte] = UInt8(bits & 0xFF)
            dense[byte + 1] = UInt8(bits >> 8 & 0xFF)
            dense[byte + 2] = UInt8(bits >> 16)
            byte += 3
        }
        bytes = dense
    }

    // MARK: Estimate

    /// How many different elements were counted, about; nil if it is corrupted.
    func estimate() -> UInt64? { registers().map(HyperLogLog.estimate) }

    /// The estimate for these registers.
    static func estimate(_ registers: [UInt8]) -> UInt64 {
        let count = Double(registerCount)
        var sum = 0.0
        var empty = 0
        for register in registers {
            if register == 0 { empty += 1 }
            sum += inversePowers[Int(register & 63)]
        }
        var estimate = 1 / sum * (0.7213 / (1 + 1.079 / count)) * count * count
        if estimate < count * 2.5, empty != 0 {
            estimate = count * log(count / Double(empty))
        } else if estimate < 72000 {
            // A polynomial that fits the bias in this range.
            let second = estimate * estimate
            let bias =
                5.9119 * 1.0e-18 * (second * second) - 1.4253 * 1.0e-12 * (second * estimate)
                + 1.2940 * 1.0e-7 * second - 5.2921 * 1.0e-3 * estimate + 83.3216
            estimate -= estimate * (bias / 100)
        }
        return UInt64(estimate)
    }

    private static let inversePowers = (0..<64).map { 1 / Double(sign: .plus, exponent: $0, significand: 1) }

    // MARK: People

    /// The runs of a sparse one, as PFDEBUG DECODE tells them; nil if it is dense.
    func runs() -> String? {
        guard !isDense else { return nil }
        var words: [String] = []
        var position = HyperLogLog.headLength
        while position < bytes.count, let run = run(at: position) {
            switch run {
            case .zeros(let count): words.append("z:\(count)")
            case .longZeros(let count): words.append("Z:\(count)")
            case .values(let value, let count): words.append("v:\(value),\(count)")
            }
            position += run.length
        }
        return words.joined(separator: " ")
    }
}

/// MurmurHash2 for 64 bits, as if on a little-endian machine (Austin Appleby; Redis 2.8: MurmurHash64A).
func murmurHash64A(_ bytes: ByteView, seed: UInt64) -> UInt64 {
    let multiplier: UInt64 = 0xC6A4_A793_5BD1_E995
    var hash = seed ^ UInt64(bytes.count) &* multiplier
    var index = 0
    while index + 8 <= bytes.count {
        var word: UInt64 = 0
        for part in 0..<8 { word |= UInt64(bytes[index + part]) << UInt64(8 * part) }
        word = word &* multiplier
        word ^= word >> 47
        word = word &* multiplier
        hash = (hash ^ word) &* multiplier
        index += 8
    }
    if index < bytes.count {
        for part in index..<bytes.count { hash ^= UInt64(bytes[part]) << UInt64(8 * (part - index)) }
        hash = hash &* multiplier
    }
    hash ^= hash >> 47
    hash = hash &* multiplier
    return hash ^ hash >> 47
}
