// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import Glibc
internal import LMDB

/// Small values on their way into a keyspace that is being built, gathered so that they can be written in the order of
/// its rows.
///
/// A dump has its keys in no order. Written as they come, each would touch another page, every page would be split on
/// the way, and copied anew after each commit. Here they are first sorted by slot, each slot in a block of memory of
/// its own, which goes to a file when it is full; at the end the rows of one slot after the other are sorted and
/// appended to its table. So memory stays bounded however many there are. The file has no name and goes with its
/// owner.
///
/// Nobody may look at the keyspace meanwhile: what was added is not there before `finish()`.
@safe
public final class BulkLoad {
    private let keyspace: Keyspace
    private let descriptor: Int32
    /// A block for each slot.
    private let memory: UnsafeMutableRawPointer
    private var used = [Int](repeating: 0, count: 1024)
    /// The blocks of each slot that are in the file.
    private var blocks = [[UInt32]](repeating: [], count: 1024)
    private var blockCount = 0
    /// How many blocks the file may have before all that was gathered is written into the keyspace.
    private let mostBlocks: Int
    private let target = RowKey()
    /// The blocks of a slot that is being written, and their rows.
    private var gathered: UnsafeMutableRawPointer?
    private var gatheredCapacity = 0
    private var entries: [Entry] = []

    /// A row: the first bytes of its key as a number, and where it lies in `gathered`.
    private struct Entry {
        var order: UInt64
        var offset: Int
    }

    private static let blockLength = 8 << 10
    /// `[bytes in use: 4]` at the beginning of a block.
    private static let blockHead = 4
    /// `[length of the row's key: 2][length of the row: 2]` before each row.
    private static let rowHead = 4
    /// So many blocks of a slot are sorted at once: 64 MiB.
    private static let mostBlocksAtOnce = 8192

