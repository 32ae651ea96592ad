// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Synchronization

/// The signals that the server answers to.
enum Signals {
    /// The signal that asks for the end, until the cron takes it up; 0 if none.
    private static let shutdownSignal = Atomic<Int32>(0)
    /// How often the operator has pressed Ctrl-C.
    private static let interrupts = Atomic<Int32>(0)

    /// Installs the handlers. SIGTERM and SIGINT ask for a shutdown, SIGHUP and SIGPIPE mean nothing.
    static func install() {
        // Made before a handler may need them.
        _ = shutdownSignal.load(ordering: .relaxed)
        _ = interrupts.load(ordering: .relaxed)
        _ = signal(SIGHUP, SIG_IGN)
        _ = signal(SIGPIPE, SIG_IGN)
        for number in [SIGTERM, SIGINT] {
            _ = signal(number) { number in
                if number == SIGINT, Signals.interrupts.add(1, ordering: .relaxed).oldValue > 0 {
                    Signals.say("You insist... exiting now.\n")
                    _exit(1)
                }
                Signals.shutdownSignal.store(number, ordering: .relaxed)
            }
        }
        CrashReport.install()
    }

    /// The name of the signal that asked for a shutdown, once.
    static func takeShutdown() -> String? {
        let number = shutdownSignal.exchange(0, ordering: .relaxed)
        return number == 0 ? nil : number == SIGINT ? "SIGINT" : "SIGTERM"
    }

    private static func say(_ text: StaticString) {
        _ = unsafe write(1, text.utf8Start, text.utf8CodeUnitCount)
    }
}

/// What is logged when the server crashes: that it did, and by which signal.
///
/// The process may be broken, so this takes no lock and allocates nothing: everything is prepared at the start.
@safe
enum CrashReport {
    /// The path of the log file, or nil for standard output; written once, before the handlers are installed.
    nonisolated(unsafe) private static var path: UnsafeMutablePointer<CChar>?

    /// Where the report goes.
    static func prepare(logFile: String) {
        unsafe path = logFile.isEmpty ? nil : strdup(logFile)
    }

    static func install() {
        for number in [SIGSEGV, SIGBUS, SIGFPE, SIGILL] {
            _ = signal(number) { number in CrashReport.report(number) }
        }
    }

    private static func report(_ number: Int32) {
        var descriptor: Int32 = 1
        if let path = unsafe path {
            descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT, 0o644)
        }
        say(descriptor, "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n")
        switch number {
        case SIGSEGV: say(descriptor, "The server crashed by signal 11 (SIGSEGV: memory that it may not use).\n")
        case SIGBUS: say(descriptor, "The server crashed by signal 7 (SIGBUS: a mapped file could not be read or written).\n")
        case SIGFPE: say(descriptor, "The server crashed by signal 8 (SIGFPE: arithmetic).\n")
        default: say(descriptor, "The server crashed by signal 4 (SIGILL: a check of its own failed).\n")
        }
        say(descriptor, "Everything that was acknowledged is in the log and is found again at the next start.\n")
        say(descriptor, "=== REDIS BUG REPORT END. ===\n")
        // The default action ends the process, with a core file where the system wants one.
        _ = signal(number, SIG_DFL)
        raise(number)
    }

    private static func say(_ descriptor: Int32, _ text: StaticString) {
        _ = unsafe write(descriptor, text.utf8Start, text.utf8CodeUnitCount)
    }
}
