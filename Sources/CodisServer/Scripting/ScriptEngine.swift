// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua
internal import Glibc
internal import NIOCore
internal import RESP

/// The interpreter that runs scripts (Redis 2.8: `scripting.c`).
///
/// There is one for all scripts, and what they leave in global tables stays. A script runs on a stack of its own, so
/// that it can be suspended wherever it is when it takes too long: see ``ScriptEngine/evaluate(_:name:body:)``. Like
/// the server it belongs to the event loop, and is Sendable for the sake of closures that run there.
@safe
final class ScriptEngine: @unchecked Sendable {
    unowned(unsafe) private let serverReference: Server
    private let host: UnsafeMutablePointer<codis_host>
    /// The stack of the main thread: 1 is the handler of errors, 2 the globals.
    private(set) var lua: LuaStack

    /// What the commands of scripts are called with; its session is nobody's.
    let call: CommandCall
    let session: Session
    /// Where arguments that are numbers are turned into digits.
    let digits = DigitBuffer()
    /// The rows of commands that scripts may not call.
    let refusedRows: [Bool]

    private var names: Set<[UInt8]> = []
    private var recentScripts = RecentScripts()
    private var runsSinceCollection = 0

    // What is known of the script that runs.
    /// When it began, in ms since 1970: its keys expire as of then.
    private(set) var now: Int64 = 0
    private var startedAtNanoseconds: Int64 = 0
    /// Whether it has called a command that may change something.
    var hasWritten = false
    /// Whether it has called a command whose reply no other server would give.
    var hasCalledRandom = false
    /// The script that has run for too long, and waits for its next turn.
    private var suspended: SuspendedScript?

    private struct SuspendedScript {
        let session: Session
        let arguments: [[UInt8]]
        let command: Command
    }

    init(_ server: Server) {
        unsafe serverReference = server
        call = CommandCall(effects: server.effects)
        call.isFromScript = true
        session = Session(server, identifier: 0, context: nil, address: "lua")
        call.begin(session)
        refusedRows = server.commands.rows.map { row in
            row.flags.contains(.noScript) || ScriptEngine.asynchronous.contains(row.name)
        }
        let memory = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
        unsafe host = codis_host_new(nil, max(256 << 20, memory / 2))
        unsafe lua = LuaStack(codis_open_interpreter(host))
        unsafe host.pointee.context = Unmanaged.passUnretained(self).toOpaque()
        ScriptLibrary.install(lua)
    }

    deinit {
        unsafe codis_host_free(host)
    }

    /// Commands which are answered only later, when another server has: a script cannot wait for them.
    private static let asynchronous: Set<String> = [
        "slotsmgrt", "slotsmgrtone", "slotsmgrtslot", "slotsmgrttagone", "slotsmgrttagslot",
    ]

    /// The engine that `state` belongs to.
    @inline(__always)
    static func of(_ state: OpaquePointer?) -> ScriptEngine {
        let host = unsafe codis_host_of(state)
        // The engine outlives its interpreter.
        return unsafe Unmanaged<ScriptEngine>.fromOpaque(host.unsafelyUnwrapped.pointee.context).takeUnretainedValue()
    }

    var server: Server { unsafe serverReference }

    /// The bytes that Lua has allocated.
    var memory: Int { unsafe host.pointee.bytes }

    /// Whether Lua has more than it may have; what Swift pushes is not stopped by the limit itself.
    @inline(__always)
    var isOutOfMemory: Bool { unsafe host.pointee.bytes > host.pointee.most_bytes }

    /// Whether a script waits for its next turn.
    var isSuspended: Bool { suspended != nil }

    /// The next number of the generator behind math.random: 31 bits (POSIX: lrand48).
    func nextRandom() -> Int {
        unsafe host.pointee.random = (host.pointee.random &* 0x5_DEEC_E66D &+ 0xB) & 0xFFFF_FFFF_FFFF
        return Int(unsafe host.pointee.random >> 17)
    }

    /// Begins that generator anew.
    func seedRandom(_ seed: Int32) {
        unsafe host.pointee.random = UInt64(UInt32(bitPattern: seed)) << 16 | 0x330E
    }

