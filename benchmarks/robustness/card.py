"""The robustness card of a guard: what it defends against and what it does not, in plain words.

Written from `evaluate.json` and `attack.json` in the guard's results folder, whichever are there,
whenever one of them is measured anew. Three lines say what it is worth, by the rules of
`card_summary`; the figures behind them follow, and what was not measured is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.card_figure import draw_card
from blurvote.benchmarks.robustness.card_summary import (
    attack_rows,
    attack_verdict,
    noise_verdict,
    summary,
)
from blurvote.benchmarks.robustness.degradations import NAMES
from blurvote.benchmarks.robustness.outputs import read_json, write_text

__all__ = ["card_text", "write_card"]

EVALUATE = "blurvote.evaluate/1"
ATTACK = "blurvote.attack/1"
_FAULTS_SHOWN = 3  # the severity, of five, that the card quotes
_RULES = (
    "Defends: better than the undefended model's own confidence at the same coverage, beyond "
    "chance (95 %), and an attack fools less than a quarter of what the guard got right before; "
    "under noise, more than half of the accepted frames are right. Does not defend: an attack "
    "fools more than a quarter beyond chance, or the defence is worse than confidence. "
    "Fooled: wrong and accepted. Brackets hold 95 % intervals."
)


def write_card(folder: Path) -> None:
    """Writes `card.md` and `card.png` into a guard's results folder.

    Raises:
        SourceError: results there cannot be read.
        SinkError: a file cannot be written.
        ProviderError: matplotlib is missing.
    """
    evaluated = read_json(folder / "evaluate.json", EVALUATE)
    attacked = read_json(folder / "attack.json", ATTACK)
    known = [document for document in (evaluated, attacked) if document]
    if not known:
        return
    hashes = {document["guard"]["sha256"] for document in known}
    if len(hashes) > 1:  # a guard was exported anew under its old name: the newer results count
        newest = max(("evaluate.json", "attack.json"), key=lambda n: (folder / n).stat().st_mtime)
        evaluated = evaluated if newest == "evaluate.json" else None
        attacked = attacked if newest == "attack.json" else None
    write_text(folder / "card.md", card_text(evaluated, attacked))
    draw_card(folder / "card.png", evaluated, attacked)


def card_text(evaluated: Mapping[str, Any] | None, attacked: Mapping[str, Any] | None) -> str:
    """The card in Markdown; at least one of the two documents is given."""
    document = evaluated or attacked
    assert document is not None
    guard, defense = document["guard"], document["guard"]["defense"]
    images = [d["rows"][0]["images"] for d in (evaluated, attacked) if d]
    lines = [
        f"# Robustness card: {guard['file']}",
        "",
        *summary(evaluated, attacked),
        "",
        f"Measured on {' and '.join(str(n) for n in dict.fromkeys(images))} pictures of "
        f"{document['dataset']['name']}; frames of your camera will differ. {_RULES}",
        "",
        "![Right, rejected and wrong frames](card.png)",
        "",
    ]
    lines += _noise(evaluated) if evaluated else _unknown("Noise", "blurvote evaluate")
    lines += _attacks(attacked) if attacked else _unknown("Attacks", "blurvote attack")
    lines += [
        "## The guard",
        "",
        f"{guard['classes']} classes, source {guard['source'] or 'not stated'}. Views: "
        f"{', '.join(map(str, defense['passes']))} passes of a {defense['kernel_size']}-tap "
        f"Gaussian of sigma {defense['sigma']:g}{_noisy(defense)}; decision: "
        f"{defense['decision']}. "
        f"SHA-256 {guard['sha256'][:16]}.",
    ]
    return "\n".join(lines) + "\n"


def _noisy(defense: Mapping[str, Any]) -> str:
    names = defense.get("noisy_views")  # absent where all frames have the same views
    return f", of noisy frames {', '.join(names)}" if names else ""


def _unknown(what: str, command: str) -> list[str]:
    return [f"## {what}", "", f"Unknown: `{command}` has not been run on this guard.", ""]


def _noise(document: Mapping[str, Any]) -> list[str]:
    cells = []
    for row in document["rows"]:
        name, _, level = row["degradation"].partition(":")
        if row["variant"] != "own" or name not in NAMES:
            continue
        if name != "gaussian" and int(float(level)) != _FAULTS_SHOWN:
            continue
        if name == "gaussian":
            title = f"noise of sigma {level}" if float(level) else "clean pictures"
        else:
            title = f"{name}, severity {level} of 5"
        shares = (row["own_accepted"], row["own_rejected"])
        gain = row["own_gain"]["value"]
        compared = [
            _percent(row["own_confidence"]),
            "-" if gain is None else f"{100 * gain:+.1f}",
        ]
        verdict = noise_verdict(row)
        cells.append([title, *map(_percent, shares), *compared, _word(verdict, title)])
    headers = ["frames", "accepted: right", "rejected", "by confidence: right", "gain", "verdict"]
    return ["## Noise and other faults of the sensor, per cent", "", table(headers, cells), ""]


def _word(verdict: str, title: str) -> str:
    """The reference is no fault to defend against; there a difference is the defence's price."""
    if title == "clean pictures":
        words = {"defends": "better", "does not defend": "worse"}
        return words.get(verdict, "no clear difference")
    return {"unknown": "not decided"}.get(verdict, verdict)


def _attacks(document: Mapping[str, Any]) -> list[str]:
    lines = ["## Attacks, per cent of pictures", ""]
    cells = []
    clean = [row for row in document["rows"] if row["case"] == "none"]
    for name, row in attack_rows(document):
        none = row["attack"] == "none"
        shares = ("fooled", "right", "rejected", "confidence_fooled", "fooled_of_correct")
        steps = f", {row['steps']} steps" if row["steps"] > 1 else ""
        cells.append(
            [
                name + steps,
                *(_percent(row[share]) for share in shares),
                "-" if none else _word(attack_verdict(row), ""),
            ]
        )
    headers = ["strongest attack", "fooled", "right", "rejected", "undefended fooled"]
    lines += [table([*headers, "fooled of right before", "verdict"], cells), ""]
    lines.append(
        "The strongest of each threat model, radius and noise; `attack.md` has all. 'Undefended "
        "fooled' is the model without the defence, accepting as many of the same frames by its own "
        "confidence; adaptive frames aim at the guard, so its own worst case is the grey-box row."
    )
    if clean:
        lines.append(
            f"Price on clean pictures: of those that the undefended model gets right, "
            f"{_percent(clean[0]['false_rejects'])} % are rejected."
        )
    if document["twin"]["quantised"]:
        lines.append(
            f"The guard computes in integers and was attacked through its fp32 twin "
            f"{document['twin']['file']}; an attacker of the integer model itself may do better."
        )
    lines += ["", *(f"- Caution, {warning}" for warning in document["warnings"])]
    return [*lines, ""] if document["warnings"] else lines


def _percent(share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return "-"
    return f"{100 * share['value']:.1f} ({100 * share['low']:.0f} to {100 * share['high']:.0f})"
