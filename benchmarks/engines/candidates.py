"""What is compared: each file of a model on each engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from blurvote.runtime.engines.protocol import Compute, EngineSettings, Provider
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import BlurvoteError, GuardError, PlanError, SourceError
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["ALL", "Candidate", "Model", "candidates", "describe", "parse_engine"]

# What an engine can compute float32 operators in, beyond float32 itself.
_REDUCED: dict[Provider, tuple[Compute, ...]] = {
    "cuda": ("tf32",),
    "openvino": ("bf16",),
    "tensorrt": ("tf32",),
}
ALL: tuple[tuple[Provider, Compute], ...] = tuple(
    (provider, compute)
    for provider in get_args(Provider)
    if provider != "auto"
    for compute in ("fp32", *_REDUCED.get(provider, ()))
)


@dataclass(frozen=True)
class Model:
    """One file of the model.

    Attributes:
        path: a `views` guard that votes.
        metadata: what it says about itself.
    """

    path: Path
    metadata: GuardMetadata


@dataclass(frozen=True)
class Candidate:
    """One file on one engine.

    Attributes:
        model: the file.
        provider, compute: the engine, and what it computes float32 operators in.
    """

    model: Model
    provider: Provider
    compute: Compute

    @property
    def engine(self) -> str:
        """The engine as printed."""
        return self.provider if self.compute == "fp32" else f"{self.provider} {self.compute}"

    @property
    def name(self) -> str:
        """File and engine, as printed; unique in a run."""
        return f"{self.model.path.name}, {self.engine}"

    def settings(self, threads: int | None) -> EngineSettings:
        """For `open_engine`."""
        return EngineSettings(self.provider, self.compute, threads)


def parse_engine(text: str) -> tuple[Provider, Compute]:
    """`provider` or `provider:compute`.

    Raises:
        SourceError: neither.
    """
    provider, _, compute = text.partition(":")
    for known in ALL:
        if known == (provider, compute or "fp32"):
            return known
    expected = ", ".join(p if c == "fp32" else f"{p}:{c}" for p, c in ALL)
    raise SourceError(f"--engines {text}: expected some of {expected}")


def describe(paths: Sequence[str]) -> list[Model]:
    """The files of one model, checked to differ in nothing but their precision.

    Raises:
        GuardError: a file is missing, broken or no guard, or has other classes than the first.
        PlanError: a guard that builds its views itself or does not vote, or another defence.
        SourceError: two files of the same name.
    """
    models: list[Model] = []
    for path in map(Path, paths):
        engine = open_engine(path, EngineSettings("cpu", threads=1))
        metadata = GuardMetadata.from_map(engine.metadata, str(path))
        engine.close()
        if metadata.kind != "views" or metadata.defense.decision != "majority":
            raise PlanError(
                f"{path} is a {metadata.kind} guard that decides by {metadata.defense.decision}; "
                "expected views guards that decide by majority, which both plans can run"
            )
        models.append(Model(path, metadata))
    first = models[0]
    for model in models[1:]:
        if model.metadata.defense != first.metadata.defense:
            raise PlanError(
                f"{model.path} has another defence than {first.path}; expected files of one guard "
                "that differ in precision only"
            )
        if model.metadata.labels != first.metadata.labels:
            raise GuardError(f"{model.path} has other labels than {first.path}")
    names = [model.path.name for model in models]
    if len(set(names)) < len(names):
        raise SourceError(
            f"{', '.join(paths)}: two files have the same name, by which the table would tell them "
            "apart; rename one"
        )
    return models


def candidates(
    models: Sequence[Model],
    engines: Sequence[tuple[Provider, Compute]] | None,
    threads: int | None,
    skipped: list[tuple[str, str]],
) -> Iterator[Candidate]:
    """Every file on every engine that comes up.

    Args:
        models: the files.
        engines: those asked for, each of which must come up; None tries all of them.
        threads: of one inference.
        skipped: takes name and reason of what does not come up.

    Raises:
        ProviderError, GuardError: an engine that was asked for does not come up.
    """
    missing: dict[str, str] = {}  # engine to reason: told once, not for every file
    for model in models:
        for provider, compute in engines or ALL:
            candidate = Candidate(model, provider, compute)
            if candidate.engine in missing:
                continue
            try:
                open_engine(model.path, candidate.settings(threads)).close()
            except BlurvoteError as error:
                if engines:
                    raise
                if model is models[0]:
                    missing[candidate.engine] = str(error)
                    skipped.append((candidate.engine, str(error)))
                else:
                    skipped.append((candidate.name, str(error)))
                continue
            yield candidate