    // MARK: Scripts

    /// The name of the function that a script is, by its text: `f_` and the digits of its SHA-1.
    func name(of body: ByteView) -> [UInt8] {
        recentScripts.name(of: body) ?? recentScripts.add(body, name: Array("f_".utf8) + SHA1.digits(of: body))
    }

    /// Whether there is a script called `name`.
    func knows(_ name: [UInt8]) -> Bool { names.contains(name) }

    /// Makes a function of a script.
    ///
    /// The text stands within a function, and also by itself when it is tried first: text that ends the function before
    /// its own end would else run outside of any script.
    func define(_ name: [UInt8], _ body: ByteView) throws(CommandError) {
        let whole = Array("function ".utf8) + name + Array("() ".utf8) + Array(body) + Array("\nend".utf8)
        try load(whole)
        do throws(CommandError) {
            try load([0x20] + Array(body))
        } catch {
            lua.pop()
            throw error
        }
        lua.pop()
        guard unsafe lua_pcall(lua.state, 0, 0, 0) == 0 else {
            throw failure("ERR Error running script (new function): ")
        }
        names.insert(name)
    }

    /// Pushes the function that `text` is.
    private func load(_ text: [UInt8]) throws(CommandError) {
        let status = unsafe text.withUnsafeBytes { bytes in
            let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe luaL_loadbuffer(lua.state, start, bytes.count, "@user_script")
        }
        guard status == 0 else { throw failure("ERR Error compiling script (new function): ") }
    }

    /// Pops an error, and puts `prefix` in front.
    private func failure(_ prefix: String) -> CommandError {
        defer { lua.pop() }
        return .bytes(Array(prefix.utf8) + errorText() + [0x0A])
    }

    /// The error on top of the stack, up to a zero byte.
    private func errorText() -> [UInt8] {
        guard let text = lua.string(at: -1) else { return Array("(null)".utf8) }
        return Array(text.firstIndex(of: 0).map { text.prefix($0) } ?? text)
    }

    /// Why the script has failed.
    private func reason() -> [UInt8] {
        guard unsafe host.pointee.is_killed != 0 else { return errorText() }
        let place = unsafe withUnsafeBytes(of: &host.pointee.place) { unsafe Array($0.prefix { $0 != 0 }) }
        return place + Array("Script killed by user with SCRIPT KILL...".utf8)
    }

    /// Lets the interpreter know the time, which it looks at when a command of the script has ended.
    @inline(__always)
    func noteTime() { unsafe host.pointee.now = server.clock.monotonicNanoseconds }

    /// Forgets all scripts, and all that they left behind.
    func reset() {
        precondition(!isSuspended, "the interpreter is in use")
        unsafe lua_close(host.pointee.lua)
        unsafe lua = LuaStack(codis_open_interpreter(host))
        ScriptLibrary.install(lua)
        names = []
        recentScripts = RecentScripts()
    }

    // MARK: Running

    /// EVAL and EVALSHA: runs the script called `name`, which is made of `body` if it is not known yet.
    ///
    /// Its effects are one unit. If it takes longer than `lua-time-limit`, it is suspended: the caller is held without
    /// a reply, the event loop turns, and the script goes on in slices of about a millisecond between its turns. Until
    /// it has ended, nothing but scripts' own commands may touch the keyspace.
    func evaluate(_ call: CommandCall, name: [UInt8], body: ByteView?) throws(CommandError) {
        let count = call.arguments.count
        let keyCount = try call.arguments.integer(at: 2)
        guard keyCount <= Int64(count - 3) else {
            throw .message("ERR Number of keys can't be greater than number of args")
        }
        guard keyCount >= 0 else { throw .message("ERR Number of keys can't be negative") }
        lua.setCount(2)
        // A script may have exchanged the table of globals.
        lua.pushCopy(of: 2)
        unsafe lua_replace(lua.state, LUA_GLOBALSINDEX)
        if !pushFunction(name) {
            guard let body else { throw .message("NOSCRIPT No matching script. Please use EVAL.") }
            try define(name, body)
            guard pushFunction(name) else { throw .message("ERR Error running script (new function): ") }
        }
        pushArguments(call, 3..<3 + Int(keyCount), as: "KEYS")
        pushArguments(call, 3 + Int(keyCount)..<count, as: "ARGV")
        begin(call)
        unsafe codis_start(host, deadline(for: call))
        if unsafe host.pointee.is_running != 0 { return suspend(call, name) }
        finish(name, session: call.session, reply: &call.reply)
        server.clock.forgetReadings(since: startedAtNanoseconds)
    }

