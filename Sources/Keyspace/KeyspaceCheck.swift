// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

extension Keyspace {
    /// Opens the keyspace in `directory` at its last durable commit, walks everything and reports each broken
    /// invariant as a sentence; nothing is reported when it is sound.
    ///
    /// O(rows), and memory for each large value.
    ///
    /// - Throws: `KeyspaceError` if it cannot be opened at all.
    public static func check(directory: String, databases: Int = 256) throws(KeyspaceError) -> [String] {
        var options = KeyspaceOptions()
        options.databases = databases
        let keyspace = try Keyspace(directory: directory, options: options)
        defer { keyspace.close() }
        return keyspace.check()
    }

    /// Walks everything and reports each broken invariant as a sentence.
    ///
    /// O(rows).
    public func check() -> [String] {
        var check = KeyspaceCheck(keyspace: self)
        do throws(LMDBError) {
            try check.run()
        } catch {
            check.report("reading failed: \(error)")
        }
        return check.problems
    }
}

/// One walk over a keyspace that compares all that is kept twice.
struct KeyspaceCheck {
    let keyspace: Keyspace
    private(set) var problems: [String] = []

    /// What the element rows of an object come to.
    struct Elements {
        var home: Int
        /// Bytes of rows, but for those of blobs that were let go of.
        var bytes = 0
        var highestIndex = -1
        var highestLength = 0
        var oversized = false
        var named = 0
        var nodes = 0
        /// The bytes of each blob.
        var blobs: [UInt64: Int] = [:]
        /// The blobs that named rows refer to, with the bytes of their rows.
        var references: [UInt64: Int] = [:]
    }

    private(set) var elements: [UInt64: Elements] = [:]
    private var owners: [UInt64: String] = [:]
    /// Blobs in the reclaim table.
    private var releasedBlobs: Set<UInt64> = []
    private var walked: [Int: [Int: SlotCounts]] = [:]
    private var deadSpacesSeen: Set<UInt16> = []
    private let rowKey = RowKey()

    init(keyspace: Keyspace) { self.keyspace = keyspace }

    mutating func report(_ problem: String) {
        if problems.count < 100 { problems.append(problem) }
    }

    mutating func run() throws(LMDBError) {
        try checkReclaim()
        for slot in 0..<1024 { try collectElements(slot) }
        for slot in 0..<1024 { try checkRows(slot) }
        checkOwners()
        checkCounts()
        try checkExpiryIndex()
        if !keyspace.hasUncommittedChanges { try checkPages() }
    }

    private mutating func collectElements(_ slot: Int) throws(LMDBError) {
        let cursor = try keyspace.transaction.cursor(keyspace.slotTables[slot])
        defer { cursor.close() }
        rowKey.setElementPrefix(object: nil)
        var row = try cursor.seek(rowKey.view)
        while let found = row {
            row = nil
            guard found.key.count > RowKeyLayout.elementPrefixLength, found.key[0] == RowKeyLayout.elementMark else {
                report("slot \(slot): an element row has a damaged key")
                break
            }
            let object = found.key.bigEndian(UInt64.self, at: 1)
            if elements[object] == nil { elements[object] = Elements(home: slot) }
            if let home = elements[object]?.home, home != slot {
                report("object \(object) has rows in slots \(home) and \(slot)")
            }
            if let problem = addElement(found, &elements[object, default: Elements(home: slot)]) {
                report("slot \(slot), object \(object): \(problem)")
            }
            row = try cursor.next()
        }
    }

