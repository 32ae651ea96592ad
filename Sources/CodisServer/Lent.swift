// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A reference for what runs with every request: to use it counts nothing.
///
/// The compiler counts each copy of a reference that it reads from a variable of an object, with two atomic
/// instructions, and a dozen of those are a twentieth of a request. Whoever holds this one holds the object in another
/// variable as well, which does not change while the object is lent.
@safe
struct Lent<Object: AnyObject>: BitwiseCopyable {
    private let reference: Unmanaged<Object>

    @inline(__always)
    init(_ object: Object) { unsafe reference = .passUnretained(object) }

    /// A reference that is counted.
    @inline(__always)
    var object: Object { unsafe reference.takeUnretainedValue() }

    /// Lends the object to `body`.
    @inline(__always)
    func lend<Result, Failure>(_ body: (Object) throws(Failure) -> Result) throws(Failure) -> Result {
        let outcome = unsafe reference._withUnsafeGuaranteedRef { object in
            do throws(Failure) {
                return Swift.Result<Result, Failure>.success(try body(object))
            } catch {
                return Swift.Result<Result, Failure>.failure(error)
            }
        }
        return try outcome.get()
    }
}
