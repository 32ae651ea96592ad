// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RDB

/// What must hold for every input whatever, checked by the tests and by the fuzzer.
enum RDBProperties {
    /// An element with its own bytes.
    enum Item: Equatable {
        case one([UInt8])
        case pair([UInt8], [UInt8])
        case scored([UInt8], UInt64)
    }

    /// What a reader says of a file.
    enum Event: Equatable {
        case fact([UInt8], [UInt8])
        case size(Int, UInt64, UInt64)
        case key(database: Int, name: [UInt8], kind: RDBKind, expiry: Int64?, items: [Item])
        case skipped(RDBUnsupported, [UInt8]?)
        case end(UInt64)
        case failure(RDBError)
    }

    /// The first property that `bytes` break, or nil.
    ///
    /// They are taken as a file, as what follows the signature of one, and as a payload without its footer.
    static func violation(_ bytes: [UInt8]) -> String? {
        if let violation = fileViolation(bytes) { return violation }
        if let violation = fileViolation(Array("REDIS0012".utf8) + bytes) { return violation }
        return payloadViolation(bytes)
    }

    // MARK: Files

    /// However the bytes come, the reader says the same; and what it read, it reads again from what is written of it.
    private static func fileViolation(_ bytes: [UInt8]) -> String? {
        let whole = ByteView.with(bytes) { events(of: RDBReader($0, options: options)) }
        for size in [1, 7] {
            var position = 0
            let reader = RDBReader(options: options) {
                let chunk = Array(bytes[position..<min(position + size, bytes.count)])
                position += chunk.count
                return chunk
            }
            let chunked = events(of: reader)
            // A length beyond the end may be seen at once in memory, and only at the end of a stream.
            if chunked.dropLast() != whole.dropLast() || !isAlike(chunked.last, whole.last) {
                return "in chunks of \(size): \(chunked) instead of \(whole)"
            }
        }
        var checking = options
        checking.verifiesChecksum = true
        checking.skipsUnsupported = false
        _ = ByteView.with(bytes) { events(of: RDBReader($0, options: checking)) }
        guard case .end = whole.last else { return nil }
        do throws(RDBError) {
            return try rewriteViolation(whole)
        } catch {
            return "written, it cannot be read: \(error)"
        }
    }

    private static var options: RDBReader.Options {
        var options = RDBReader.Options()
        options.verifiesChecksum = false
        options.skipsUnsupported = true
        return options
    }

    private static func isAlike(_ left: Event?, _ right: Event?) -> Bool {
        if case .failure = left, case .failure = right { return true }
        return left == right
    }

    private static func events(of reader: RDBReader) -> [Event] {
        var events: [Event] = []
        do throws(RDBError) {
            while true {
                switch try reader.next() {
                case .auxiliaryField(let name, let value):
                    events.append(.fact(Array(name), Array(value)))
                case .databaseSize(let index, let keys, let expiring):
                    events.append(.size(index, keys, expiring))
                case .skipped(let what, let key, _):
                    events.append(.skipped(what, key.map { Array($0) }))
                case .key(let key):
                    let name = Array(key.name)
                    let items = try items(of: reader.value)
                    events.append(
                        .key(
                            database: key.databaseIndex,
                            name: name,
                            kind: key.kind,
                            expiry: key.expireAtMilliseconds,
                            items: items
                        )
                    )
                case .end:
                    return events + [.end(reader.bytesRead)]
                }
            }
        } catch {
            return events + [.failure(error)]
        }
    }

    private static func rewriteViolation(_ events: [Event]) throws(RDBError) -> String? {
        let output = Output()
        let writer = RDBWriter { output.bytes += Array($0) }
        var keys: [Event] = []
        for event in events {
            guard case .key(let database, let name, let kind, let expiry, let items) = event else { continue }
            keys.append(event)
            try writer.selectDatabase(database)
            try ByteView.with(name) { view throws(RDBError) in
                try writer.beginKey(
                    view,
                    expireAtMilliseconds: expiry,
                    RDBValueShape(kind, count: items.count)
                )
            }
            for item in items { try lend(item, kind) { element throws(RDBError) in try writer.append(element) } }
            try writer.endKey()
        }
        try writer.finish()
        let again = ByteView.with(output.bytes) { Self.events(of: RDBReader($0)) }
        return again.dropLast() == keys[...] ? nil : "written, \(keys) is read as \(again)"
    }