    /// Adds a row to what is known of its object; returns what is wrong with it.
    private func addElement(_ row: Cursor.Row, _ sum: inout Elements) -> String? {
        let bytes = row.key.count + row.value.count
        switch row.key[RowKeyLayout.elementPrefixLength - 1] {
        case ElementKind.chunk:
            guard row.key.count == ElementKind.chunkKeyLength else { return "a chunk has a damaged key" }
            sum.highestIndex = Int(row.key.bigEndian(UInt32.self, at: 10))
            sum.highestLength = row.value.count
            if row.value.count > Keyspace.chunkLength { sum.oversized = true }
        case ElementKind.named:
            sum.named += 1
            sum.bytes += bytes
            return checkNamed(row, &sum)
        case ElementKind.node:
            guard row.key.count == ElementKind.nodeKeyLength else { return "a node has a damaged key" }
            guard row.value.count == TreeNode.length else { return "a node has \(row.value.count) bytes" }
            sum.nodes += 1
        case ElementKind.blob:
            guard row.key.count == ElementKind.blobKeyLength else { return "a blob has a damaged key" }
            let blob = row.key.bigEndian(UInt64.self, at: 10)
            if releasedBlobs.contains(blob) { return nil }
            sum.blobs[blob, default: 0] += bytes
            if row.value.count > Keyspace.chunkLength { sum.oversized = true }
        case let kind: return "an element row is of the unknown kind \(kind)"
        }
        sum.bytes += bytes
        return nil
    }

    private func checkNamed(_ row: Cursor.Row, _ sum: inout Elements) -> String? {
        guard row.key.count >= RowKeyLayout.namedPrefixLength, let named = NamedRow(row.value) else {
            return "a named element is damaged"
        }
        if 8 + row.key.count + row.value.count > Keyspace.longestNode { return "a named element is too long" }
        guard (named.nameBlob != 0) == (row.key.count == RowKeyLayout.longNamedKey) else {
            return "the name of an element is not where it should be"
        }
        let hash = row.key.bigEndian(UInt64.self, at: RowKeyLayout.elementPrefixLength)
        if named.nameBlob == 0 {
            let name = row.key.dropFirst(RowKeyLayout.namedPrefixLength)
            if keyspace.state.hashKey.hash(name) != hash { return "an element is in the wrong place" }
        } else {
            sum.references[named.nameBlob] = Keyspace.blobBytes(named.nameLength)
        }
        if named.valueBlob != 0 { sum.references[named.valueBlob] = Keyspace.blobBytes(named.valueLength) }
        return nil
    }

    private mutating func checkRows(_ slot: Int) throws(LMDBError) {
        let cursor = try keyspace.transaction.cursor(keyspace.slotTables[slot])
        defer { cursor.close() }
        var row = try cursor.first()
        while let found = row, found.key.count > 0, found.key[0] != RowKeyLayout.elementMark {
            try checkRow(found, slot)
            row = try cursor.next()
        }
    }

    private mutating func checkRow(_ row: Cursor.Row, _ slot: Int) throws(LMDBError) {
        guard row.key.count >= RowKeyLayout.prefixLength, let record = Record(row.value) else {
            report("slot \(slot): a row is damaged")
            return
        }
        let space = row.key.bigEndian(UInt16.self, at: 0)
        guard space < RowKeyLayout.spaceLimit else {
            report("slot \(slot): a row is in the space \(space), which cannot be")
            return
        }
        let database = Int(keyspace.databaseOfSpace[Int(space)])
        let key = keyspace.reader.redisKey(rowKey: row.key, record)
        let name = "database \(database), slot \(slot), key '\(String(decoding: key.prefix(64), as: UTF8.self))'"
        if database < 0, keyspace.reclaimedSpaces[space] == nil {
            report("slot \(slot): a row is in the space \(space), which no database has")
        }
        ByteView.with(key) { rowKey.set($0, space: space, hashKey: keyspace.state.hashKey) }
        if rowKey.slot != slot { report("\(name): belongs into slot \(rowKey.slot)") }
        if rowKey.view != row.key { report("\(name): its row key does not follow from its bytes") }
        if database >= 0 {
            var sum = walked[database, default: [:]][slot] ?? SlotCounts()
            sum.keys += 1
            sum.bytes += row.key.count + row.value.count + record.objectBytes
            if record.object != 0 { sum.objects += 1 }
            if record.keyObject != 0 {
                sum.bytes += Keyspace.keyObjectBytes(record.longKeyLength)
                sum.objects += 1
            }
            if record.expireAtMilliseconds != 0 {
                sum.expiring += 1
                sum.expirySum &+= UInt64(bitPattern: record.expireAtMilliseconds)
                rowKey.setExpiry(atMilliseconds: record.expireAtMilliseconds, rowKey: row.key)
                if try keyspace.transaction.get(rowKey.view, in: keyspace.expiryTable) == nil {
                    report("\(name): is missing from the expiry index")
                }
            }
            walked[database, default: [:]][slot] = sum
        }
        if record.object != 0 {
            try checkObject(record, name)
        } else if record.type != .string {
            checkPacked(record, name)
        }
        if record.keyObject != 0 {
            claim(record.keyObject, name)
            if elements[record.keyObject]?.bytes != Keyspace.keyObjectBytes(record.longKeyLength) {
                report("\(name): the rows of its key are incomplete")
            }
        }
    }

