// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Writes one value after the other: the type byte is its caller's, the rest is done here.
struct RDBValueWriter {
    private let output: RDBOutput
    private let packed = ByteStore()
    private let text = ByteStore()
    private var shape = RDBValueShape.string
    private var written = 0
    private var ziplist: ZiplistWriter?
    private var intset: IntsetWriter?
    /// How many bytes of a string that comes in pieces are still to come.
    private var bytesToCome = 0

    init(_ output: RDBOutput) { self.output = output }

    /// Begins a value behind its type byte and key.
    mutating func begin(_ shape: RDBValueShape) throws(RDBError) {
        self.shape = shape
        written = 0
        bytesToCome = 0
        ziplist = nil
        intset = nil
        guard shape.kind != .string else { return }
        switch shape.form {
        case .plain: try output.append(length: shape.count)
        case .compact where shape.kind == .set: intset = IntsetWriter()
        case .compact: ziplist = ZiplistWriter(in: packed)
        }
    }

    /// Writes the next element, which must be of the value's type.
    mutating func append(_ element: RDBElement) throws(RDBError) {
        guard element.kind == shape.kind else { throw .unencodable("an element of another type than its value") }
        guard written < shape.count else { throw .unencodable("more elements than the \(shape.count) announced") }
        written += 1
        if intset != nil {
            guard case .setMember(let member) = element else { return }
            try intset?.append(member)
        } else if ziplist != nil {
            try appendToZiplist(element)
        } else {
            try appendPlain(element)
        }
    }

    /// Begins the string that is the value as one that comes in pieces, of `count` bytes together.
    ///
    /// It is written plain, without compression, so that it never is in memory as a whole.
    mutating func beginPieces(count: Int) throws(RDBError) {
        guard shape.kind == .string, written == 0 else { throw .unencodable("pieces of what is no string") }
        written = 1
        bytesToCome = count
        try output.append(length: count)
    }

    /// Writes the next piece of a string.
    mutating func append(piece: ByteView) throws(RDBError) {
        guard piece.count <= bytesToCome else { throw .unencodable("a string longer than announced") }
        bytesToCome -= piece.count
        output.append(piece)
        try output.handOnIfFull()
    }

    /// Ends the value, of which there must have been as many elements as announced.
    mutating func end() throws(RDBError) {
        guard written == shape.count else {
            throw .unencodable("\(written) elements instead of the \(shape.count) announced")
        }
        guard bytesToCome == 0 else { throw .unencodable("a string shorter than announced") }
        if intset != nil {
            try intset?.finish(in: packed)
        } else if let ziplist {
            try ziplist.finish()
        } else {
            return try output.handOnIfFull()
        }
        try output.append(string: packed.view)
    }

    private func appendPlain(_ element: RDBElement) throws(RDBError) {
        switch element {
        case .string(let bytes), .listElement(let bytes), .setMember(let bytes):
            try output.append(string: bytes)
        case .sortedSetMember(let member, let score):
            try output.append(string: member)
            output.append(score: score)
        case .hashField(let field, let value):
            try output.append(string: field)
            try output.append(string: value)
        }
    }

    private mutating func appendToZiplist(_ element: RDBElement) throws(RDBError) {
        switch element {
        case .string(let bytes), .listElement(let bytes), .setMember(let bytes):
            try ziplist?.append(bytes)
        case .sortedSetMember(let member, let score):
            try ziplist?.append(member)
            text.removeAll()
            Decimal.append(score: score, to: text)
            try ziplist?.append(text.view)
        case .hashField(let field, let value):
            try ziplist?.append(field)
            try ziplist?.append(value)
        }
    }
}
