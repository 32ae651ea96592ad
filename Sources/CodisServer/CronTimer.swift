// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CGlibc
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// Rings for the cron: a timer of the kernel, which the loop reads as it reads its sockets.
///
/// With a timer of its own the loop would look at the clock three times more in each tick, and copy the timer as often,
/// which is a hundredth or two of the CPU of requests that are not pipelined.
@safe
final class CronTimer {
    private let descriptor: Int32
    private let failed: (String) -> Never
    private let ring: () -> Void
    private var nanoseconds: Int64 = 0

    /// One that has `ring` run on `loop`, where this is called as well, from when it is set for as long as the process
    /// lives; `failed` hears why it cannot, as `timerfd_create: Too many open files`.
    init(on loop: any EventLoop, failed: @escaping (String) -> Never, ring: @escaping () -> Void) {
        self.failed = failed
        self.ring = ring
        descriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC))
        guard descriptor >= 0 else { failed(CronTimer.reason("timerfd_create")) }
        let timer = NIOLoopBound(self, eventLoop: loop)
        NIOPipeBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(timer.value))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenFailure { timer.value.failed("\($0)") }
    }

    /// Has it ring in `nanoseconds`, and so long after each ring has been answered.
    func set(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
        var setting = itimerspec()
        setting.it_value.tv_sec = Int(nanoseconds / 1_000_000_000)
        setting.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
        guard unsafe timerfd_settime(descriptor, 0, &setting, nil) == 0 else {
            failed(CronTimer.reason("timerfd_settime"))
        }
    }

    private func hasRung() {
        ring()
        set(nanoseconds: nanoseconds)
    }

    private static func reason(_ operation: String) -> String {
        "\(operation): \(unsafe String(cString: strerror(errno)))"
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let timer: CronTimer

        init(_ timer: CronTimer) { self.timer = timer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { timer.hasRung() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { timer.failed("\(error)") }
    }
}