    private mutating func claim(_ object: UInt64, _ owner: String) {
        if let first = owners.updateValue(owner, forKey: object) {
            report("object \(object) belongs to \(first) and to \(owner)")
        }
        if object >= keyspace.state.nextObject { report("\(owner): its object \(object) is from the future") }
    }

    private mutating func checkObject(_ record: Record, _ name: String) throws(LMDBError) {
        claim(record.object, name)
        let stored = elements[record.object] ?? Elements(home: Int(record.home))
        if stored.home != Int(record.home) { report("\(name): its rows are in slot \(stored.home)") }
        if stored.bytes != record.objectBytes {
            report("\(name): its rows have \(stored.bytes) bytes, its head says \(record.objectBytes)")
        }
        if stored.oversized { report("\(name): has a chunk that is too long") }
        switch record.type {
        case .string:
            let end = stored.highestIndex * Keyspace.chunkLength + stored.highestLength
            if stored.highestIndex >= 0, end > record.count { report("\(name): has a chunk beyond its length") }
            if !record.payload.isEmpty { report("\(name): a large string has bytes in its row") }
        case .set, .hash, .sortedSet:
            if stored.named != record.count {
                report("\(name): has \(stored.named) elements, its head says \(record.count)")
            }
            if stored.blobs != stored.references { report("\(name): its blobs are not those of its elements") }
        case .list: checkList(record, stored, name)
        }
        if record.type == .sortedSet { try checkTree(record, stored, name) }
        if record.type != .string, record.payload.count > Record.longestCollectionPayload {
            report("\(name): its row has \(record.payload.count) bytes of payload")
        }
    }

    /// The tree of a sorted set in rows.
    private mutating func checkTree(_ record: Record, _ stored: Elements, _ name: String) throws(LMDBError) {
        let (problems, nodes) = try keyspace.reader.checkSortedSet(record)
        for problem in problems { report("\(name): \(problem)") }
        if nodes != stored.nodes { report("\(name): has \(stored.nodes) nodes, its tree \(nodes)") }
    }

    /// A collection that is packed into its row.
    private mutating func checkPacked(_ record: Record, _ name: String) {
        if record.payload.count > Record.longestCollectionPayload {
            report("\(name): \(record.payload.count) bytes are packed into its row")
        }
        var reader = PackedReader(record.payload)
        var count = 0
        var names: Set<[UInt8]> = []
        while let element = reader.nextElement(of: record.type) {
            count += 1
            switch element {
            case .member(let member), .field(let member, _), .scored(let member, _):
                names.insert(keyspace.reader.bytes(of: member))
            case .element, .string: break
            }
        }
        if !reader.isAtEnd { report("\(name): its packed elements are damaged") }
        if record.type == .sortedSet { checkOrder(record, name) }
        if record.count == 0 { report("\(name): has no elements") }
        if count != record.count { report("\(name): \(count) elements are packed, its head says \(record.count)") }
        if record.type != .list, names.count != count { report("\(name): has an element twice") }
    }

