// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The arguments of a command that goes on when its client's buffer is used for something else: a copy of them all.
@safe
final class RetainedArguments {
    private let memory: UnsafeMutableRawBufferPointer
    private var ends: [Int] = []

    /// Copies the arguments of `call`.
    init(_ call: CommandCall) {
        let count = call.arguments.count
        unsafe memory = .allocate(byteCount: max(1, call.arguments.byteCount), alignment: 16)
        ends.reserveCapacity(count)
        var end = 0
        for index in 0..<count {
            let argument = call.arguments[index]
            if !argument.isEmpty {
                unsafe UnsafeMutableRawBufferPointer(rebasing: memory[end...]).copyMemory(from: argument.rawBuffer)
            }
            end += argument.count
            ends.append(end)
        }
    }

    deinit { unsafe memory.deallocate() }

    /// How many there are.
    var count: Int { ends.count }

    /// The argument at `index`, lent as long as this object lives.
    subscript(index: Int) -> ByteView {
        let start = index == 0 ? 0 : ends[index - 1]
        return unsafe ByteView(UnsafeRawBufferPointer(rebasing: memory[start..<ends[index]]))
    }
}