    private final class Output {
        var bytes: [UInt8] = []
    }

    // MARK: Payloads

    /// Validation and reading agree; and what was read is read again from the payloads made of it, in every form.
    private static func payloadViolation(_ bytes: [UInt8]) -> String? {
        for version in [6, 12] as [UInt8] {
            let payload = withFooter(bytes, version: version)
            let accepted = version == 6 ? DumpPayload.versionsOfRedis28 : DumpPayload.readableVersions
            let items = try? read(payload, accepted)
            let counted = try? ByteView.with(payload) { view throws(RDBError) in
                try DumpPayload.validate(view, accepting: accepted)
            }
            guard let items, items.items.count > 0 else {
                if counted != nil { return "valid, but not to be read" }
                continue
            }
            guard counted?.kind == items.kind, counted?.count == items.items.count else { return "read, but not valid" }
            for form in [RDBValueShape.Form.plain, .compact] {
                if let violation = encodeViolation(items, form) { return violation }
            }
        }
        return nil
    }

    private typealias Value = (kind: RDBKind, items: [Item])

    private static func encodeViolation(_ value: Value, _ form: RDBValueShape.Form) -> String? {
        let encoder = DumpEncoder()
        let payload: [UInt8]
        do throws(RDBError) {
            try encoder.begin(RDBValueShape(value.kind, form, count: value.items.count))
            for item in value.items {
                try lend(item, value.kind) { element throws(RDBError) in try encoder.append(element) }
            }
            payload = Array(try encoder.finish())
        } catch {
            // Members that are no integers, or not different, are no set of integers.
            return value.kind == .set && form == .compact ? nil : "cannot be written: \(error)"
        }
        guard let again = try? read(payload, DumpPayload.versionsOfRedis28) else { return "written, it cannot be read" }
        let isSame =
            value.kind == .set && form == .compact
            ? again.items.count == value.items.count : again.items == value.items
        return isSame && again.kind == value.kind ? nil : "written, \(value) is read as \(again)"
    }

    private static func read(_ payload: [UInt8], _ versions: ClosedRange<Int>) throws(RDBError) -> Value {
        // A copy, so that the sanitizer sees a read beyond the end.
        let copy = payload.map { $0 }
        return try ByteView.with(copy) { view throws(RDBError) in
            let reader = try DumpPayload.reader(of: view, accepting: versions)
            return (reader.kind, try items(of: reader))
        }
    }

    // MARK: Elements

    private static func items(of reader: RDBValueReader) throws(RDBError) -> [Item] {
        var items: [Item] = []
        while let element = try reader.next() {
            switch element {
            case .string(let bytes), .listElement(let bytes), .setMember(let bytes):
                items.append(.one(Array(bytes)))
            case .hashField(let field, let value):
                items.append(.pair(Array(field), Array(value)))
            case .sortedSetMember(let member, let score):
                // Zero loses its sign in one of the forms.
                items.append(.scored(Array(member), score == 0 ? 0 : score.bitPattern))
            }
        }
        return items
    }

    private static func lend(
        _ item: Item,
        _ kind: RDBKind,
        _ body: (RDBElement) throws(RDBError) -> Void
    ) throws(RDBError) {
        switch item {
        case .one(let bytes):
            try ByteView.with(bytes) { view throws(RDBError) in
                try body(kind == .string ? .string(view) : kind == .list ? .listElement(view) : .setMember(view))
            }
        case .pair(let field, let value):
            try ByteView.with(field) { view throws(RDBError) in
                try ByteView.with(value) { other throws(RDBError) in try body(.hashField(view, value: other)) }
            }
        case .scored(let member, let score):
            try ByteView.with(member) { view throws(RDBError) in
                try body(.sortedSetMember(view, score: Double(bitPattern: score)))
            }
        }
    }

    private static func withFooter(_ bytes: [UInt8], version: UInt8) -> [UInt8] {
        let payload = bytes + [version, 0]
        var state: UInt64 = 0
        for byte in payload {
            state ^= UInt64(byte)
            for _ in 0..<8 { state = state & 1 == 1 ? state >> 1 ^ 0x95AC_9329_AC4B_C9B5 : state >> 1 }
        }
        return payload + (0..<8).map { UInt8(state >> (8 * UInt64($0)) & 0xFF) }
    }
}
