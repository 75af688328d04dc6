"""The results of `blurvote alarm` as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from blurvote.benchmarks.report import table

__all__ = ["text_of"]


def text_of(document: Mapping[str, Any]) -> str:
    """Tables and what to make of them; `document` is that of `alarm.json`."""
    guard, video = document["guard"], document["video"]
    lines = [f"# The alarm, with {guard['file']} on {video['file']}", "", *_setting(document)]
    lines += ["", "## What the guard says of the video", "", _indicators(document)]
    if not document["views_compared"]:
        lines += ["", "The guard runs a single view: only rejections are watched."]
    lines += ["", "## False alarms", "", *_false_alarms(document)]
    if document["detection"]:
        lines += ["", "## Disturbances", "", *_detection(document)]
    if document["chains"]:
        lines += ["", "## Chains of known correlation", "", *_chains(document)]
    return "\n".join(lines) + "\n"


def _setting(document: Mapping[str, Any]) -> list[str]:
    options, video = document["options"], document["video"]
    seconds = video["frames"] / video["fps"]
    return [
        f"Set for one false alarm in {options['false_alarm_days']:g} days: threshold "
        f"{options['threshold']:.2f} nats, blocks of {options['block_s']:g} s, learning from "
        f"{options['learn_s']:g} s on.",
        "",
        f"The video has {video['frames']} frames, {seconds:.0f} s. Streams are drawn from it in "
        f"stretches of {document['simulation']['mean_block']:.0f} frames on average (stationary "
        "bootstrap), so they show what the video shows and nothing else: no other weather, traffic "
        "or light, and no change that takes longer than a stretch.",
    ]


def _indicators(document: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            *(
                cell
                for kind in ("disagreement", "rejection")
                for cell in (
                    _percent(facts[kind]["rate"]),
                    f"{facts[kind]['correlation_s']:.2f}",
                    f"{facts[kind]['inflation']:.1f}",
                )
            ),
        ]
        for name, facts in document["indicators"].items()
    ]
    return table(
        [
            "frames",
            "views differ, %",
            "correlation, s",
            "inflation",
            "rejected, %",
            "correlation, s",
            "inflation",
        ],
        rows,
    )


def _false_alarms(document: Mapping[str, Any]) -> list[str]:
    found, plain = document["false_alarms"], document["uncorrected"]
    rows = [
        [
            f"{1 / rate['stated']:.3g}",
            f"{rate['stated']:.3g}",
            _interval(rate),
            rate["alarms"],
            rate["streams"],
            _interval(other),
        ]
        for rate, other in zip(found["rates"], plain["rates"], strict=True)
    ]
    return [
        f"{found['streams']} streams of a day each, every one with a baseline of its own, learned "
        f"in {found['learned_s']:.0f} s on average. Upper bounds of the baselines "
        f"{_percent(found['high'][0])} and {_percent(found['high'][1])} %, inflation "
        f"{found['inflation'][0]:.1f} and {found['inflation'][1]:.1f}, on average.",
        "",
        f"Beside it, on {plain['streams']} streams, the same CUSUMs if the learned rates are taken "
        "for true and frames for independent.",
        "",
        table(
            [
                "set for one in days",
                "stated per day",
                "measured (95 %)",
                "alarms",
                "streams",
                "a CUSUM without corrections",
            ],
            rows,
        ),
    ]


def _detection(document: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            row["disturbance"],
            f"{row['fraction']:g}",
            _percent(row["rates"][0]),
            _percent(row["rates"][1]),
            _percent(row["alarmed"]),
            _seconds(row["p50_s"]),
            _seconds(row["p90_s"]),
            _seconds(row["cleared_p50_s"]),
            _seconds(row["cleared_p90_s"]),
        ]
        for row in document["detection"]
    ]
    first = document["detection"][0]
    return [
        f"{first['streams']} streams each, disturbed for {first['within_s'] / 60:.0f} minutes. "
        "Delays run from the first disturbed frame, and count streams that were not noticed as "
        "never; all-clears from the last one, of alarms that were on then.",
        "",
        table(
            [
                "disturbance",
                "of frames",
                "views differ, %",
                "rejected, %",
                "alarmed, %",
                "delay p50, s",
                "p90, s",
                "cleared p50, s",
                "p90, s",
            ],
            rows,
        ),
    ]


def _chains(document: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{100 * row['rate']:g}",
            f"{row['correlation_s']:g}",
            f"{row['drift']:g}",
            f"{row['hold_s']:g}",
            f"{row['adapt_s']:g}" if row["adapt_s"] else "never",
            f"{row['learned_s']:.0f}",
            *(_interval(rate) for rate in row["rates"]),
            f"{row['rates'][-1]['streams']}",
        ]
        for row in document["chains"]
    ]
    stated = document["chains"][0]["rates"]
    return [
        f"{document['chains'][0]['streams']} streams of a day each. Views differ at the given "
        "rate, and a fifth as many frames are rejected, both as two-state Markov chains. Drift "
        "multiplies the odds by up to that factor by day and divides them by it at night; learning "
        "begins half-way between.",
        "",
        table(
            [
                "rate, %",
                "correlation, s",
                "drift",
                "hold_s",
                "adapt_s",
                "learned, s",
                *(f"per day, set for {rate['stated']:.3g}" for rate in stated),
                "streams with any",
            ],
            rows,
        ),
    ]


def _interval(rate: Mapping[str, Any]) -> str:
    return f"{_number(rate['measured'])} ({_number(rate['low'])} to {_number(rate['high'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "never"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
