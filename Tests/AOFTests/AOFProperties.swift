// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import AOF
import Bytes
import RESP

/// What must hold for any bytes that are read as an append-only file; shared by the tests and the fuzzer.
enum AOFProperties {
    /// What a reader finds.
    struct Outcome: Equatable {
        var commands: [[[UInt8]]] = []
        var error: AOFError?
        var offset: UInt64 = 0
    }

    /// Reads `input`, handed over in chunks of `chunk` bytes.
    static func read(_ input: [UInt8], chunk: Int) -> Outcome {
        var handedOver = 0
        let reader = AOFReader { buffer in
            let end = min(input.count, handedOver + chunk)
            buffer += input[handedOver..<end]
            handedOver = end
        }
        var outcome = Outcome()
        do {
            while true {
                let isCommand = try reader.next { decoder, view in
                    outcome.commands.append((0..<decoder.argumentCount).map { Array(decoder.argument($0, in: view)) })
                }
                if !isCommand { break }
            }
        } catch {
            outcome.error = error as? AOFError
        }
        outcome.offset = reader.offset
        return outcome
    }

    /// Whether the chunks make no difference, and what is found is what the bytes up to the offset hold.
    static func check(_ input: [UInt8]) -> String? {
        let whole = read(input, chunk: max(1, input.count))
        for chunk in [1, 2, 7, 64] where read(input, chunk: chunk) != whole {
            return "chunks of \(chunk) bytes make a difference"
        }
        guard whole.offset <= UInt64(input.count) else { return "an offset beyond the end" }
        switch whole.error {
        case nil: if whole.offset != UInt64(input.count) { return "the end is not the end" }
        case .truncated(let offset), .malformed(let offset):
            if offset != whole.offset { return "an error at another offset than the reader's" }
        }
        // What was read counts as read: the bytes before the offset are a whole file of the same commands.
        let again = read(Array(input[0..<Int(whole.offset)]), chunk: 64)
        if again.error != nil || again.commands != whole.commands { return "the part that was read is not whole" }
        return nil
    }
}
