// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLZF

/// LZF, the compression of strings in RDB files; there is no header, the lengths stand before the bytes.
enum LZF {
    /// Strings up to this length are never compressed.
    ///
    /// Redis 2.8: rdb.c, rdbSaveRawString.
    static let longestUncompressed = 20
    /// Compression that saves fewer bytes is not worth its header.
    ///
    /// Redis 2.8: rdb.c, rdbSaveLzfStringObject.
    static let leastSaving = 4
    /// The most that one byte can stand for: a copy of 264 bytes takes three.
    static let greatestRatio = 88

    /// Appends the compressed form of `bytes` and gives its length; nil, and nothing appended, if it saves too little.
    ///
    /// liblzf keeps a table of 256 KiB on the stack. O(count).
    static func compress(_ bytes: ByteView, into store: ByteStore) -> Int? {
        guard bytes.count > longestUncompressed, bytes.count <= Int(UInt32.max) else { return nil }
        let room = bytes.count - leastSaving
        // liblzf reads `bytes.count` bytes and writes at most `room`; it gives 0 if they do not suffice.
        let written = unsafe store.appendUpTo(room) { target in
            unsafe Int(
                lzf_compress(bytes.rawBuffer.baseAddress, UInt32(bytes.count), target, UInt32(room))
            )
        }
        return written > 0 ? written : nil
    }

    /// Appends the `length` bytes that `bytes` stands for; false if it stands for anything else, which leaves the
    /// store with a part of them.
    ///
    /// O(length).
    ///
    /// Written here rather than taken from the library, so that what is read from strangers is checked in Swift.
    static func decompress(_ bytes: ByteView, length: Int, into store: ByteStore) -> Bool {
        // Refused before memory is asked for: so few bytes cannot stand for so many.
        guard length >= 0, length / greatestRatio <= bytes.count else { return false }
        var isValid = false
        unsafe store.appendUpTo(length) { target in
            isValid = unsafe decompress(bytes, to: target, length: length)
            return isValid ? length : 0
        }
        return isValid
    }

    /// Every read lies within `bytes` by its own checks; every write is behind a check against `length`, and every copy
    /// begins at or after `target`.
    private static func decompress(_ bytes: ByteView, to target: UnsafeMutableRawPointer, length: Int) -> Bool {
        guard let source = unsafe bytes.rawBuffer.baseAddress else { return length == 0 }
        let end = bytes.count
        var input = 0
        var output = 0
        while input < end {
            let control = unsafe Int(source.load(fromByteOffset: input, as: UInt8.self))
            input += 1
            if control < 32 {
                let run = control + 1
                guard run <= end - input, run <= length - output else { return false }
                unsafe (target + output).copyMemory(from: source + input, byteCount: run)
                input += run
                output += run
                continue
            }
            var run = control >> 5 + 2
            if run == 9 {
                guard input < end else { return false }
                run += unsafe Int(source.load(fromByteOffset: input, as: UInt8.self))
                input += 1
            }
            guard input < end else { return false }
            let distance = unsafe (control & 31) << 8 | Int(source.load(fromByteOffset: input, as: UInt8.self)) + 1
            input += 1
            guard distance <= output, run <= length - output else { return false }
            if distance >= run {
                unsafe (target + output).copyMemory(from: target + (output - distance), byteCount: run)
            } else {
                // The copy reads what it has just written.
                for index in output..<output + run {
                    let byte = unsafe target.load(fromByteOffset: index - distance, as: UInt8.self)
                    unsafe target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
                }
            }
            output += run
        }
        return output == length
    }
}
