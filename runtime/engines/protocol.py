"""What a guard asks of whatever runs its graph, and the settings that every engine takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from numpy.typing import DTypeLike, NDArray

from blurvote.runtime.errors import ProviderError

__all__ = ["ON_CPU", "Compute", "Engine", "EngineSettings", "OptionValue", "Provider", "Steps"]

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
Compute = Literal["fp32", "bf16", "tf32", "fp16"]
OptionValue = str | int | bool

ON_CPU: frozenset[Provider] = frozenset({"cpu", "openvino"})
"""Providers whose arrays stay in the host's memory, and for which a batch buys little."""

MOST_THREADS = 256


@dataclass(frozen=True)
class EngineSettings:
    """How a graph is to be run.

    Attributes:
        provider: what runs it. `"auto"` is CUDA where it works and ONNX Runtime's CPU elsewhere;
            any other runs there or raises.
        compute: the arithmetic of the file's float32 operators. Only `"fp32"` gives the numbers
            that the export's parity report vouches for; an engine refuses what it cannot do.
        threads: threads of one inference; None takes the usable physical cores.
        spin: whether idle threads may spin between the operators of one run. They stop when it
            ends, so that a camera pipeline's other threads get the cores.
        options: settings of that one provider by their names; each engine lists its own.

    Raises:
        ProviderError: a value that no engine takes, or `options` or `compute` without the name of
            the provider that they are for.
    """

    provider: Provider = "auto"
    compute: Compute = "fp32"
    threads: int | None = None
    spin: bool = True
    options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, kind in (("provider", Provider), ("compute", Compute)):
            given, expected = getattr(self, name), get_args(kind)
            if given not in expected:
                raise ProviderError(
                    f"{name} is {given!r}; expected one of {', '.join(map(repr, expected))}"
                )
        threads = self.threads
        if threads is not None and not (type(threads) is int and 1 <= threads <= MOST_THREADS):
            raise ProviderError(
                f"threads is {threads!r}; expected an integer from 1 to {MOST_THREADS}, or None"
            )
        if not isinstance(self.options, Mapping):
            raise ProviderError(
                f"options is {self.options!r}; expected names and values, such as "
                '{"cache_dir": "/var/cache/blurvote"}'
            )
        for name, value in self.options.items():
            if not isinstance(name, str) or not isinstance(value, (str, int, bool)):
                raise ProviderError(
                    f"option {name!r} is {value!r}; expected a name and text, an integer or a truth"
                )
        object.__setattr__(self, "options", dict(self.options))  # nobody changes it afterwards
        if self.provider == "auto" and (self.options or self.compute != "fp32"):
            # What comes up must not decide which arithmetic a user gets.
            what = "options are" if self.options else f"compute {self.compute!r} is"
            raise ProviderError(f"{what} for one provider; name it, such as provider='cuda'")

    def refuse_others(self, computes: Iterable[Compute], options: Iterable[str]) -> None:
        """Checks `compute` and the names in `options` against what an engine has.

        Raises:
            ProviderError: it does not have that.
        """
        computes, known = list(computes), sorted(options)
        if self.compute not in computes:
            raise ProviderError(
                f"provider {self.provider!r} cannot compute in {self.compute}; "
                f"it has {', '.join(computes)}"
            )
        for name in self.options:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ProviderError(f"provider {self.provider!r} has no option {name!r}; {has}")


@dataclass(frozen=True)
class Steps:
    """Milliseconds of one inference and of its copies to and from the device."""

    copy_in: float
    inference: float
    copy_out: float


class Engine(Protocol):
    """One ONNX model, loaded and ready to run. May be shared by several threads."""

    @property
    def provider(self) -> Provider:
        """What runs; never `"auto"`."""

    @property
    def compute(self) -> Compute:
        """The arithmetic of the file's float32 operators."""

    @property
    def threads(self) -> int:
        """Threads of one inference on the CPU."""

    @property
    def metadata(self) -> dict[str, str]:
        """The model's ONNX metadata entries."""

    @property
    def input_name(self) -> str:
        """Name of the graph's one input."""

    @property
    def output_names(self) -> list[str]:
        """Names of the graph's outputs, in file order."""

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """The settings in force as the library reports them, by its name for the provider."""

    def run(self, batch: NDArray[Any], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """The outputs (None: all, in file order) for the one input `batch`.

        The arrays are the caller's own: no later run writes into them.

        Raises:
            GuardError: the run failed, out of memory included.
        """

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """As `run`, with the copies apart: what a measurement needs, at a little extra cost.

        Raises:
            GuardError: as `run`.
        """

    def host_buffer(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Memory to build batches in, of undefined values: the kind that uploads fastest.

        It is the caller's own, may be used for many batches, and is freed with its last view.
        """

    def close(self) -> None:
        """Releases the session, its memory and its threads."""
