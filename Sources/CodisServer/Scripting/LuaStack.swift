// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua

/// What a function written for Lua is to C.
typealias LuaFunction = @convention(c) (OpaquePointer?) -> Int32

/// Why a function called by Lua fails.
enum LuaFailure: Error {
    /// The text as it is.
    case plain(String)
    /// The text with the place of the caller in front.
    case here(String)
    /// What is wrong about the argument of this number.
    case argument(Int, String)
}

/// The stack of a Lua thread, by operations that never raise an error.
///
/// Indexes are Lua's: 1 is the lowest value of the function that runs, -1 the topmost. Only what is raw is here: no
/// metamethod is called, and what needs memory gets it or ends the process (`CLua`'s shim tells why).
@safe
struct LuaStack {
    let state: OpaquePointer

    /// The stack that `state` means.
    @inline(__always)
    init(_ state: OpaquePointer) { unsafe self.state = state }

    // MARK: Shape

    /// How many values there are.
    @inline(__always)
    var count: Int { Int(unsafe lua_gettop(state)) }

    /// Removes the topmost `count` values.
    @inline(__always)
    func pop(_ count: Int = 1) { unsafe lua_settop(state, Int32(-count - 1)) }

    /// Removes all but the lowest `count` values, or fills up with nil.
    @inline(__always)
    func setCount(_ count: Int) { unsafe lua_settop(state, Int32(count)) }

    /// Makes room for `count` more values; false if there can be none.
    @inline(__always)
    func ensureRoom(_ count: Int) -> Bool { unsafe lua_checkstack(state, Int32(count)) != 0 }

    /// Puts a copy of the value at `index` on top.
    @inline(__always)
    func pushCopy(of index: Int) { unsafe lua_pushvalue(state, Int32(index)) }

    /// Moves the topmost value to `index`.
    func insert(at index: Int) { unsafe lua_insert(state, Int32(index)) }

    // MARK: Reading

    /// The kinds of values, as Lua numbers them.
    enum Kind: Int32 {
        case none = -1
        case null, boolean, lightUserdata, number, string, table, function, userdata, thread
    }

    @inline(__always)
    func kind(at index: Int) -> Kind { Kind(rawValue: unsafe lua_type(state, Int32(index))) ?? .none }

    /// The name of the kind of what is at `index`.
    func kindName(at index: Int) -> String {
        unsafe String(cString: lua_typename(state, lua_type(state, Int32(index))))
    }

    /// The number at `index`, also if it is a text that Lua takes for one; 0 if it is none.
    @inline(__always)
    func number(at index: Int) -> Double { unsafe lua_tonumber(state, Int32(index)) }

    @inline(__always)
    func boolean(at index: Int) -> Bool { unsafe lua_toboolean(state, Int32(index)) != 0 }

    /// The string at `index`, which lives as long as it is anywhere on the stack; nil if it is none.
    ///
    /// A number becomes one.
    @inline(__always)
    func string(at index: Int) -> ByteView? {
        var length = 0
        guard let start = unsafe lua_tolstring(state, Int32(index), &length) else { return nil }
        return unsafe ByteView(start: UnsafeRawPointer(start), count: length)
    }

    /// How many elements the table at `index` has as an array.
    @inline(__always)
    func length(at index: Int) -> Int { Int(unsafe lua_objlen(state, Int32(index))) }

    // MARK: Arguments

    /// The number that the argument at `index` must be.
    func checkNumber(_ index: Int) throws(LuaFailure) -> Double {
        guard unsafe lua_isnumber(state, Int32(index)) != 0 else { throw expected("number", at: index) }
        return number(at: index)
    }

    /// The number that the argument at `index` must be, as C turns it into an int.
    func checkInteger(_ index: Int) throws(LuaFailure) -> Int {
        let number = try checkNumber(index)
        return Int(Int32(truncatingIfNeeded: Self.truncated(number)))
    }

    /// The string that the argument at `index` must be; a number is one too.
    func checkString(_ index: Int) throws(LuaFailure) -> ByteView {
        guard let string = string(at: index) else { throw expected("string", at: index) }
        return string
    }

    private func expected(_ kind: String, at index: Int) -> LuaFailure {
        .argument(index, "\(kind) expected, got \(kindName(at: index))")
    }

