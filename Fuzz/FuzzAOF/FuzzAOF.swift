// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The reader of append-only files: whatever the bytes and however they are cut, it finds the same commands, and tells
/// how far they are good.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAOF(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    if let violation = AOFProperties.check(bytes) { fatalError(violation) }
    return 0
}
