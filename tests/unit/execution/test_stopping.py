"""What stops a cell from outside."""

import signal
from collections.abc import Iterator

import pytest

from ferbench.errors import InterruptedRun
from ferbench.execution.stopping import StopRequests

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_request_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequests()
    with stop.heeding_signals():
        assert stop() is None
        signal.raise_signal(number)
        reason = stop()
    assert isinstance(reason, InterruptedRun) and number.name in str(reason)
    assert signal.getsignal(number) is before


def test_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopRequests()
    with stop.heeding_signals():
        signal.raise_signal(signal.SIGHUP)
        assert stop() is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
