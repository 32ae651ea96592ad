# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT
"""A plugin for pytest: how the tests of redis-py are run against a server that behaves as Redis 2.8 does.

The tests connect to port 6379, or where they think that this is the only way; they are led to CODIS_PORT. Tests that do
not apply are left out, each with its reason. An entry without a test is an error when all tests are run, and so is a test
that skips itself for any other reason than that the server is too old or too new.
"""

import os

import pytest
import redis
import redis.connection

NEWER_HSET = "HSET takes several fields since 4.0, and the test prepares its hash so"
NEWER_ZADD = "ZADD has options since 3.0.2"
OLD_PYTEST = "calls a fixture as a function, which pytest refuses since 4.0; 3.5.3 has the test as well"

# The tests that do not apply: version of redis-py, name of the test, reason.
NOT_APPLICABLE = {
    "3.5.3": {
        "TestRedisCommands::test_exists": "EXISTS takes several keys since 3.0.3",
        "TestRedisCommands::test_bitfield_operations": "BITFIELD came with 3.2",
        "TestPipeline::test_pipeline_with_bitfield": "BITFIELD came with 3.2",
        "TestRedisCommands::test_zadd_nx": NEWER_ZADD,
        "TestRedisCommands::test_zadd_xx": NEWER_ZADD,
        "TestRedisCommands::test_zadd_ch": NEWER_ZADD,
        "TestRedisCommands::test_zadd_incr": NEWER_ZADD,
        "TestRedisCommands::test_zadd_incr_with_xx": NEWER_ZADD,
        "TestRedisCommands::test_hget_and_hset": NEWER_HSET,
        "TestRedisCommands::test_hset_with_multi_key_values": NEWER_HSET,
        "TestRedisCommands::test_hdel": NEWER_HSET,
        "TestRedisCommands::test_hexists": NEWER_HSET,
        "TestRedisCommands::test_hgetall": NEWER_HSET,
        "TestRedisCommands::test_hkeys": NEWER_HSET,
        "TestRedisCommands::test_hlen": NEWER_HSET,
        "TestRedisCommands::test_hmget": NEWER_HSET,
        "TestRedisCommands::test_hvals": NEWER_HSET,
        "TestRedisCommands::test_hscan": NEWER_HSET,
        "TestRedisCommands::test_hscan_iter": NEWER_HSET,
    },
    "2.10.6": {
        "TestEncoding::test_simple_encoding": OLD_PYTEST,
        "TestEncoding::test_list_encoding": OLD_PYTEST,
        "TestEncoding::test_object_value": OLD_PYTEST,
        "TestCommandsAndTokensArentEncoded::test_basic_command": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_channel_subscribe_unsubscribe": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_pattern_subscribe_unsubscribe": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_channel_publish": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_pattern_publish": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_channel_message_handler": OLD_PYTEST,
        "TestPubSubAutoDecoding::test_pattern_message_handler": OLD_PYTEST,
    },
}[redis.__version__]


def pytest_configure(config):
    port = int(os.environ["CODIS_PORT"])
    if hasattr(config.option, "redis_url"):
        config.option.redis_url = "redis://127.0.0.1:%d/9" % port
    connect = redis.connection.Connection._connect

    def connect_there(self):
        asked = self.port
        if asked == 6379:
            self.port = port
        try:
            return connect(self)
        finally:
            self.port = asked

    redis.connection.Connection._connect = connect_there


def pytest_collection_modifyitems(config, items):
    kept, left_out, unused = [], [], set(NOT_APPLICABLE)
    for item in items:
        name = item.nodeid.split("::", 1)[-1].split("[")[0]
        unused.discard(name)
        (left_out if name in NOT_APPLICABLE else kept).append(item)
    items[:] = kept
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    if unused and config.args == ["tests"] and not config.option.keyword:
        raise pytest.UsageError("no such tests: " + ", ".join(sorted(unused)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2])
        # 2.10.6 gives no reason when the version is not the one that a test needs.
        if "Redis version required" not in reason and reason not in ("Skipped: ", "Skipped"):
            report.outcome = "failed"
            report.longrepr = "skipped for an unexpected reason: " + reason