    private mutating func checkOrder(_ record: Record, _ name: String) {
        var reader = PackedReader(record.payload)
        var last: (score: Double, member: ByteView)?
        while let next = reader.nextScored() {
            if let last, last.score > next.score || last.score == next.score && last.member.compare(next.member) >= 0 {
                report("\(name): its packed members are out of order")
            }
            last = next
        }
    }

    private mutating func checkReclaim() throws(LMDBError) {
        let cursor = try keyspace.transaction.cursor(keyspace.reclaimTable)
        defer { cursor.close() }
        var row = try cursor.first()
        while let found = row {
            if found.key.count == 17 {
                let id = found.key.bigEndian(UInt64.self, at: 9)
                switch found.key[0] {
                case ReclaimKind.object, ReclaimKind.unfinished: claim(id, "the reclaim table")
                case ReclaimKind.blob, ReclaimKind.unfinishedBlob: releasedBlobs.insert(id)
                case ReclaimKind.space: break
                case let kind: report("the reclaim table has a row of the unknown kind \(kind)")
                }
            } else {
                report("the reclaim table has a damaged row")
            }
            row = try cursor.next()
        }
    }

    private mutating func checkOwners() {
        for object in elements.keys where owners[object] == nil {
            report("object \(object) has rows, but nobody refers to it")
        }
    }

    private mutating func checkCounts() {
        for database in 0..<256 {
            var total = SlotCounts()
            for slot in 0..<1024 {
                let found = walked[database]?[slot] ?? SlotCounts()
                let counted = keyspace.counts[database].slots[slot]
                total += found
                if found != counted { report("database \(database), slot \(slot): \(found), counted \(counted)") }
            }
            if total != keyspace.counts[database].total {
                report("database \(database): \(total), counted \(keyspace.counts[database].total)")
            }
        }
    }

    private mutating func checkExpiryIndex() throws(LMDBError) {
        let cursor = try keyspace.transaction.cursor(keyspace.expiryTable)
        defer { cursor.close() }
        var row = try cursor.first()
        while let found = row {
            try checkExpiry(found.key)
            row = try cursor.next()
        }
    }

    private mutating func checkExpiry(_ entry: ByteView) throws(LMDBError) {
        guard entry.count >= 8 + RowKeyLayout.prefixLength else {
            report("the expiry index has a damaged row")
            return
        }
        let rowKey = entry.dropFirst(8)
        let space = rowKey.bigEndian(UInt16.self, at: 0)
        guard space < RowKeyLayout.spaceLimit, keyspace.databaseOfSpace[Int(space)] >= 0 else { return }
        let slot = Int(rowKey.bigEndian(UInt32.self, at: 2) & 1023)
        let value = try keyspace.transaction.get(rowKey, in: keyspace.slotTables[slot])
        if value.flatMap({ Record($0) })?.expireAtMilliseconds != entry.bigEndian(Int64.self, at: 0) {
            report("slot \(slot): the expiry index has a row that no key has")
        }
    }

    /// Every page of the file is used by just one table or free.
    private mutating func checkPages() throws(LMDBError) {
        let transaction = keyspace.transaction
        var pages = 2
        let others = [Transaction.freePages, Transaction.names, keyspace.metaTable, keyspace.expiryTable]
        for table in keyspace.slotTables + others + [keyspace.reclaimTable, keyspace.countsTable] {
            pages += try transaction.statistics(of: table).pages
        }
        let reader = try keyspace.environment.beginReading()
        let cursor = try reader.cursor(Transaction.freePages)
        defer { cursor.close() }
        var row = try cursor.first()
        while let found = row {
            pages += Int(truncatingIfNeeded: found.value.littleEndian(UInt64.self, at: 0))
            row = try cursor.next()
        }
        let last = keyspace.environment.information.lastPage
        if pages != last + 1 { report("the file has \(last + 1) pages, of which \(pages) are accounted for") }
    }
}
