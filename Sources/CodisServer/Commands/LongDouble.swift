// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// The floating point number of INCRBYFLOAT and HINCRBYFLOAT.
///
/// Where the processor has them it is the 80-bit number that Redis counts with, elsewhere a double.
#if arch(x86_64) || arch(i386)
typealias LongDouble = Float80
#else
typealias LongDouble = Double
#endif

extension LongDouble {
    /// The room that the longest number needs: 4,933 digits before the point and 17 behind it.
    private static let textCapacity = 5120

    /// Reads `bytes` as `strtold` does.
    ///
    /// Hexadecimal, `inf` and exponents are numbers; `nan`, what is too large or too small, and what begins with a
    /// blank are not. A zero byte ends the number, and no bytes at all are 0.
    ///
    /// Redis 2.8: object.c, getLongDoubleFromObject.
    init?(parsing bytes: ByteView) {
        // What is longer than any number anybody writes would only make us copy it.
        guard bytes.count < LongDouble.textCapacity else { return nil }
        if let first = bytes.first(where: { _ in true }), first == 0x20 || (0x09...0x0D).contains(first) { return nil }
        let parsed: LongDouble? = unsafe withUnsafeTemporaryAllocation(
            of: CChar.self,
            capacity: bytes.count + 1
        ) { text in
            for index in 0..<bytes.count { unsafe text[index] = CChar(bitPattern: bytes[index]) }
            unsafe text[bytes.count] = 0
            var end: UnsafeMutablePointer<CChar>?
            errno = 0
            let value = unsafe LongDouble.scan(text.baseAddress.unsafelyUnwrapped, &end)
            guard errno != ERANGE, unsafe end.unsafelyUnwrapped.pointee == 0, !value.isNaN else { return nil }
            return value
        }
        guard let parsed else { return nil }
        self = parsed
    }

    /// Calls `body` with the number in decimal: 17 digits behind the point, without the zeros at their end.
    ///
    /// Redis 2.8: object.c, createStringObjectFromLongDouble.
    func withDecimal<Result, Failure: Error>(
        _ body: (ByteView) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try ByteView.with(decimal, body)
    }

    private var decimal: [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: LongDouble.textCapacity) { buffer, count in
            let written = unsafe buffer.withMemoryRebound(to: CChar.self) { text in
                unsafe withVaList([self]) { list in
                    unsafe vsnprintf(text.baseAddress, text.count, LongDouble.format, list)
                }
            }
            count = Int(written)
            guard unsafe buffer[0..<count].contains(UInt8(ascii: ".")) else { return }
            while unsafe buffer[count - 1] == UInt8(ascii: "0") { count -= 1 }
            if unsafe buffer[count - 1] == UInt8(ascii: ".") { count -= 1 }
        }
    }

    #if arch(x86_64) || arch(i386)
    private static let format = "%.17Lf"

    private static func scan(
        _ text: UnsafePointer<CChar>,
        _ end: inout UnsafeMutablePointer<CChar>?
    ) -> LongDouble {
        unsafe strtold(text, &end)
    }
    #else
    private static let format = "%.15f"

    private static func scan(
        _ text: UnsafePointer<CChar>,
        _ end: inout UnsafeMutablePointer<CChar>?
    ) -> LongDouble {
        unsafe strtod(text, &end)
    }
    #endif
}
