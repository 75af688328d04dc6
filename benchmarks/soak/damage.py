"""Damaged H.264, as a stream and as a file: what is noticed, and what still gets a label."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blurvote.benchmarks.soak.films import damage_file, film_of
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.rtsp import RtspServer, film
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_gstreamer, say
from blurvote.benchmarks.soak.streams import readers_of
from blurvote.benchmarks.soak.tally import Tallies
from blurvote.runtime.frame import Frame
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.sources import open_source

__all__ = ["SCENARIOS"]

SHARE = 0.1  # of the pictures, whose bytes are damaged


class _Pictures:
    """Tells whole pictures from damaged ones, and what became of both.

    A whole picture has the very pixels that the same decoder made of it before the damage began.
    It is a sink, and looks at the sources' frames; they meet by `captured_at`.
    """

    holds_pictures = False

    def __init__(self) -> None:
        self.learning = True
        self._whole: dict[str, set[int]] = {}
        self._damaged: dict[float, bool] = {}
        self.fates: dict[str, Counter[str]] = {}

    def look(self, frame: Frame) -> None:
        """Takes in a frame from its source."""
        known = self._whole.setdefault(frame.source, set())
        fingerprint = zlib.crc32(frame.pixels.tobytes())
        if self.learning:
            known.add(fingerprint)
        else:
            self._damaged[frame.captured_at] = fingerprint not in known

    def known(self) -> dict[str, int]:
        """Per source, how many whole pictures are known."""
        return {source: len(known) for source, known in self._whole.items()}

    def write(self, observation: Observation) -> None:
        """Takes in its verdict."""
        damaged = self._damaged.pop(observation.frame.captured_at, None)
        if damaged is None:
            return
        verdict = observation.verdict
        fate = "labelled" if verdict.accepted else str(verdict.reason)
        fates = self.fates.setdefault(observation.camera, Counter())
        fates[f"{'damaged' if damaged else 'whole'}, {fate}"] += 1

    def tell(self, event: Event) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to finish."""


def _stream(
    setup: Setup, rig_cameras: Sequence[CameraSettings], server: RtspServer, total: int
) -> Rig:
    pictures = _Pictures()
    tallies = Tallies()
    tallies.look = pictures.look
    names = [camera.name for camera in rig_cameras]
    with (
        Guard(setup.guard, "cpu") as guard,
        Rig(guard, rig_cameras, [pictures], None, tallies) as rig,
    ):
        rig.warm_up()
        deadline = time.monotonic() + 120.0  # until each camera has seen the whole film
        while (
            min(tallies.of(camera.uri).frames for camera in rig_cameras) < 1.1 * total
            and time.monotonic() < deadline
        ):
            time.sleep(0.1)
        rig.facts["whole pictures known"] = min(pictures.known().values())
        pictures.learning = False
        before = {name: rig.counts(name) for name in names}

        def damage() -> None:
            server.corrupt("a", SHARE)

        def heal() -> None:
            server.corrupt("a", 0.0)

        share = f"{SHARE:.0%} of the pictures' bytes damaged"
        lasts_s = max(2.0, setup.seconds / 2)
        rig.harm(share, names, damage, heal, lasts_s)
        time.sleep(1.5)
        for name in names:
            after = rig.counts(name)
            fates = pictures.fates.get(name, Counter())
            reported = after["errors"] - before[name]["errors"]
            damaged = sum(n for fate, n in fates.items() if fate.startswith("damaged"))
            rig.facts[f"{name}: fates"] = dict(sorted(fates.items()))
            rig.facts[f"{name}: pictures reported as damaged"] = reported
            rig.facts[f"{name}: damaged pictures that got a label"] = fates["damaged, labelled"]
            rig.check(
                f"{name}: the damage shows",
                reported + damaged + after["reconnects"] > 0,
                f"{reported} errors, {damaged} damaged pictures delivered",
            )
            if name == "av":
                rig.check("av: reports damaged pictures", reported > 0, str(reported))
            say(f"{name}: {reported} errors; {dict(fates)}")
    return rig


def _file(setup: Setup, source: Path) -> Rig:
    """The same with a file, which OpenCV reads."""
    target = setup.folder / "damaged.mp4"
    harmed = damage_file(source, target, SHARE)
    pictures = _Pictures()
    clean = open_source(str(source))
    total = 0
    while (frame := clean.read()) is not None:
        total += 1
        pictures.look(Frame(frame.pixels, frame.colour, str(target)))
    clean.close()
    pictures.learning = False
    tallies = Tallies()
    tallies.look = pictures.look
    tallies.watch("soak-file", lambda uri, options: open_source(uri.partition(":")[2], options))
    cameras = [CameraSettings(f"soak-file:{target}", "file")]
    with Guard(setup.guard, "cpu") as guard, Rig(guard, cameras, [pictures], None, tallies) as rig:
        deadline = time.monotonic() + 300.0
        while rig.pipeline.running and time.monotonic() < deadline:
            time.sleep(0.05)
    counts, fates = rig.counts("file"), pictures.fates.get("file", Counter())
    rig.facts.update(
        {
            "file: pictures": total,
            "file: NAL units damaged": harmed,
            "file: fates": dict(sorted(fates.items())),
            "file: pictures reported as damaged": counts["errors"],
            "file: pictures missing": total - counts["frames"] - counts["errors"],
            "file: damaged pictures that got a label": fates["damaged, labelled"],
        }
    )
    rig.check("file: read to its end", counts["state"] == "ended", counts["state"])
    damaged = sum(n for fate, n in fates.items() if fate.startswith("damaged"))
    rig.check(
        "file: the damage shows",
        damaged + counts["errors"] > 0 or counts["frames"] < total,
        f"{counts['errors']} errors, {damaged} damaged pictures delivered",
    )
    say(f"file: {dict(fates)}, {counts['errors']} errors")
    return rig


def _corrupt(setup: Setup) -> Outcome:
    need_gstreamer()
    path = film_of(setup)
    read = _file(setup, path).outcome("corrupt-h264", "")
    with RtspServer({"a": film(path)}) as server:
        rig = _stream(setup, readers_of(server.url("a")), server, read.facts["file: pictures"])
    rig.facts.update(read.facts)
    rig.checks += [check for check in read.checks if check.name.startswith("file")]
    rig.checks += [check for check in read.checks if not check.passed]
    did = (
        f"bytes are overwritten in {SHARE:.0%} of the pictures of an H.264 stream for a while, and "
        f"flipped in {SHARE:.0%} of the slices of an MP4; pictures count as damaged whose pixels "
        "differ from what the same decoder made of the undamaged ones"
    )
    return rig.outcome("corrupt-h264", did)


SCENARIOS = (Scenario("corrupt-h264", "damaged H.264 in a stream and in a file", 60.0, _corrupt),)
