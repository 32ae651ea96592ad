// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Fails for inputs that begin with a certain word, which only a fuzzer that sees coverage finds: if it does not fail
/// within seconds, the fuzzing of everything else proves nothing.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCanary(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe UnsafeBufferPointer(start: start, count: count)
    guard bytes.count >= 4 else { return 0 }
    if unsafe bytes[0] == UInt8(ascii: "b") {
        if unsafe bytes[1] == UInt8(ascii: "i") {
            if unsafe bytes[2] == UInt8(ascii: "r") {
                if unsafe bytes[3] == UInt8(ascii: "d") {
                    fatalError("the canary sings")
                }
            }
        }
    }
    return 0
}