    /// Pushes the function called `name`; false if there is none.
    @inline(__always)
    private func pushFunction(_ name: [UInt8]) -> Bool {
        lua.push(name)
        lua.replaceKeyByValue(of: 2)
        if lua.kind(at: -1) != .null { return true }
        lua.pop()
        return false
    }

    private func pushArguments(_ call: CommandCall, _ range: Range<Int>, as name: StaticString) {
        lua.pushTable(elements: range.count)
        var position = 1
        for index in range {
            lua.push(call.arguments[index])
            lua.setElement(position, of: -2)
            position += 1
        }
        lua.setField(name, of: 2)
    }

    @inline(__always)
    private func begin(_ call: CommandCall) {
        seedRandom(0)
        hasWritten = false
        hasCalledRandom = false
        now = call.now
        startedAtNanoseconds = server.clock.monotonicNanoseconds
        session.database = call.database
        session.isMaster = call.session.isMaster
        server.beginUnit()
    }

    private func deadline(for call: CommandCall) -> Int64 {
        let limit = server.config.luaTimeLimitMilliseconds
        guard limit > 0, canSuspend(call) else { return .max }
        let (nanoseconds, isTooMuch) = Int64(limit).multipliedReportingOverflow(by: 1_000_000)
        return isTooMuch ? .max : startedAtNanoseconds.addingReportingOverflow(nanoseconds).partialValue
    }

    /// Whether the caller can wait: it is a client, though it may have gone in the middle of its transaction.
    ///
    /// A replica has no limit, as in 2.8.
    private func canSuspend(_ call: CommandCall) -> Bool {
        (call.session.isOpen || server.isResumingTransaction) && !server.isLoading && !server.isReplica
    }

    /// Deals with what a script has left: its reply, its effects, its garbage.
    private func finish(_ name: [UInt8], session caller: Session, reply: inout ByteBuffer) {
        if unsafe host.pointee.status == 0 {
            ScriptReply.write(lua, to: &reply)
        } else {
            let text =
                Array("ERR Error running script (call to ".utf8) + name + Array("): ".utf8) + reason() + [0x0A]
            reply.writeReplyError(text)
        }
        lua.setCount(2)
        if hasWritten {
            // Even if nothing came of it: the caller's reply may rest on what it has seen.
            caller.hasWritten = true
            server.needsTickEnd()
        }
        server.endUnit()
        collectGarbage()
    }

    /// Has Lua collect a part of its garbage now and then, and all of it when there is much.
    private func collectGarbage() {
        runsSinceCollection += 1
        if memory > ScriptEngine.muchMemory {
            unsafe lua_gc(lua.state, LUA_GCCOLLECT, 0)
            runsSinceCollection = 0
        } else if runsSinceCollection == ScriptEngine.collectionPeriod {
            unsafe lua_gc(lua.state, LUA_GCSTEP, Int32(ScriptEngine.collectionPeriod))
            runsSinceCollection = 0
        }
    }

    private static let collectionPeriod = 50
    private static let muchMemory = 64 << 20

    // MARK: Suspension

    /// Has the event loop turn, and the script wait for its next slice.
    private func suspend(_ call: CommandCall, _ name: [UInt8]) {
        let milliseconds = server.config.luaTimeLimitMilliseconds
        server.log.warning(
            "Lua slow script detected: still in execution after \(milliseconds) milliseconds. "
                + "You can try killing the script using the SCRIPT KILL command."
        )
        suspended = SuspendedScript(session: call.session, arguments: call.arguments.copy(), command: call.command)
        call.session.holds.insert(.script)
        server.gates.insert(.scriptRuns)
        // What it did so far was for the time being.
        server.clock.forgetReadings(since: startedAtNanoseconds)
        scheduleSlice(name)
    }