    /// A number without its fraction, as the processor does it: what does not fit becomes the least integer.
    @inline(__always)
    static func truncated(_ number: Double) -> Int64 {
        number >= -0x1p63 && number < 0x1p63 ? Int64(number) : .min
    }

    // MARK: Pushing

    @inline(__always)
    func pushNil() { unsafe lua_pushnil(state) }

    @inline(__always)
    func push(_ value: Bool) { unsafe lua_pushboolean(state, value ? 1 : 0) }

    @inline(__always)
    func push(_ value: Double) { unsafe lua_pushnumber(state, value) }

    @inline(__always)
    func push(_ bytes: ByteView) {
        let start = unsafe bytes.rawBuffer.baseAddress?.assumingMemoryBound(to: CChar.self)
        unsafe lua_pushlstring(state, start, bytes.count)
    }

    func push(_ bytes: [UInt8]) { ByteView.with(bytes) { push($0) } }

    func push(_ text: String) { ByteView.with(text) { push($0) } }

    @inline(__always)
    func push(_ text: StaticString) { push(ByteView(text)) }

    func push(_ function: LuaFunction) { unsafe codis_push_function(state, function) }

    // MARK: Tables

    /// Pushes a table with room for so much.
    @inline(__always)
    func pushTable(elements: Int = 0, fields: Int = 0) {
        unsafe lua_createtable(state, Int32(clamping: elements), Int32(clamping: fields))
    }

    /// Pops a value, which becomes element `position` of the table at `index`.
    @inline(__always)
    func setElement(_ position: Int, of index: Int) {
        unsafe lua_rawseti(state, Int32(index), Int32(truncatingIfNeeded: position))
    }

    /// Pushes element `position` of the table at `index`.
    @inline(__always)
    func pushElement(_ position: Int, of index: Int) {
        unsafe lua_rawgeti(state, Int32(index), Int32(truncatingIfNeeded: position))
    }

    /// Pops a value, which becomes field `name` of the table at `index`, an index from below.
    @inline(__always)
    func setField(_ name: StaticString, of index: Int) {
        push(name)
        insert(at: -2)
        unsafe lua_rawset(state, Int32(index))
    }

    /// Pushes field `name` of the table at `index`, an index from below.
    @inline(__always)
    func pushField(_ name: StaticString, of index: Int) {
        push(name)
        unsafe lua_rawget(state, Int32(index))
    }

    /// Pops a key and pushes what the table at `index`, an index from below, has for it.
    @inline(__always)
    func replaceKeyByValue(of index: Int) { unsafe lua_rawget(state, Int32(index)) }

    /// Pops a key and a value, and puts them into the table at `index`; the key must not be nil or no number.
    @inline(__always)
    func setPair(of index: Int) { unsafe lua_rawset(state, Int32(index)) }

    /// Pops a key and pushes the next key with its value, if there is a next one.
    @inline(__always)
    func pushNext(of index: Int) -> Bool { unsafe lua_next(state, Int32(index)) != 0 }

    /// The index from below of the topmost value.
    @inline(__always)
    var top: Int { count }

    // MARK: Functions

    /// Where the function at `level` of the calls is: 0 is the one that runs.
    func place(level: Int) -> (source: ByteView, line: Int)? {
        var source: UnsafePointer<CChar>?
        var line: Int32 = 0
        var isC: Int32 = 0
        guard unsafe codis_place(state, Int32(level), &source, &line, &isC) != 0, let source = unsafe source else {
            return nil
        }
        return (unsafe ByteView(start: UnsafeRawPointer(source), count: strlen(source)), Int(line))
    }

    /// Runs `body`, and turns its failure into what the shim raises when Swift's frames are gone.
    @inline(__always)
    func run(_ body: (LuaStack) throws(LuaFailure) -> Int) -> Int32 {
        do throws(LuaFailure) {
            return Int32(try body(self))
        } catch {
            switch error {
            case .plain(let text):
                push(text)
                return Int32(CODIS_RAISE)
            case .here(let text):
                push(text)
                return Int32(CODIS_RAISE_HERE)
            case .argument(let number, let text):
                push(text)
                return Int32(CODIS_RAISE_ARGUMENT) - Int32(number)
            }
        }
    }
}
