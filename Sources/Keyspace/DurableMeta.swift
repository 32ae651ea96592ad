// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Synchronization

/// The last durable commit of an environment whose commits are not synced: a copy of its meta page.
///
/// LMDB's own meta pages may reach the disk before the pages that they refer to, so they are not to be trusted after a
/// power loss. The rule is therefore: **the saved meta page is the truth, and what the data file holds in its first
/// two pages is scratch**. A commit becomes durable when its pages were synced and then its meta page was
/// saved here; until the next one is, a read transaction pins it, so that none of its pages is used again. At every
/// opening the saved page is put back, after a clean shutdown, a crash or a power loss alike.
///
/// The file has two slots of 8 KiB, written in turn, of which the newer valid one counts:
/// `[magic: 8][number of the commit: 8][page size: 4][zeros: 4][checksum of the page: 8]`, then the page at 4096.
@safe
final class DurableMeta: Sendable {
    private let descriptor: Int32
    private let newest: Mutex<Int>

    private static let magic: UInt64 = 0x3120_7372_6574_656d  // "meters 1"
    private static let slotLength = 8192
    private static let pageOffset = 4096
    private static let checksum = SipHash(key: (0x636f_6469_7320_6d65, 0x7461_2070_6167_6521))
    /// Where LMDB's meta page keeps its own number, and the number of its commit (mdb.c, `MDB_page`, `MDB_meta`).
    private static let pageNumberOffset = 0
    private static let commitNumberOffset = 144

    /// A saved meta page.
    struct Saved {
        var commit: Int
        var page: [UInt8]
    }

    /// Opens the file at `path`, making it if it is missing.
    init(path: String) throws(KeyspaceError) {
        descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .failed("cannot open \(path): \(unsafe String(cString: strerror(errno)))")
        }
        newest = Mutex(DurableMeta.read(descriptor)?.commit ?? -1)
    }

    deinit {
        close(descriptor)
    }

    /// Saves `page`, the meta page of commit number `commit`, whose pages were synced before.
    ///
    /// Any thread may call it; an older commit than the newest that was saved is let be.
    ///
    /// - Throws: `KeyspaceError.failed` if it cannot be written and synced, which must not be tried again.
    func save(commit: Int, page: [UInt8]) throws(KeyspaceError) {
        let number = newest.withLock { newest -> Int32 in
            guard commit > newest else { return 0 }
            var slot = [UInt8](repeating: 0, count: DurableMeta.slotLength)
            unsafe slot.withUnsafeMutableBytes { memory in
                var writer = unsafe RowWriter(memory)
                writer.append(littleEndian: DurableMeta.magic)
                writer.append(littleEndian: UInt64(commit))
                writer.append(littleEndian: UInt32(page.count))
                writer.append(littleEndian: UInt32(0))
                writer.append(littleEndian: ByteView.with(page) { DurableMeta.checksum.hash($0) } ^ UInt64(commit))
            }
            slot.replaceSubrange(DurableMeta.pageOffset..<(DurableMeta.pageOffset + page.count), with: page)
            let offset = off_t((commit & 1) * DurableMeta.slotLength)
            guard unsafe pwrite(descriptor, slot, slot.count, offset) == slot.count else {
                return errno == 0 ? EIO : errno
            }
            guard fdatasync(descriptor) == 0 else { return errno }
            newest = commit
            return 0
        }
        if number != 0 { throw .failed("saving the durable state: \(unsafe String(cString: strerror(number)))") }
    }

    private static func read(_ descriptor: Int32) -> Saved? {
        (0..<2).compactMap { readSlot(descriptor, $0) }.max { $0.commit < $1.commit }
    }

    private static func readSlot(_ descriptor: Int32, _ index: Int) -> Saved? {
        var slot = [UInt8](repeating: 0, count: slotLength)
        guard unsafe pread(descriptor, &slot, slotLength, off_t(index * slotLength)) == slotLength else { return nil }
        return ByteView.with(slot) { view -> Saved? in
            let length = Int(view.littleEndian(UInt32.self, at: 16))
            guard view.littleEndian(UInt64.self, at: 0) == magic, length <= slotLength - pageOffset else { return nil }
            let commit = view.littleEndian(UInt64.self, at: 8)
            let page = view[pageOffset..<(pageOffset + length)]
            guard checksum.hash(page) ^ commit == view.littleEndian(UInt64.self, at: 24) else { return nil }
            return Saved(commit: Int(commit), page: Array(page))
        }
    }

    /// Puts the saved meta page back into the data file of the keyspace in `directory`, before it is opened.
    ///
    /// Both of LMDB's meta pages get it, the second as the commit before, so that LMDB opens just this commit.
    ///
    /// - Returns: the size in bytes of what the commit uses of the data file.
    /// - Throws: `KeyspaceError.format` if nothing valid was saved.
    static func restore(directory: String) throws(KeyspaceError) -> Int {
        let path = directory + "/durable"
        let saved = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard saved >= 0 else { throw .format("\(path) is missing: the directory is not a whole keyspace") }
        defer { close(saved) }
        guard let meta = read(saved), meta.page.count >= commitNumberOffset + 8 else {
            throw .format("\(path) is damaged: neither of its copies is valid")
        }
        let data = unsafe open(directory + "/data.mdb", O_RDWR | O_CLOEXEC)
        guard data >= 0 else {
            throw .format("\(directory)/data.mdb is missing: the directory is not a whole keyspace")
        }
        defer { close(data) }
        for index in 0..<2 {
            var page = meta.page
            let commit = meta.commit & 1 == index ? meta.commit : meta.commit - 1
            store(UInt64(index), in: &page, at: pageNumberOffset)
            store(UInt64(max(0, commit)), in: &page, at: commitNumberOffset)
            guard unsafe pwrite(data, page, page.count, off_t(index * page.count)) == page.count else {
                throw .failed("cannot write \(directory)/data.mdb: \(unsafe String(cString: strerror(errno)))")
            }
        }
        let lastPage = ByteView.with(meta.page) { Int($0.littleEndian(UInt64.self, at: commitNumberOffset - 8)) }
        return (lastPage + 1) * meta.page.count
    }

    private static func store(_ value: UInt64, in page: inout [UInt8], at offset: Int) {
        for index in 0..<8 { page[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }
}
