"""An alarm for streams that look manipulated: a sequential test on disagreements and rejections.

**What is watched**, per camera: the share of frames on which the first two views differ, and the
share that the guard rejects (`no_majority`, `low_confidence`, `invalid_views`). Frames that are
stale, blank or corrupt are the stream's health and count for neither.

**The test.** Frames are counted in blocks of `block_s` seconds. The blocks of the first `learn_s`
seconds give a `Baseline` of each statistic, with bounds; where clumps are long, it is twice or four
times as many. Then each block of `n` frames and `x` hits moves Page's CUSUM (1954) of the
likelihood ratio of two coins

    `S <- max(0, S + w [x ln(p1 / p0) + (n - x) ln((1 - p1) / (1 - p0))])`,  `w <= 1 / phi`

where `p0` is the baseline's upper bound (estimation errors make control charts give far more false
alarms than planned: Jensen et al. 2006, *Effects of Parameter Estimation on Control Chart
Properties*; a bound on the parameter guards most cameras, not the average one: Gandy and Kvaloy
2013), `phi` its inflation (frames come in clumps), and `p1` the rate at `odds` times the odds of
`p0`; two more CUSUMs at `odds` squared and to the fourth power notice strong attacks sooner. A
block of more frames than usual weighs no more than a usual one: a raised frame rate is no evidence.

**The false-alarm rate.** Where a block moves S by `Y` with `E[exp(Y)] <= 1`, a CUSUM's mean time
between false alarms is at least `exp(h)` blocks (Lorden 1971), whatever the distribution.
Independent frames at a rate up to `p0` meet this exactly, as do `phi`-fold repetitions; clumps in
general meet it as far as counts over a few correlation times are described by mean and variance.
With the budget split evenly over all CUSUMs (Bonferroni),
`h = ln(CUSUMs * false_alarm_days * 86400 / block_s)`. `blurvote alarm` measures what comes out, on
a guard and a video and on chains of known correlation.

**What it cannot do.**

- It notices what shakes the views, such as noise or compression. A strong attack makes all views
  agree on the wrong label, and both rates stay at or below the baseline: an adaptive attacker's
  does (PGD through all views), and on frames larger than the model's input PGD on the bare backbone
  did, too. Measured on 200 frames of a road video with MobileNetV2: at 4/255 either changed the
  label of 93 % of them, the views differed less often than before, and no alarm came.
- `fewer` also watches for too few hits, and noticed 70 % and 44 % of these streams within half an
  hour. It needs a baseline well above zero, reports scenes that merely turn calm, such as an empty
  road at night, and is avoided by leaving some frames alone; so it is off by default.
- The stated rate is that of a camera whose scene goes on as it was while learning. Day and night,
  rain, or a rush hour that learning never saw are a change, and are reported as one. `adapt_s` lets
  the baseline follow slowly, by at most `adapt_odds`: whoever attacks slowly enough trains it, too,
  so it is off by default.
- Clumps much longer than `hold_s` (a correlation time of 10 s) give more false alarms than stated:
  `learn_s` has too few of them to tell their length. Raise `hold_s`, or `learn_s`.
- A stream that is attacked while learning has the attack for its baseline. The state's text warns
  where a learned rate is above `ceiling`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from blurvote.runtime.pipeline.alarm_options import STATISTICS, AlarmOptions
from blurvote.runtime.pipeline.watched_rate import WatchedRate
from blurvote.runtime.verdict import Verdict

__all__ = ["STATISTICS", "Alarm", "AlarmChange", "AlarmOptions", "is_rejection"]

Phase = Literal["learning", "watching", "raised"]
_REJECTIONS = frozenset({"no_majority", "low_confidence", "invalid_views"})
_STREAM_HEALTH = frozenset({"stale_frame", "bad_frame", "bad_box"})


@dataclass(frozen=True)
class AlarmChange:
    """The alarm was raised or cleared.

    Attributes:
        raised: whether it is on now.
        text: one line for people.
        at_s: when, on the clock of `Alarm.update`.
        evidence: plain values: `since` (of a raised alarm when the change began, as the CUSUM
            estimates it; of a cleared one when it was raised), `threshold` in nats,
            `false_alarm_days`, and under `statistics` for each one that crossed the threshold its
            value, `seconds`, `frames`, `hits` and `rate` since then, `recent` and the `baseline`.
    """

    raised: bool
    text: str
    at_s: float
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


class Alarm:
    """The alarm of one camera; see the module's docstring for how it works.

    Memory is bounded by the options; an update takes microseconds, except for the last one of the
    learning period (milliseconds, once). One thread calls; others may read `raised` and `state()`.
    """

    def __init__(self, options: AlarmOptions) -> None:
        self.options = options
        self._threshold = options.threshold
        self._begin()

    def _begin(self) -> None:
        self._phase: Phase = "learning"
        self._disagreement = WatchedRate("disagreement", self.options)
        self._rejection = WatchedRate("rejection", self.options)
        self._rates = (self._disagreement, self._rejection)
        self._start: float | None = None  # of the block that is being filled
        self._learned = self._quiet = 0  # blocks
        self._since: float | None = None
        self._text = ""

    @property
    def raised(self) -> bool:
        """Whether the alarm is on."""
        return self._phase == "raised"

    def update(self, verdict: Verdict, at_s: float) -> AlarmChange | None:
        """Takes in the next verdict of the camera.

        Args:
            verdict: of a frame; ignored where it is about the stream's health.
            at_s: when the frame was captured, in seconds on any clock. A clock that is set back
                makes one block longer; one that leaps, or a gap in the stream, makes one shorter.

        Returns:
            What changed, if the alarm was raised or cleared by this.
        """
        if verdict.reason in _STREAM_HEALTH:
            return None
        change = None
        if self._start is None or at_s < self._start:
            self._start = at_s
        elif at_s - self._start >= self.options.block_s:
            change = self._close(self._start, at_s)
            self._start = at_s
        disagreement = verdict.disagreement
        if disagreement is not None:
            self._disagreement.count(disagreement)
        self._rejection.count(is_rejection(verdict))
        return change

    def relearn(self) -> AlarmChange | None:
        """Forgets the baseline and learns another from now on, as after a camera was moved.

        Returns:
            That the alarm was cleared, if it was raised.
        """
        raised, since, at_s = self.raised, self._since, self._start or 0.0
        self._begin()
        if not raised:
            return None
        return AlarmChange(
            False, "alarm cleared: the baseline is learned anew", at_s, {"since": since}
        )

    def state(self) -> dict[str, Any]:
        """Plain values for pages and `json.dumps`.

        `phase`, `raised`, `since` (when it was raised or watching began, None while learning),
        `text`, `threshold` in nats, `false_alarm_days`, `learned` (share of the learning period
        that is over); by the name of the rate `statistics` (nats, of its strongest CUSUM), `recent`
        (frames, hits, rate) and `baseline` (see `Baseline`; None while learning, or where no frame
        had it) with `notices_above`, the rate of steady hits that the alarm notices in the end.
        """
        return {
            "phase": self._phase,
            "raised": self.raised,
            "since": self._since,
            "text": self._text or self._learning_text(),
            "learned": self._learned / self._stage,
            "threshold": self._threshold,
            "false_alarm_days": self.options.false_alarm_days,
            "statistics": {rate.name: rate.value for rate in self._rates},
            "recent": {rate.name: rate.recent() for rate in self._rates},
            "baseline": {rate.name: rate.baseline_dict() for rate in self._rates},
        }

    @property
    def _stage(self) -> int:
        """Blocks after which learning may end next, or has ended."""
        stages = self.options.stages
        if self._phase != "learning":
            return self._learned
        # The last one for a reader who comes just as learning ends.
        return next((blocks for blocks in stages if blocks > self._learned), stages[-1])

    def _learning_text(self) -> str:
        seconds = self.options.block_s
        more = ", as hits come in long clumps" if self._learned >= self.options.stages[0] else ""
        return (
            f"learning the baseline: {self._learned * seconds:.0f} of {self._stage * seconds:.0f} s"
            f"{more}"
        )

    def _close(self, start_s: float, next_s: float) -> AlarmChange | None:
        """Ends a block that began at `start_s`; the next one begins at `next_s`."""
        if self._phase == "learning":
            for rate in self._rates:
                rate.learn()
            self._learned += 1
            if self._learned in self.options.stages:
                # All are asked: `all` of a generator would stop at the first that lacks.
                enough = [rate.settle() for rate in self._rates]
                if all(enough) or self._learned == self.options.stages[-1]:
                    self._watch(next_s)
            return None
        for rate in self._rates:
            rate.watch(start_s, next_s)
        if self._phase == "raised":
            return self._clear(next_s)
        crossed = [rate for rate in self._rates if rate.value >= self._threshold]
        if crossed:
            return self._raise(crossed, next_s)
        if self.options.adapt_s:
            for rate in self._rates:
                rate.adapt()
        return None

    def _watch(self, at_s: float) -> None:
        for rate in self._rates:
            rate.begin(at_s)
        self._phase, self._since = "watching", at_s
        self._text = self._watching_text()

    def _watching_text(self) -> str:
        """What is learned, with a warning where that is no good baseline."""
        warnings = [text for rate in self._rates if (text := rate.doubt())]
        rates = [text for rate in self._rates if (text := rate.quiet_text())]
        return "; ".join([f"watching, in quiet times {' and '.join(rates)}", *warnings])

    def _raise(self, crossed: list[WatchedRate], at_s: float) -> AlarmChange:
        evidence = {rate.name: rate.evidence() for rate in crossed}
        since = min(found["since"] for found in evidence.values())
        findings = " and ".join(rate.finding() for rate in crossed)
        self._phase, self._since, self._quiet = "raised", at_s, 0
        self._text = (
            f"stream looks manipulated: {findings} (alarm set for one false alarm in "
            f"{self.options.false_alarm_days:g} days)"
        )
        return AlarmChange(
            True,
            self._text,
            at_s,
            {
                "since": since,
                "threshold": self._threshold,
                "false_alarm_days": self.options.false_alarm_days,
                "statistics": evidence,
            },
        )

    def _clear(self, at_s: float) -> AlarmChange | None:
        """Clears the alarm once the recent rates have been quiet for long enough."""
        self._quiet = self._quiet + 1 if all(rate.quiet for rate in self._rates) else 0
        if not self._quiet or self._quiet * self.options.block_s < self.options.clear_s:
            return None
        since, self._phase, self._since = self._since, "watching", at_s
        for rate in self._rates:
            rate.restart(at_s)
        self._text = self._watching_text()
        recent = {rate.name: rate.recent() for rate in self._rates}
        return AlarmChange(
            False,
            f"alarm cleared: near the baseline for {self._quiet * self.options.block_s:.0f} s",
            at_s,
            {
                "since": since,
                "recent": recent,
                "baseline": {rate.name: rate.baseline_dict() for rate in self._rates},
            },
        )


def is_rejection(verdict: Verdict) -> bool:
    """Whether the guard itself rejected the frame; not for the stream's health."""
    return verdict.reason in _REJECTIONS
