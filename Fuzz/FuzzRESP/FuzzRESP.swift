// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The decoders of requests and replies: whatever the bytes, every way of cutting them decodes alike, and what was
/// decoded is decoded again from what the writers make of it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRESP(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    if let violation = RESPProperties.violation(bytes) { fatalError(violation) }
    return 0
}
