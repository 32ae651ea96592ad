// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The bytes being written: gathered in memory and, where there is somebody who takes them, handed on in chunks.
final class RDBOutput {
    /// Chunks are handed on when they have so many bytes, or with a string that is larger.
    static let chunkLength = 1 << 16

    private let takeChunk: ((ByteView) throws(RDBError) -> Void)?
    private let store = ByteStore()
    private let compressed = ByteStore()
    private let digits = ByteStore()
    private let compresses: Bool
    private let leastCompressed: Int
    private var checksum: CRC64?
    private var summed = 0
    private var bytesTaken: UInt64 = 0

    /// Without `takeChunk` all bytes are gathered.
    init(
        compresses: Bool,
        leastCompressed: Int = 0,
        computesChecksum: Bool,
        takeChunk: ((ByteView) throws(RDBError) -> Void)? = nil
    ) {
        self.compresses = compresses
        self.leastCompressed = leastCompressed
        self.takeChunk = takeChunk
        checksum = computesChecksum ? CRC64() : nil
    }

    /// The number of bytes written.
    var bytesWritten: UInt64 { bytesTaken + UInt64(store.count) }

    /// The bytes that nobody took yet.
    var view: ByteView { store.view }

    /// The checksum of all bytes written; nil if it was not asked for.
    var checksumOfBytesWritten: UInt64? {
        addToChecksum()
        return checksum?.value
    }

    /// Begins anew, for outputs whose bytes nobody takes.
    func removeAll() {
        store.removeAll()
        summed = 0
        bytesTaken = 0
        if checksum != nil { checksum = CRC64() }
    }

    func append(_ byte: UInt8) { store.append(byte) }
    func append(_ bytes: ByteView) { store.append(bytes) }
    func append(littleEndian value: some FixedWidthInteger & BitwiseCopyable) { store.append(littleEndian: value) }

    /// Appends a length of at most 32 bits.
    func append(length: Int) throws(RDBError) {
        guard length >= 0, length <= Int(UInt32.max) else {
            throw .unencodable("a length of \(length), beyond the 32 bits of the format")
        }
        if length < 0x40 {
            store.append(UInt8(length))
        } else if length < 0x4000 {
            store.append(bigEndian: UInt16(0x4000 | length))
        } else {
            store.append(0x80)
            store.append(bigEndian: UInt32(length))
        }
    }

    /// Appends a string in the shortest of its forms that Redis 2.8 uses: integer, compressed, plain.
    ///
    /// Redis 2.8: rdb.c, rdbSaveRawString.
    func append(string: ByteView) throws(RDBError) {
        if string.count <= 11, let value = Decimal.canonicalInteger(string), let integer = Int32(exactly: value) {
            return append(integer: integer)
        }
        if compresses, string.count >= leastCompressed, try appendCompressed(string) { return }
        try append(length: string.count)
        guard let takeChunk, string.count >= Self.chunkLength else {
            store.append(string)
            return try handOnIfFull()
        }
        // A long string goes to the taker from where it lies.
        try handOn()
        checksum?.add(string)
        try takeChunk(string)
        bytesTaken += UInt64(string.count)
    }

    /// Appends a score as text behind the length of it.
    ///
    /// Redis 2.8: rdb.c, rdbSaveDoubleValue.
    func append(score: Double) {
        if score.isNaN { return store.append(253) }
        if score.isInfinite { return store.append(score > 0 ? 254 : 255) }
        digits.removeAll()
        Decimal.appendFinite(score, to: digits)
        store.append(UInt8(digits.count))
        store.append(digits.view)
    }

    private func append(integer: Int32) {
        if let small = Int8(exactly: integer) {
            store.append(0xC0)
            store.append(littleEndian: small)
        } else if let short = Int16(exactly: integer) {
            store.append(0xC1)
            store.append(littleEndian: short)
        } else {
            store.append(0xC2)
            store.append(littleEndian: integer)
        }
    }

    private func appendCompressed(_ string: ByteView) throws(RDBError) -> Bool {
        compressed.removeAll()
        guard let length = LZF.compress(string, into: compressed) else { return false }
        store.append(0xC3)
        try append(length: length)
        try append(length: string.count)
        store.append(compressed.view)
        try handOnIfFull()
        return true
    }

    /// Hands on what was gathered, if it makes a chunk.
    func handOnIfFull() throws(RDBError) {
        if store.count >= Self.chunkLength { try handOn() }
    }

    /// Hands on what was gathered.
    func handOn() throws(RDBError) {
        guard let takeChunk, store.count > 0 else { return }
        addToChecksum()
        try takeChunk(store.view)
        bytesTaken += UInt64(store.count)
        store.removeAll()
        summed = 0
    }

    private func addToChecksum() {
        guard checksum != nil, summed < store.count else { return }
        checksum?.add(store.view.dropFirst(summed))
        summed = store.count
    }
}
