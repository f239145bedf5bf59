"""Libvirt's event loop: all machines depend on it, and so it outlives its errors."""

import logging

import pytest

from vmsandbox.hypervisor.libvirt import bindings


def test_the_event_loop_goes_on_after_an_error_and_reports_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns = iter([None, bindings.libvirt.libvirtError("it broke"), OSError("and again"), None, KeyboardInterrupt()])

    def turn() -> None:
        if (error := next(turns)) is not None:
            raise error

    monkeypatch.setattr(bindings, "_PAUSE", 0.0)
    monkeypatch.setattr(bindings.libvirt, "virEventRunDefaultImpl", turn)
    with caplog.at_level(logging.ERROR), pytest.raises(KeyboardInterrupt):  # which no retry holds up
        bindings._run()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["it broke", "and again"]