    /// A load into `keyspace`, with a file in `directory`.
    ///
    /// - Throws: `KeyspaceError.failed` if the file cannot be made.
    public init(_ keyspace: Keyspace, directory: String) throws(KeyspaceError) {
        let path = "\(directory)/temp-load.\(getpid())"
        descriptor = unsafe open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw BulkLoad.failure("opening \(path)") }
        unsafe unlink(path)
        self.keyspace = keyspace
        unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: 1024 * BulkLoad.blockLength, alignment: 4096)
        // What is gathered takes at most a quarter of the disk that is free now, so that it does not stand in the way
        // of the keyspace.
        var statistics = statvfs()
        let isKnown = unsafe fstatvfs(descriptor, &statistics) == 0
        let free = isKnown ? Int(statistics.f_bavail) * Int(statistics.f_frsize) : 0
        mostBlocks = min(max(free / 4 / BulkLoad.blockLength, 1024), Int(UInt32.max))
    }

    deinit {
        close(descriptor)
        unsafe memory.deallocate()
        unsafe gathered?.deallocate()
    }

    private static func failure(_ operation: String) -> KeyspaceError {
        if errno == ENOSPC { return .outOfSpace }
        return .failed("\(operation): \(unsafe String(cString: strerror(errno)))")
    }

    // MARK: Gathering

    /// Takes a string, if it is one that fits a row; of a key that comes again the last counts.
    ///
    /// - Returns: false if it must be written by other means.
    public func add(
        _ key: ByteView,
        _ value: ByteView,
        in database: Int,
        expireAtMilliseconds: Int64
    ) throws(KeyspaceError) -> Bool {
        try add(key, Record(type: .string, expireAtMilliseconds: expireAtMilliseconds), value, in: database)
    }

    /// Takes a value whose row has this head and payload, if it fits.
    func add(
        _ key: ByteView,
        _ record: Record,
        _ payload: ByteView,
        in database: Int
    ) throws(KeyspaceError) -> Bool {
        target.set(key, space: keyspace.state.spaces[database], hashKey: keyspace.state.hashKey)
        let rowLength = record.rowLength(payloadLength: payload.count)
        guard !target.isLong, 8 + target.length + rowLength <= Keyspace.longestNode else { return false }
        let slot = target.slot
        let length = BulkLoad.rowHead + target.length + rowLength
        if used[slot] == 0 { used[slot] = BulkLoad.blockHead }
        if used[slot] + length > BulkLoad.blockLength { try store(slot) }
        let start = unsafe memory + slot * BulkLoad.blockLength + used[slot]
        var writer = unsafe RowWriter(UnsafeMutableRawBufferPointer(start: start, count: length))
        writer.append(littleEndian: UInt16(target.length))
        writer.append(littleEndian: UInt16(rowLength))
        writer.append(target.view)
        record.writeHead(to: &writer)
        writer.append(payload)
        used[slot] += length
        return true
    }

    /// Puts the block of `slot` into the file, and begins it anew.
    private func store(_ slot: Int) throws(KeyspaceError) {
        if blockCount >= mostBlocks { try writeAll() }
        let block = unsafe memory + slot * BulkLoad.blockLength
        unsafe block.storeBytes(of: UInt32(used[slot]), as: UInt32.self)
        var done = 0
        while done < BulkLoad.blockLength {
            let position = off_t(blockCount * BulkLoad.blockLength + done)
            let count = unsafe pwrite(descriptor, block + done, BulkLoad.blockLength - done, position)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw BulkLoad.failure("writing what is loaded") }
            done += count
        }
        blocks[slot].append(UInt32(blockCount))
        blockCount += 1
        used[slot] = BulkLoad.blockHead
    }

    // MARK: Writing

    /// Writes everything into the keyspace, which commits through `onPressure` where it must.
    public func finish() throws(KeyspaceError) { try writeAll() }

    private func writeAll() throws(KeyspaceError) {
        for slot in 0..<1024 where used[slot] > 0 {
            var first = 0
            repeat {
                let last = min(first + BulkLoad.mostBlocksAtOnce, blocks[slot].count)
                let bytes = try gather(slot, first..<last, isLast: last == blocks[slot].count)
                try writeRows(of: slot, bytes)
                first = last
            } while first < blocks[slot].count
            blocks[slot] = []
            used[slot] = 0
        }
        blockCount = 0
        ftruncate(descriptor, 0)
    }

    /// Brings blocks of `slot` together, with the last one that is still in memory if `isLast`, and lists their rows.
    private func gather(_ slot: Int, _ range: Range<Int>, isLast: Bool) throws(KeyspaceError) -> ByteView {
        let count = range.count + (isLast ? 1 : 0)
        if gatheredCapacity < count * BulkLoad.blockLength {
            unsafe gathered?.deallocate()
            gatheredCapacity = (count + count / 2) * BulkLoad.blockLength
            unsafe gathered = UnsafeMutableRawPointer.allocate(byteCount: gatheredCapacity, alignment: 4096)
        }
        guard let base = unsafe gathered else { return ByteView() }
        entries.removeAll(keepingCapacity: true)
        for (index, block) in blocks[slot][range].enumerated() {
            try unsafe read(Int(block), into: base + index * BulkLoad.blockLength)
        }
        if isLast {
            let own = unsafe memory + slot * BulkLoad.blockLength
            unsafe own.storeBytes(of: UInt32(used[slot]), as: UInt32.self)
            let end = unsafe base + range.count * BulkLoad.blockLength
            unsafe end.copyMemory(from: own, byteCount: used[slot])
        }
        let bytes = unsafe ByteView(start: base, count: count * BulkLoad.blockLength)
        for block in 0..<count {
            let start = block * BulkLoad.blockLength
            let end = start + Int(bytes.littleEndian(UInt32.self, at: start))
            var offset = start + BulkLoad.blockHead
            while offset < end {
                let order = bytes.bigEndian(UInt64.self, at: offset + BulkLoad.rowHead)
                entries.append(Entry(order: order, offset: offset))
                offset +=
                    BulkLoad.rowHead + Int(bytes.littleEndian(UInt16.self, at: offset))
                    + Int(bytes.littleEndian(UInt16.self, at: offset + 2))
            }
        }
        return bytes
    }

    private func read(_ block: Int, into target: UnsafeMutableRawPointer) throws(KeyspaceError) {
        var done = 0
        while done < BulkLoad.blockLength {
            let position = off_t(block * BulkLoad.blockLength + done)
            let count = unsafe pread(descriptor, target + done, BulkLoad.blockLength - done, position)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw BulkLoad.failure("reading what is loaded") }
            done += count
        }
    }

    /// The key of the row at `offset`, and the row.
    @inline(__always)
    private func row(_ bytes: ByteView, at offset: Int) -> (key: ByteView, row: ByteView) {
        let keyEnd = offset + BulkLoad.rowHead + Int(bytes.littleEndian(UInt16.self, at: offset))
        let rowEnd = keyEnd + Int(bytes.littleEndian(UInt16.self, at: offset + 2))
        return (bytes[(offset + BulkLoad.rowHead)..<keyEnd], bytes[keyEnd..<rowEnd])
    }

    private func writeRows(of slot: Int, _ bytes: ByteView) throws(KeyspaceError) {
        entries.sort { left, right in
            if left.order != right.order { return left.order < right.order }
            let (one, other) = (row(bytes, at: left.offset).key, row(bytes, at: right.offset).key)
            // Of one key that came twice the last one counts: it comes last.
            return one == other ? left.offset < right.offset : one.precedes(other)
        }
        var next = 0
        while next < entries.count {
            if keyspace.commitIsDue { try keyspace.relievePressure() }
            var again: Int?
            let (table, step) = (keyspace.slotTables[slot], next)
            next = try keyspace.change { () throws(LMDBError) in
                let isEmpty = try keyspace.transaction.statistics(of: table).entries == 0
                return try append(bytes, slot, from: step, isEmpty || step > 0 && isAppending, &again)
            }
            if let again {
                let found = row(bytes, at: entries[again].offset)
                guard let record = Record(found.row) else { throw .failed("a row that was gathered is damaged") }
                let database = Int(keyspace.databaseOfSpace[Int(found.key.bigEndian(UInt16.self, at: 0))])
                let key = found.key.dropFirst(RowKeyLayout.prefixLength)
                try keyspace.store(record, payload: record.payload, key, database)
            } else if next == step {
                throw .outOfSpace
            }
        }
    }

    /// Whether the rows of the slot that is being written go behind all others of its table.
    private var isAppending = false

    /// Writes rows from `first` on, until a commit is due, there is no more room, or the row of a key is there already,
    /// which `again` then has; gives the next one to be written.
    private func append(
        _ bytes: ByteView,
        _ slot: Int,
        from first: Int,
        _ isLast: Bool,
        _ again: inout Int?
    ) throws(LMDBError) -> Int {
        isAppending = isLast
        let cursor = try keyspace.newCursor(slot)
        var counted = SlotCounts()
        var database = -1
        defer { if database >= 0 { keyspace.counts[database].add(counted, to: slot) } }
        for index in first..<entries.count {
            if index > first, index & 63 == 0, keyspace.commitIsDue { return index }
            guard keyspace.ensureRoom(bytes: 4096) else { return index }
            let (key, row) = row(bytes, at: entries[index].offset)
            var existing = ByteView()
            let room = unsafe try cursor.insert(key, count: row.count, existing: &existing, isLast: isLast)
            guard let room = unsafe room else {
                again = index
                return index + 1
            }
            var writer = unsafe RowWriter(room)
            writer.append(row)
            let own = Int(keyspace.databaseOfSpace[Int(key.bigEndian(UInt16.self, at: 0))])
            if own != database {
                if database >= 0 { keyspace.counts[database].add(counted, to: slot) }
                counted = SlotCounts()
                database = own
            }
            counted.keys += 1
            counted.bytes += key.count + row.count
            guard row[0] & Record.Flag.expiry != 0 else { continue }
            let expiry = row.littleEndian(Int64.self, at: 2)
            keyspace.auxiliary.setExpiry(atMilliseconds: expiry, rowKey: key)
            try keyspace.transaction.put(keyspace.auxiliary.view, ByteView(), in: keyspace.expiryTable)
            counted.expiring += 1
            counted.expirySum &+= UInt64(bitPattern: expiry)
        }
        return entries.count
    }
}

extension ByteView {
    /// Whether the bytes come before `other` in the order of LMDB's keys.
    fileprivate func precedes(_ other: ByteView) -> Bool {
        let length = Swift.min(count, other.count)
        guard length > 0 else { return count < other.count }
        let left = unsafe rawBuffer.baseAddress.unsafelyUnwrapped
        let right = unsafe other.rawBuffer.baseAddress.unsafelyUnwrapped
        let order = unsafe memcmp(left, right, length)
        return order != 0 ? order < 0 : count < other.count
    }
}
