// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The readers of RDB files and DUMP payloads: whatever the bytes, they are refused or read, alike in chunks of any
/// size, and what was read is read again from what the writers make of it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRDB(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    if let violation = RDBProperties.violation(bytes) { fatalError(violation) }
    return 0
}
