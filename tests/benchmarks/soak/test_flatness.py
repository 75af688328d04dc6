"""The arithmetic that says whether memory is flat."""

from __future__ import annotations

import time

import numpy as np
import pytest

from blurvote.benchmarks.soak import flatness
from blurvote.benchmarks.soak.ages import Ages
from blurvote.benchmarks.soak.flatness import Sample, Sampler, growth, leak_bound_mib


def samples(rss_of: object, count: int = 200, work: float = 100_000.0) -> list[Sample]:
    noise = np.random.default_rng(0).normal(0, 0.2, count)
    return [
        Sample(done, rss_of(done) + float(jitter), 10, 20)  # type: ignore[operator]
        for done, jitter in zip(np.linspace(0, work, count), noise, strict=True)
    ]


def test_flat_memory_is_flat_whatever_happened_first() -> None:
    found = growth(samples(lambda done: 300.0 if done > 30_000 else 100.0 + done / 200))
    assert found.work == pytest.approx(50_000, rel=0.02)
    assert abs(found.rss_mib) < 0.2
    assert found.rss_mib < leak_bound_mib(found.work)
    assert (found.threads, found.files) == pytest.approx((0, 0), abs=1e-9)
    assert 0.5 < found.range_mib < 2


@pytest.mark.parametrize("leak_bytes", [200, 1000])
def test_a_leak_per_frame_is_found(leak_bytes: int) -> None:
    found = growth(samples(lambda done: 200 + done * leak_bytes / 2**20))
    assert found.per_work_bytes == pytest.approx(leak_bytes, rel=0.05)
    assert found.rss_mib > leak_bound_mib(found.work)


def test_threads_and_descriptors_that_pile_up_are_found() -> None:
    found = growth([Sample(float(n), 100.0, 10 + n // 10, 20 + n) for n in range(100)])
    assert found.threads == pytest.approx(5, abs=0.5)
    assert found.files == pytest.approx(49, abs=0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([Sample(float(n), 1.0, 1, 1) for n in range(3)], "3 samples; expected at least 4"),
        ([Sample(5.0, 1.0, 1, 1)] * 8, "no work was done in the second half"),
    ],
)
def test_too_little_to_say(given: list[Sample], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        growth(given)


def test_the_bound_grows_with_the_work_and_leaves_room_for_pictures() -> None:
    assert leak_bound_mib(0) == flatness.ALLOCATOR_MIB
    assert leak_bound_mib(2**20) == flatness.ALLOCATOR_MIB + flatness.LEAST_BYTES
    assert leak_bound_mib(0, 24.0) == flatness.ALLOCATOR_MIB + 24


def test_a_sampler_keeps_few_samples_of_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatness, "EVERY_S", 0.001)
    monkeypatch.setattr(flatness, "_MOST", 16)
    done = 0.0

    def work() -> float:
        nonlocal done
        done += 1
        return done

    sampler = Sampler(work)
    deadline = time.monotonic() + 20
    while done < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    sampler.stop()
    kept = [sample.work for sample in sampler.samples]
    assert done >= 40
    assert 4 <= len(kept) <= 16
    assert kept == sorted(set(kept))
    assert kept[-1] - kept[0] > len(kept), "they span the run"
    assert sampler.take().rss_mib > 1
    assert sampler.take().threads >= 1


def test_percentiles_of_ages_are_true_to_a_percent() -> None:
    drawn = np.random.default_rng(1).lognormal(3, 1, 5000)
    ages = Ages()
    for age in drawn:
        ages.add(float(age))
    for share in (0.5, 0.9, 0.99):
        exact = float(np.quantile(drawn, share))
        assert ages.percentile(share) == pytest.approx(exact, rel=0.015)
    assert ages.to_dict()["max"] == drawn.max()
    assert ages.count == 5000


def test_ages_that_cannot_be_binned() -> None:
    ages = Ages()
    assert ages.to_dict() == {"p50": 0.0, "p99": 0.0, "max": 0.0}
    for age in (0.0, -1.0, 1e12):
        ages.add(age)
    assert ages.percentile(1.0) == pytest.approx(1e7, rel=0.02)
    assert ages.largest == 1e12
