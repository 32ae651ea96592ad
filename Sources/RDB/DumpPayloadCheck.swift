// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Finds out in steps whether a payload can be taken, as ``DumpPayload/validate(_:accepting:)`` does at once.
public final class DumpPayloadCheck {
    private let payload: ByteView
    private let versions: ClosedRange<Int>
    private var checksum = CRC64()
    private var summed = 0
    private var reader: RDBValueReader?
    private var count = 0

    /// A check of `payload`, which is lent until it has ended.
    public init(_ payload: ByteView, accepting versions: ClosedRange<Int>) {
        self.payload = payload
        self.versions = versions
    }

    /// Goes on, for so many bytes of the checksum or elements of the value; true when all was found right.
    ///
    /// - Throws: what `validate` throws; the check has then ended.
    public func advance(bytes: Int, elements: Int) throws(RDBError) -> Bool {
        guard let reader else {
            guard DumpPayload.hasVersion(payload, among: versions) else { throw .wrongPayloadFooter }
            let end = payload.count - 8
            let next = min(end, summed + bytes)
            checksum.add(payload[summed..<next])
            summed = next
            guard summed == end else { return false }
            guard checksum.value == payload.littleEndian(UInt64.self, at: end) else { throw .wrongPayloadFooter }
            self.reader = try DumpPayload.readerOfContent(payload, accepting: versions)
            return false
        }
        for _ in 0..<elements {
            guard try reader.next() != nil else {
                guard count > 0 else { throw .malformed("a value without elements", position: 1) }
                return true
            }
            count += 1
        }
        return false
    }
}
