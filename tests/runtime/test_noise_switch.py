"""The switch between quiet and noisy frames."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurvote.runtime import noise_switch
from blurvote.runtime.noise_switch import NoiseSwitch

LOW, HIGH = 0.02, 0.03


def test_a_stream_stays_noisy_until_its_level_is_low() -> None:
    switch = NoiseSwitch(LOW, HIGH)
    levels = [0.0, 0.029, 0.03, 0.025, 0.02, 0.0199, 0.025, 0.0299, 0.5, 0.021]
    expected = [False, False, True, True, True, False, False, False, True, True]
    assert [switch(level, "door") for level in levels] == expected


def test_each_source_has_its_own_memory() -> None:
    switch = NoiseSwitch(LOW, HIGH)
    assert switch(0.5, "door")
    assert not switch(0.025, "yard")
    assert switch(0.025, "door")


def test_frames_without_a_source_have_no_memory() -> None:
    switch = NoiseSwitch(LOW, HIGH)
    levels = [0.03, 0.029, 0.02, 0.031]
    assert [switch(level) for level in levels] == [True, False, False, True]
    assert [switch(level, "") for level in levels] == [True, False, False, True]


@pytest.mark.parametrize("none", [None, float("nan")])
def test_no_estimate_is_quiet(none: float | None) -> None:
    for high in (0.0, HIGH):
        switch = NoiseSwitch(0.0, high)
        assert not switch(none)
        assert switch(0.5, "door")
        assert not switch(none, "door")
        assert switch(0.01, "door") is (high == 0.0), "a quiet frame ends what was before it"


def test_zero_is_always() -> None:
    switch = NoiseSwitch(0.0, 0.0)
    assert switch(0.0)
    assert switch(0.0, "door")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.06)), max_size=40))
def test_it_is_the_trigger_written_out(steps: list[tuple[str, float]]) -> None:
    switch = NoiseSwitch(LOW, HIGH)
    for n, (source, level) in enumerate(steps):
        # Backwards from this frame to the last one of its source outside the gap.
        expected = False
        for before, earlier in reversed(steps[: n + 1]):
            if before == source and not LOW <= earlier < HIGH:
                expected = earlier >= HIGH
                break
        assert switch(level, source) is expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_switch, "MOST_SOURCES", 3)
    switch = NoiseSwitch(LOW, HIGH)
    for source in "abc":
        assert switch(0.5, source)
    assert switch(0.025, "a"), "which makes b the one not seen for longest"
    assert switch(0.5, "d")
    assert [switch(0.025, source) for source in "abcd"] == [True, False, True, True]


def test_threads_share_it() -> None:
    switch = NoiseSwitch(LOW, HIGH)
    wrong: list[str] = []

    def work(source: str) -> None:
        for n in range(3000):
            noisy = n % 3 != 2
            if switch((0.5, 0.025, 0.0)[n % 3], source) is not noisy:
                wrong.append(source)

    threads = [threading.Thread(target=work, args=(f"camera {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
