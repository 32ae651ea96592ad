// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import NIOCore

/// A file without a name that one thread writes, while others read what is there already.
///
/// It stands between a snapshot and the connections that it goes over, on either side: who writes never waits for who
/// reads, and memory holds neither. It goes with its last user, however the process ends.
@safe
final class GrowingFile: @unchecked Sendable {
    // Unchecked: `written` and `ending` are used under the mutex only.
    private let descriptor: Int32
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var written: UInt64 = 0
    private var ending: Ending?

    /// How the file ended.
    enum Ending {
        case complete
        case failed
    }

    /// Why the file could not be used.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ operation: String) { description = "\(operation): \(unsafe String(cString: strerror(errno)))" }
        init(text: String) { description = text }
    }

    /// Makes a file in `directory`.
    init(directory: String) throws(Failure) {
        let path = "\(directory)/temp-\(time(nil)).\(getpid()).rdb"
        descriptor = unsafe open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure("opening \(path)") }
        unsafe unlink(path)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        close(descriptor)
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe mutex.deallocate()
        unsafe condition.deallocate()
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body()
    }

    /// How many bytes there are so far.
    var length: UInt64 { locked { written } }

    /// How it ended; nil while it grows.
    var end: Ending? { locked { ending } }

    /// Adds `bytes` to the end; for one thread.
    func append(_ bytes: ByteView) throws(Failure) {
        var rest = bytes
        var position = length
        while rest.count > 0 {
            let count = unsafe pwrite(descriptor, rest.rawBuffer.baseAddress, rest.count, off_t(position))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("writing") }
            rest = rest.dropFirst(count)
            position += UInt64(count)
        }
        locked {
            written = position
            unsafe pthread_cond_broadcast(condition)
        }
    }

    /// Says that nothing follows; only the first ending counts.
    func finish(_ ending: Ending) {
        locked {
            self.ending = self.ending ?? ending
            unsafe pthread_cond_broadcast(condition)
        }
    }

    /// Up to `count` bytes from `position` on, of those that are there.
    func read(at position: UInt64, count: Int) throws(Failure) -> ByteBuffer {
        let available = length
        guard position < available else { return ByteBuffer() }
        let wanted = Int(min(UInt64(count), available - position))
        var buffer = ByteBufferAllocator().buffer(capacity: wanted)
        var result = 0
        _ = unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { memory in
            repeat {
                result = unsafe pread(descriptor, memory.baseAddress, wanted, off_t(position))
            } while result < 0 && errno == EINTR
            return max(0, result)
        }
        guard result > 0 else { throw Failure("reading") }
        return buffer
    }

    /// Reads what there is from `position` on into `memory`, as much as fits; waits until there is something.
    ///
    /// - Returns: how many bytes that was; 0 at the end.
    /// - Throws: also when the file has failed.
    @unsafe
    func readWaiting(at position: UInt64, into memory: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        let (ending, available) = locked { () -> (Ending?, UInt64) in
            while written <= position, self.ending == nil { unsafe pthread_cond_wait(condition, mutex) }
            return (self.ending, written)
        }
        if ending == .failed { throw Failure(text: "what was received is not complete") }
        guard available > position else { return 0 }
        let count = Int(min(UInt64(memory.count), available - position))
        while true {
            let result = unsafe pread(descriptor, memory.baseAddress, count, off_t(position))
            if result < 0, errno == EINTR { continue }
            guard result > 0 else { throw Failure("reading") }
            return result
        }
    }
}
