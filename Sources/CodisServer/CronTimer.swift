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
final class CronTimer {
    private let descriptor: Int32

    /// One that has `ring` run on `loop`, where this is called as well, from when it is set for as long as the process
    /// lives; `failed` hears why there is none, as `timerfd_create: Too many open files`.
    ///
    /// Rings that come while the loop is busy are one.
    init(on loop: any EventLoop, failed: @escaping @Sendable (String) -> Void, ring: @escaping @Sendable () -> Void) {
        descriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC))
        guard descriptor >= 0 else {
            failed("timerfd_create: \(unsafe String(cString: strerror(errno)))")
            return
        }
        NIOPipeBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(RingHandler(ring))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenFailure { failed("\($0)") }
    }

    /// Has it ring each `nanoseconds` from now on.
    func set(nanoseconds: Int64) {
        let period = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        var setting = itimerspec(it_interval: period, it_value: period)
        unsafe timerfd_settime(descriptor, 0, &setting, nil)
    }
}

/// Hears that the timer has rung; how often does not matter.
private final class RingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let ring: @Sendable () -> Void

    init(_ ring: @escaping @Sendable () -> Void) { self.ring = ring }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { ring() }
}
