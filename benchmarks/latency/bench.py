"""What every section of `blurvote bench` works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from blurvote.benchmarks.latency.peers import Peer
from blurvote.benchmarks.latency.pictures import Pictures
from blurvote.benchmarks.results import Results
from blurvote.benchmarks.timing import Measured, Method, measure
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.engines.protocol import EngineSettings, Provider
from blurvote.runtime.guard import Guard
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.plans import Plan
from blurvote.runtime.tuning import guard_sha256

__all__ = ["Bench", "describe_guard", "size_name"]


def size_name(size: tuple[int, int]) -> str:
    """A frame size `(height, width)` as people write it, width first."""
    return f"{size[1]}x{size[0]}"


def describe_guard(path: Path) -> tuple[GuardMetadata, dict[str, Any]]:
    """A guard's metadata, and what identifies it in the results.

    Raises:
        GuardError: the file is missing, broken or not a guard.
    """
    metadata = GuardMetadata.from_map(read_metadata(path), str(path))
    return metadata, {
        "path": path.name,
        "sha256": guard_sha256(path),
        "megabytes": path.stat().st_size / 1e6,
        "kind": metadata.kind,
        "frame_size": metadata.frame_size,
        "defense": metadata.defense.to_json(),
        "source": metadata.provenance.get("source"),
    }


@dataclass
class Bench:
    """One run: what to measure, how, and where the findings go.

    Attributes:
        guard: the guard; `others` are more files of the same model, such as another precision.
        metadata: of `guard`.
        engine: how guards run; `requested` is the provider before `auto` was resolved.
        sizes: frame sizes `(height, width)` in pixels of the headline.
        pictures: what frames are made of.
        peers: what the guard is measured beside, loaded.
        method: how long and how often.
        effort: 1 for a full run; less shortens what is repeated over images, sizes and cameras.
        results: where rows and facts go; `folder` is where they are saved, if anywhere.
        say: told what is going on.
    """

    guard: Path
    metadata: GuardMetadata
    sizes: Sequence[tuple[int, int]]
    pictures: Pictures
    results: Results
    method: Method
    others: Sequence[Path] = ()
    engine: EngineSettings = field(default_factory=partial(EngineSettings, "cpu"))
    requested: Provider = "auto"
    peers: list[Peer] = field(default_factory=list)
    effort: float = 1.0
    folder: Path | None = None
    say: Callable[[str], None] = lambda text: None

    def load(self, plan: Plan = "auto", threads: int | None = None, spin: bool = True) -> Guard:
        """The guard under test."""
        engine = replace(self.engine, threads=threads or self.threads, spin=spin)
        return Guard(self.guard, plan=plan, **asdict(engine))

    @property
    def provider(self) -> Provider:
        """What guards run on."""
        return self.engine.provider

    @property
    def threads(self) -> int | None:
        """Threads that were asked for."""
        return self.engine.threads

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans that this guard can run."""
        if self.metadata.kind == "frames" or self.metadata.defense.decision != "majority":
            return ("batched",)
        return ("batched", "cascade") if len(self.metadata.defense.views) > 2 else ("batched",)

    @property
    def has_clean_view(self) -> bool:
        """Whether the undefended model can be run from this file."""
        return self.metadata.kind == "views" and self.metadata.defense.passes[0] == 0

    def skip(self, section: str, what: str, reason: object) -> None:
        """Notes and says what is not measured."""
        self.results.skip(section, what, str(reason))
        self.say(f"skipped {what}: {reason}")

    def measure(
        self,
        what: str,
        alternatives: Mapping[str, Callable[[], object]],
        method: Method | None = None,
    ) -> Measured:
        """`timing.measure` with this run's method and progress."""
        return measure(alternatives, method or self.method, partial(self._step, what))

    def _step(self, what: str, text: str) -> None:
        self.say(f"{what}: {text}")