    /// How long a script that overruns goes on between two turns of the event loop.
    private static let sliceNanoseconds: Int64 = 1_000_000

    private func scheduleSlice(_ name: [UInt8]) {
        server.schedule(after: Server.tickGap) { [self] in runSlice(name) }
    }

    private func runSlice(_ name: [UInt8]) {
        guard let suspended else { return }
        server.clock.readAll()
        server.isExecuting = true
        unsafe codis_resume(host, Clock().monotonicNanoseconds + ScriptEngine.sliceNanoseconds)
        server.isExecuting = false
        if unsafe host.pointee.is_running != 0 { return scheduleSlice(name) }
        self.suspended = nil
        server.gates.remove(.scriptRuns)
        var reply = ByteBuffer()
        finish(name, session: suspended.session, reply: &reply)
        server.noteScript(
            suspended.command,
            suspended.arguments,
            nanoseconds: Clock().monotonicNanoseconds - startedAtNanoseconds
        )
        suspended.session.reply { $0.writeBuffer(&reply) }
        // The commands behind it in a transaction, among which there may be another that takes long.
        server.resumeTransaction()
        guard !isSuspended else { return }
        suspended.session.resume(.script)
        if server.hasReadyKeys { server.serveBlocked() }
    }

    /// SCRIPT KILL: has the script end at its next turn.
    func kill() throws(CommandError) {
        guard isSuspended else { throw .message("NOTBUSY No scripts in execution right now.") }
        guard !hasWritten else {
            throw .message(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either "
                    + "wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
            )
        }
        unsafe host.pointee.is_killed = 1
        server.log.warning("Lua script killed by user with SCRIPT KILL.")
    }
}

/// The names of the scripts that came last, so that their SHA-1 is not computed again each time.
private struct RecentScripts {
    private struct Entry {
        var body: [UInt8] = []
        var name: [UInt8] = []
    }

    private static let count = 64
    private static let longestBody = 16 << 10
    private var entries = [Entry](repeating: Entry(), count: count)

    /// The name of the script, if it is among them.
    func name(of body: ByteView) -> [UInt8]? {
        let index = RecentScripts.index(of: body)
        guard !entries[index].name.isEmpty, body == entries[index].body else { return nil }
        return entries[index].name
    }

    /// Keeps the name; gives it back.
    mutating func add(_ body: ByteView, name: [UInt8]) -> [UInt8] {
        if body.count <= RecentScripts.longestBody {
            entries[RecentScripts.index(of: body)] = Entry(body: Array(body), name: name)
        }
        return name
    }

    private static func index(of body: ByteView) -> Int {
        var hash = UInt64(body.count)
        // Scripts differ at some place in general; where not all is looked at, the comparison still decides.
        let step = max(1, body.count / 32)
        var index = 0
        while index < body.count {
            hash = (hash ^ UInt64(body[index])) &* 0x9E37_79B9_7F4A_7C15
            index += step
        }
        return Int(hash >> 40) % count
    }
}

/// Room for the digits of a command's arguments.
@safe
final class DigitBuffer {
    private var start: UnsafeMutablePointer<CChar>
    private var capacity = 8
    private static let width = 32

    init() { unsafe start = .allocate(capacity: capacity * DigitBuffer.width) }

    deinit { unsafe start.deallocate() }

    /// Makes room for so many numbers; what was written before is lost.
    func ensure(count: Int) {
        guard count > capacity else { return }
        unsafe start.deallocate()
        capacity = count
        unsafe start = .allocate(capacity: capacity * DigitBuffer.width)
    }

    /// The digits of `number`, as number `index` of those that there is room for.
    func digits(of number: Double, index: Int) -> ByteView {
        precondition(index < capacity, "there is no room for the number")
        let place = unsafe start + index * DigitBuffer.width
        let count = unsafe codis_format_number(place, DigitBuffer.width, number)
        return unsafe ByteView(start: UnsafeRawPointer(place), count: Int(count))
    }
}
