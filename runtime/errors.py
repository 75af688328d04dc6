"""Every error that blurvote raises on purpose.

::

    BlurvoteError
    +-- DefenseError      a Defense that cannot be, or a frame size it cannot serve (ValueError)
    +-- FrameError        pixels of the wrong shape, type or layout (ValueError)
    +-- GuardError        a guard file that is missing, broken, foreign or used against its kind
    +-- ProviderError     the provider asked for is not there, or is not what runs
    |   +-- EngineNotBuiltError   it needs an engine that is yet to be built, for minutes
    +-- PlanError         a plan that the guard or its decision cannot run (ValueError)
    +-- SourceError       a picture, video or camera that cannot be read
    |   +-- StreamLostError   a live stream that broke off
    +-- SinkError         an output that cannot be written
    +-- SettingsError     a config file or setting that cannot be (ValueError)
    +-- ExportError       a model that cannot be turned into a guard
        +-- ParityError   the guard would not compute what its model computes
        +-- PrecisionError  a guard of lower precision would lose too much

Each message says what was given, what was expected and how to fix it. The command line prints the
message alone and exits with status 2.
"""

from __future__ import annotations

__all__ = [
    "BlurvoteError",
    "DefenseError",
    "EngineNotBuiltError",
    "ExportError",
    "FrameError",
    "GuardError",
    "ParityError",
    "PlanError",
    "PrecisionError",
    "ProviderError",
    "SettingsError",
    "SinkError",
    "SourceError",
    "StreamLostError",
]


class BlurvoteError(Exception):
    """The root of all errors that blurvote raises on purpose."""


class DefenseError(BlurvoteError, ValueError):
    """A `Defense` with impossible settings, or a frame size that it cannot serve."""


class FrameError(BlurvoteError, ValueError):
    """Pixels or logits of the wrong shape, dtype or memory layout."""


class GuardError(BlurvoteError):
    """A guard file that is missing, broken or foreign, or a use its kind does not allow."""


class ProviderError(BlurvoteError):
    """The execution provider that was asked for is not available, or is not what runs."""


class EngineNotBuiltError(ProviderError):
    """The provider runs engines that are built for this machine, which takes minutes, and this one
    is not built yet: not ready, until `blurvote build` was run.
    """


class PlanError(BlurvoteError, ValueError):
    """A plan that the guard or its decision cannot run."""


class SourceError(BlurvoteError):
    """A picture, video or camera that cannot be opened or read."""


class StreamLostError(SourceError):
    """A live stream that broke off; opening it again may help."""


class SinkError(BlurvoteError):
    """An output that cannot be opened or written."""


class SettingsError(BlurvoteError, ValueError):
    """A setting of a pipeline that cannot be, or a config file that cannot be read."""


class ExportError(BlurvoteError):
    """A model that cannot be turned into a guard."""


class ParityError(ExportError):
    """The guard would not compute what its model computes; nothing was written."""


class PrecisionError(ExportError):
    """A guard of lower precision would lose more accuracy than allowed; nothing was written."""
