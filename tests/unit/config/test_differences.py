"""The effect that a reload has on settings that differ."""

from vmsandbox import config
from vmsandbox.config import Change, Config, Effect, changes, reloaded


def read(text: str) -> Config:
    return config.parse(text, "c.yaml")


def test_equal_configurations_do_not_differ() -> None:
    assert changes(read("handlers: {a: {vcpus: 2}}"), read("handlers: {a: {vcpus: 2}}")) == ()


def test_each_setting_that_differs_is_named_with_the_effect_of_a_reload() -> None:
    text = "socket: /s\nlog_level: debug\nmachine: {vcpus: 2}\nlimits: {memory: 2Gi}\nnetwork: {default: {bridge: b}}"
    assert changes(Config(), read(text)) == (
        Change("socket", Effect.RESTART),
        Change("log_level", Effect.AT_ONCE),
        Change("machine.vcpus", Effect.NEW_PODS),
        Change("limits.memory", Effect.AT_ONCE),
        Change("network.default.bridge", Effect.NEW_PODS),
    )


def test_handlers_that_come_go_or_change_are_named() -> None:
    before, after = read("handlers: {a: {}, b: {vcpus: 1}, c: {}}"), read("handlers: {b: {vcpus: 2}, c: {}, d: {}}")
    assert [change.setting for change in changes(before, after)] == ["handlers.a", "handlers.b", "handlers.d"]


def test_after_a_reload_settings_that_need_a_restart_are_as_before() -> None:
    new = "limits: {memory: 2Gi}\nhandlers: {b: {}}\nlog_level: debug\n"
    before = read("socket: /old\nlimits: {memory: 1Gi}\nimages: {user: root, pull_timeout: 5}\nhandlers: {a: {}}")
    after = read(new + "socket: /new\nimages: {pull_timeout: 7}")
    kept = read(new + "socket: /old\nimages: {user: root, pull_timeout: 7}")
    assert reloaded(before, after) == kept
    assert [change.setting for change in changes(kept, after)] == ["socket", "images.user"]
