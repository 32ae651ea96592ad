// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The reader of configuration files: whatever the text, it is refused or it says the same once it was rewritten.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfigFile(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    if let violation = ConfigProperties.violation(text) { fatalError(violation) }
    return 0
}
