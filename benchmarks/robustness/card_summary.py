"""What a guard defends against, by fixed rules from its measured figures.

Attacks are judged by the strongest of each threat model, radius and noise under them, on the
pictures that the guard got right before; noise and faults by the frames it accepts. The vote is
compared with the undefended model, which accepts as many frames by its own confidence.

- Defends: the vote is better beyond chance (95 %), and most is left: an attack fools less than a
  quarter (its interval's upper end), or more than half of the accepted frames are right.
- Does not defend: an attack fools more than a quarter (its interval's lower end); or the vote is
  worse than confidence beyond chance; or it is better, and half of the accepted frames are wrong.
- Harmless: an attack that fools less than a quarter with the defence and without. Not listed.
- Unknown: the rest, which is what these pictures cannot decide, and what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from blurvote.benchmarks.robustness.attack.cases import SWITCH
from blurvote.benchmarks.robustness.attack.choice import strongest
from blurvote.benchmarks.robustness.degradations import NAMES

__all__ = [
    "Verdict",
    "attack_rows",
    "attack_verdict",
    "noise_verdict",
    "strongest_attacks",
    "summary",
]

Verdict = Literal["defends", "does not defend", "harmless", "unknown"]
Row = Mapping[str, Any]

LEFT = 0.25  # of the pictures: an attack that fools less is withstood, one that fools more is not
CHANCE = 0.05
_FAULTS = ("shot", "impulse", "speckle", "jpeg", "low-light", "defocus", "motion")
_GRAVEST = ("adaptive", "black-box", "transfer", "grey-box", "control")


@dataclass(frozen=True)
class _Finding:
    what: str
    verdict: Verdict
    figures: str


def attack_rows(document: Mapping[str, Any]) -> list[tuple[str, Row]]:
    """The rows that the card shows, by name: the pictures without an attack, then the strongest.

    Those on noise come after the pictures under that noise, without which they say nothing.
    """
    untouched = [row for row in document["rows"] if row["attack"] == "none"]
    rows = sorted([*untouched, *strongest_attacks(document)], key=_noise_under)
    return [
        (
            "no attack" + row["case"].removeprefix("none")
            if row["attack"] == "none"
            else row["case"],
            row,
        )
        for row in rows
    ]


def strongest_attacks(document: Mapping[str, Any]) -> list[Row]:
    """The strongest attack of each threat model, radius and noise, without untouched pictures."""
    rows = [row for row in document["rows"] if row["attack"] != "none"]
    return strongest(
        rows,
        lambda row: (row["threat"], row["radius"], _noise_under(row)),
        # The share of all pictures decides among those equal on the pictures right before.
        lambda row: (_fooled(row)["value"] or 0.0) + 1e-6 * row["fooled"]["value"],
    )


def attack_verdict(row: Row) -> Verdict:
    """By the rules above, from a row of `attack.json`."""
    fooled, versus = _fooled(row), row["versus"]
    if fooled["value"] is None:  # the guard got nothing right before
        return "unknown"
    beyond_chance = versus["p_value"] < CHANCE
    if fooled["low"] > LEFT or (beyond_chance and versus["lost"] > versus["spared"]):
        return "does not defend"
    if fooled["high"] >= LEFT:
        return "unknown"
    if beyond_chance:
        return "defends"
    return "harmless" if row["confidence_fooled"]["high"] < LEFT else "unknown"


def noise_verdict(row: Row) -> Verdict:
    """By the rules above, from a row of `evaluate.json`: of the guard's own decision."""
    gain, accepted = row["own_gain"], row["own_accepted"]
    if gain["low"] is None or accepted["value"] is None:
        return "unknown"
    if gain["high"] < 0 or (gain["low"] > 0 and accepted["value"] <= 0.5):
        return "does not defend"
    return "defends" if gain["low"] > 0 else "unknown"


def summary(evaluated: Mapping[str, Any] | None, attacked: Mapping[str, Any] | None) -> list[str]:
    """Three lines of Markdown: what it defends against, what not, and what is unknown."""
    findings = [*_noise(evaluated), *_attacks(attacked)]
    lines = []
    for title, verdict, nothing in (
        ("Defends against", "defends", "nothing that was measured."),
        ("Does not defend against", "does not defend", "nothing that was measured and is clear."),
    ):
        listed = "; ".join(f"{f.what} ({f.figures})" for f in findings if f.verdict == verdict)
        lines.append(f"- **{title}:** {listed + '.' if listed else nothing}")
    unclear = [f.what for f in findings if f.verdict == "unknown"]
    parts = [f"not measured: {', '.join(_missing(evaluated, attacked))}"]
    parts += [f"measured, but these pictures do not decide it: {', '.join(unclear)}"] * bool(
        unclear
    )
    return [*lines, f"- **Unknown:** {'; '.join(parts)}."]


def _noise(document: Mapping[str, Any] | None) -> list[_Finding]:
    found: list[_Finding] = []
    if not document:
        return found
    for row in document["rows"]:
        name, _, level = row["degradation"].partition(":")
        if row["variant"] != "own" or (name == "gaussian" and not float(level)):
            continue
        if name not in NAMES:
            continue
        if name != "gaussian" and int(float(level)) != 3:
            continue
        what = f"noise of sigma {level}" if name == "gaussian" else f"{name} of severity {level}"
        figures = "nothing accepted"
        if row["own_accepted"]["value"] is not None:
            figures = (
                f"{_whole(row['own_accepted'])} of accepted frames right, by confidence "
                f"{_whole(row['own_confidence'])}"
            )
        found.append(_Finding(what, noise_verdict(row), figures))
    return found


def _attacks(document: Mapping[str, Any] | None) -> list[_Finding]:
    found: list[tuple[str, _Finding]] = []
    for row in strongest_attacks(document) if document else ():
        figures = f"fooled {_whole(row['fooled'])}, undefended {_whole(row['confidence_fooled'])}"
        name = row["case"] if row["epsilon"] else f"{row['case']}, without a bound"
        found.append((row["threat"], _Finding(name, attack_verdict(row), figures)))
    found.sort(key=lambda entry: _GRAVEST.index(entry[0]))
    return [finding for _, finding in found]


def _missing(evaluated: Mapping[str, Any] | None, attacked: Mapping[str, Any] | None) -> list[str]:
    degraded = [row["degradation"] for row in evaluated["rows"]] if evaluated else []
    faults = {name.partition(":")[0] for name in degraded if name != "gaussian:0"}
    threats = {row["threat"] for row in attacked["rows"]} if attacked else set()
    missing = ["noise"] if "gaussian" not in faults else []
    absent = [name for name in _FAULTS if name not in faults]
    missing += [f"faults of the sensor ({', '.join(absent)})"] if absent else []
    # An adaptive attack without a bound says how far one must go, not what a radius allows; one on
    # the noise switch goes a single way, where others are open.
    bounded = attacked and any(
        row["threat"] == "adaptive" and row["epsilon"] and row["attack"] not in SWITCH
        for row in attacked["rows"]
    )
    if not bounded:
        missing.append("an attacker who knows the defence (adaptive attack with a bound)")
    missing += [f"{name} attacks" for name in _GRAVEST[1:4] if name not in threats]
    return [*missing, "prints and patches", "frames that went through a video codec"]


def _noise_under(row: Row) -> float:
    return float(row.get("noise", 0.0))  # absent from results of earlier versions


def _fooled(row: Row) -> Mapping[str, Any]:
    found: Mapping[str, Any] = row["fooled_of_correct"]
    return found


def _whole(share: Mapping[str, Any]) -> str:
    return "-" if share["value"] is None else f"{100 * share['value']:.0f} %"
