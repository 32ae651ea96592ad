// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisServer
import Glibc

/// The commands of all types: whatever is asked in whatever order, the server replies what the model replies, over
/// restarts, and its keyspace stays sound.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCommands(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    if let violation = CommandProperties.violation(bytes, unsafe runner) { fatalError(violation) }
    return 0
}

/// One server for all inputs, each of which begins with an empty one: the fuzzer has one thread.
nonisolated(unsafe) private let runner: CommandRunner = {
    let path = "/tmp/fuzz-commands-\(getpid())"
    guard unsafe mkdir(path, 0o700) == 0 else { fatalError("\(path) could not be made") }
    do {
        return try CommandRunner(directory: path)
    } catch {
        fatalError("\(error)")
    }
}()
