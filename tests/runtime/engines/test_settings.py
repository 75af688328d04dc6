"""Engine settings, and the arguments that stand for them: what cannot be is refused by name."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blurvote.runtime import Guard, ProviderError
from blurvote.runtime.engines.arguments import add_engine_arguments, engine_settings, option
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine

MakeGuard = Callable[..., Path]


@pytest.mark.parametrize("provider", ["gpu", "CPU", "", None, 0])
def test_unknown_providers(make_guard: MakeGuard, provider: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        Guard(make_guard(), provider)
    assert str(caught.value) == (
        f"provider is {provider!r}; expected one of 'auto', 'cpu', 'cuda', 'tensorrt', 'openvino'"
    )


@pytest.mark.parametrize("compute", ["fp64", "FP32", "", None, 16])
def test_unknown_computes(compute: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        EngineSettings("cpu", compute)
    assert str(caught.value) == (
        f"compute is {compute!r}; expected one of 'fp32', 'bf16', 'tf32', 'fp16'"
    )


@pytest.mark.parametrize("threads", [0, -1, 257, 2.0, "2", True])
def test_impossible_threads(make_guard: MakeGuard, threads: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        Guard(make_guard(), threads=threads)
    assert str(caught.value) == (
        f"threads is {threads!r}; expected an integer from 1 to 256, or None"
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"options": "CACHE_DIR=x", "provider": "openvino"}, "options is 'CACHE_DIR=x'; expected na"),
    ({"options": {"x": 1.5}, "provider": "cpu"}, "option 'x' is 1.5; expected a name and text, an"),
    ({"options": {1: "x"}, "provider": "cpu"}, "option 1 is 'x'; expected a name and text"),
    ({"options": {"x": 1}}, "options are for one provider; name it, such as provider='cuda'"),
    ({"compute": "bf16"}, "compute 'bf16' is for one provider; name it, such as provider='cuda'"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_settings_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        EngineSettings(**given)
    assert str(caught.value).startswith(said)


def test_settings_are_values() -> None:
    options: dict[str, Any] = {"a": 1}
    settings = EngineSettings("cpu", options=options)
    options["a"] = 2
    assert settings.options == {"a": 1}
    assert settings == EngineSettings("cpu", options={"a": 1})
    assert len({settings, EngineSettings("cpu", options={"a": 1})}) == 1


REFUSED: list[tuple[EngineSettings, str]] = [
    (EngineSettings("cpu", "bf16"), "provider 'cpu' cannot compute in bf16; it has fp32"),
    (EngineSettings("cpu", options={"x": 1}), "provider 'cpu' has no option 'x'; it has none"),
]


@pytest.mark.parametrize(("settings", "said"), REFUSED)
def test_what_an_engine_does_not_have(
    make_guard: MakeGuard, settings: EngineSettings, said: str
) -> None:
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), settings)
    assert str(caught.value) == said


def test_arguments() -> None:
    parser = ArgumentParser()
    add_engine_arguments(parser)
    assert engine_settings(parser.parse_args([])) == EngineSettings()
    text = "--provider openvino --compute bf16 --option A=true --option B=2 --option C=x=y"
    assert engine_settings(parser.parse_args(text.split()), threads=3, spin=False) == (
        EngineSettings("openvino", "bf16", 3, False, {"A": True, "B": 2, "C": "x=y"})
    )


@pytest.mark.parametrize("text", ["", "NAME", "=1"])
def test_an_option_that_is_none(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not NAME=VALUE"):
        option(text)
