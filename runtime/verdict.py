"""What a guard says about one frame."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from blurvote.runtime.frame import Frame

__all__ = ["Reason", "StageTimes", "Verdict"]

Reason = Literal[
    "no_majority", "low_confidence", "invalid_views", "bad_box", "bad_frame", "stale_frame"
]


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of the call that made a verdict; frames of one batch share them.

    Attributes:
        views: building the views (0 on a `frames` guard, whose graph builds them).
        inference: running the session.
        vote: votes, confidence and verdicts.
        denoise: running the denoiser on noisy frames, and putting their views in place (0 on a
            `frames` guard, whose graph denoises).
    """

    views: float
    inference: float
    vote: float
    denoise: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the stages."""
        return self.views + self.denoise + self.inference + self.vote


@dataclass(frozen=True)
class Verdict:
    """A label or a rejection, with what led to it.

    Attributes:
        label: class index, or -1 when the frame is rejected.
        name: the label's class name; None when rejected or when the guard has no names.
        reason: None when accepted, else `no_majority`, `low_confidence` (below the threshold of
            the decision `mean`), `invalid_views` (half or more of the views cast no vote),
            `bad_box` (a box that leaves nothing, or too little, of the frame to classify); from a
            pipeline also `bad_frame` (blank, corrupt, or of a size that cannot be served) and
            `stale_frame` (too old, or of a picture that has stood still for too long).
        confidence: softmax of the label in [0, 1], averaged over the first two views that voted
            for it (over all views for the decision `mean`); None when there is no label to ask for.
        count: views that voted for the winning label; None where not all views were run.
        view_labels: each view's vote: class index, -1 for no vote, None for a view not run.
        plan: how the views were run, `"batched"` or `"cascade"`.
        stage_ms: where the time went.
        source, sequence: where the frame came from, see `Frame`.
        age_ms: time from the frame's capture to this verdict, in milliseconds.
        box: what part of the frame this is about, x0, y0, x1, y1 in pixels, half open; None for
            the whole frame.
        noise: level of the frame's noise, or the box's: the standard deviation of white Gaussian
            noise on each channel that would look as noisy, in [0, 1] RGB units; None where there is
            no estimate (a frame too small, one not put to the guard, a `frames` guard that does not
            need it).
        denoised: whether the views that voted are those of a noisy frame, see
            `Defense.noisy_views`.
    """

    label: int
    name: str | None
    reason: Reason | None
    confidence: float | None
    count: int | None
    view_labels: tuple[int | None, ...]
    plan: Literal["batched", "cascade"]
    stage_ms: StageTimes
    source: str
    sequence: int
    age_ms: float
    box: tuple[int, int, int, int] | None = None
    noise: float | None = None
    denoised: bool = False

    @classmethod
    def without_inference(
        cls, frame: Frame, reason: Reason, views: int, plan: Literal["batched", "cascade"]
    ) -> Verdict:
        """The rejection of a frame that was not put to the guard; `views` is how many it has."""
        return cls(
            label=-1,
            name=None,
            reason=reason,
            confidence=None,
            count=None,
            view_labels=(None,) * views,
            plan=plan,
            stage_ms=StageTimes(0.0, 0.0, 0.0),
            source=frame.source,
            sequence=frame.sequence,
            age_ms=(time.monotonic() - frame.captured_at) * 1e3,
        )

    @property
    def accepted(self) -> bool:
        """Whether the frame has a label."""
        return self.reason is None

    @property
    def disagreement(self) -> bool | None:
        """Whether the first and the second view differ; None where they were not both run."""
        if len(self.view_labels) < 2 or None in self.view_labels[:2]:
            return None
        return self.view_labels[0] != self.view_labels[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {**asdict(self), "accepted": self.accepted}
