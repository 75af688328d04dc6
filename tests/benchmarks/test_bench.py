"""`blurvote bench` as a user runs it: what it measures, leaves behind and says."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks import results as results_module
from blurvote.benchmarks.latency import cli as bench_cli
from blurvote.benchmarks.latency import session, tune
from blurvote.benchmarks.latency.report_tables import STAGES
from blurvote.benchmarks.latency.sections import (
    boxes,
    cameras,
    cascade,
    compute,
    formats,
    sizes,
    start,
    views,
)
from blurvote.benchmarks.results import Results
from blurvote.runtime import Guard, GuardError, SourceError, cli
from blurvote.runtime.demo import guard_path
from blurvote.runtime.frame import check_frame
from tests.runtime.adaptive import ADAPTIVE, write_adaptive_guard

SECTIONS = set(session.SECTIONS)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same run in seconds, its settings kept away from the user's."""
    make_short(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_cli.EFFORTS, "quick", 0.01)
    monkeypatch.setattr(sizes, "SIZES", ((96, 128), (192, 256), (384, 512)))
    monkeypatch.setattr(cameras, "CAMERAS", (1, 2))
    monkeypatch.setattr(boxes, "BOXES", 300)
    monkeypatch.setattr(cascade, "NOISE", (0.0, 1.0))
    monkeypatch.setattr(cascade, "NOISE_DENOISED", (0.0, 0.25))
    monkeypatch.setattr(start, "VERDICTS", 2)
    monkeypatch.setattr(views, "LARGE", (384, 512))
    monkeypatch.setattr(views, "USUAL", (384, 512))
    monkeypatch.setattr(compute, "SIDE", 256)
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")


def bench(*arguments: object) -> int:
    return cli.main(["bench", "--effort", "quick", "--frame-size", "96x128", *map(str, arguments)])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run of everything but the scenarios, on the guard that ships."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        make_short(patch)
        assert bench("-o", folder, "--against", "opencv-ort") == 0
    return folder


def test_every_section_is_there(ran: Path) -> None:
    found = Results.load(ran)
    assert found.complete
    with_rows = {row.section for row in found.rows}
    assert with_rows == {
        "verdict",
        "tail",
        "cascade",
        "cameras",
        "sizes",
        "threads",
        "providers",
        "views",
        "formats",
        "noise",
    }
    facts = {"growth", "planning", "boxes", "vote", "compute", "start", "cascade"}
    assert facts <= set(found.facts)
    assert {row.key for row in found.rows if row.section == "verdict"} >= {
        ("verdict", "128x96", way)
        for way in (
            "undefended",
            "3 views, one by one",
            "batched",
            "cascade, views agree",
            "auto",
        )
    }
    assert any(row.detail.get("peer") == "opencv-ort" for row in found.rows)
    assert len({row.key for row in found.rows}) == len(found.rows)
    assert (ran / "report.md").stat().st_size > 1000
    assert list(ran.glob("*.png"))


def test_the_stages_of_a_verdict_add_up_to_it(ran: Path) -> None:
    rows = [row for row in Results.load(ran).section("verdict") if "stage_ms" in row.detail]
    assert len(rows) >= 3
    for row in rows:
        stages = row.detail["stage_ms"]
        assert set(stages) == set(STAGES)
        assert stages["denoise"] == 0  # the guard that ships has no denoiser
        # Medians of the parts and of the whole, over all calls and the counted ones.
        assert 1 / 3 < sum(stages.values()) / row.timing.median < 3


def test_what_identifies_a_run_is_recorded(ran: Path) -> None:
    found = Results.load(ran)
    guard = found.guards[0]
    assert guard["path"] == guard_path("views").name
    assert len(guard["sha256"]) == 64
    assert found.facts["session"]["provider"] == "cpu"
    assert found.facts["session"]["provider_options"].keys() == {"CPUExecutionProvider"}
    assert set(found.facts["load"]) == {"start", "end"}
    assert found.machine["versions"]["onnxruntime"]
    assert found.method["max_windows"] >= 3


def test_the_noise_estimate_is_timed_beside_the_views_alone(ran: Path) -> None:
    found = Results.load(ran)
    rows = {row.way: row for row in found.section("noise") if row.case == "128x96, nv12"}
    assert set(rows) == {"views", "views and noise", "views, again"}
    assert all(row.baseline == "views" and row.ratio is not None for row in rows.values())
    report = (ran / "report.md").read_text()
    assert "128x96, nv12" in report.split("The noise estimate")[1]


def test_formats_are_timed_and_compared_with_opencvs_conversion(ran: Path) -> None:
    found = Results.load(ran)
    rows = [row for row in found.section("formats") if row.case == "128x96, 1 thread"]
    ways = {"rgb, nothing to convert"}
    for colour in formats.FORMATS:
        ways |= {colour, f"{colour}, OpenCV's conversion first"}
    assert {row.way for row in rows} == ways
    apart = found.facts["formats"]["128x96"]
    for colour in formats.FORMATS:
        assert 0 <= apart[colour]["mean_levels"] < 1.5
        assert apart[colour]["mean_levels"] <= apart[colour]["largest_levels"]
        assert 0 <= apart[colour]["clipped"] <= 1
    assert apart["gray"]["largest_levels"] == 0
    assert "OpenCV's RGB, in levels" in (ran / "report.md").read_text()


def test_encoded_frames_are_what_their_format_says() -> None:
    rgb = np.random.default_rng(0).integers(80, 170, (33, 47, 3), np.uint8)
    for colour in formats.FORMATS:
        frame = formats.encode(rgb, colour)
        check_frame(frame)
        assert (frame.height, frame.width) == (32, 46)
        assert frame.colour == colour
    flat = np.full((8, 8, 3), (200, 60, 90), np.uint8)
    for colour in ("nv12", "yuyv"):
        assert np.abs(formats.encode(flat, colour).as_rgb().astype(int) - flat).max() <= 3


def test_growth_and_limits(ran: Path) -> None:
    facts = Results.load(ran).facts
    pixels = facts["growth"]["pixels"]
    assert [point[0] for point in pixels["points"]] == [96 * 128, 192 * 256, 384 * 512]
    assert pixels["slope"] == pytest.approx(views.slope(pixels["points"]))
    compute = facts["compute"]
    assert 0 < compute["share_of_fp32_peak"]["one view"] < 2
    assert set(compute["not_backbone"]) == {"128x96"}
    first = facts["start"]["batched"]
    assert first["peak_memory_mib"] > 20
    alone, whole = (
        facts["start"][name]["import_ms"]
        for name in ("numpy, onnxruntime", "numpy, onnxruntime, blurvote.runtime")
    )
    assert facts["start"]["import_adds_ms"] == pytest.approx(whole - alone)


def test_boxes_of_thousands_of_sizes_have_no_slow_path(ran: Path) -> None:
    facts = Results.load(ran).facts["boxes"]
    assert facts["sizes"] > 250
    assert 0 < facts["planning_ms"]["p50"] < facts["views_in_place_ms"]["p50"]
    assert facts["planning_ms"]["p90"] < 20 * facts["planning_ms"]["p50"]


def test_the_cascade_is_split_by_agreement(ran: Path) -> None:
    for case in Results.load(ran).facts["cascade"].values():
        parts = [case[name] for name in ("agree", "differ") if case[name]]
        assert sum(part["images"] for part in parts) == case["images"]
        agree = case["agree"]["images"] if case["agree"] else 0
        assert case["agreement_rate"] == pytest.approx(agree / case["images"])
        mean, times = case["mean_ms"], case["mean_times_undefended"]
        assert times["cascade"] == pytest.approx(mean["cascade"] / mean["undefended"])
        total = sum(part["images"] * part["mean_ms"] for part in parts)
        assert mean["cascade"] == pytest.approx(total / case["images"])


def test_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--sections", "vote", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == results_module.SCHEMA
    assert set(document["facts"]["vote"]["median_us"]) >= {"C++, float32", "from Python"}


def test_ctrl_c_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(bench: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(session.SECTIONS, "threads", interrupted)
    assert bench("--sections", "vote,threads,start", "-o", tmp_path) == 130
    found = Results.load(tmp_path)
    assert not found.complete
    assert "vote" in found.facts
    assert "start" not in found.facts
    assert found.skipped[-1]["section"] == "threads"
    assert (tmp_path / "report.md").exists()
    assert "interrupted; what was measured is kept" in capsys.readouterr().err


def test_a_section_that_fails_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(bench: Any) -> None:
        raise GuardError("out of memory")

    monkeypatch.setitem(session.SECTIONS, "threads", fails)
    assert bench("--sections", "threads,vote", "-o", tmp_path) == 1
    found = Results.load(tmp_path)
    assert "vote" in found.facts
    assert found.skipped == [
        {"section": "threads", "what": "the rest of the section", "reason": "out of memory"}
    ]
    assert "threads failed: out of memory" in capsys.readouterr().err


def test_a_full_disk_keeps_the_last_results_and_prints_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, written = results_module.write_whole, []

    def fill(path: Path, data: str) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, data)

    monkeypatch.setattr(results_module, "write_whole", fill)
    assert bench("--sections", "vote,verdict", "-o", tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].endswith(
        "results.json cannot be written: No space left on device"
    )
    assert "undefended" in printed.out
    assert "vote" in Results.load(tmp_path).facts
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


WRONG: dict[str, tuple[tuple[object, ...], str]] = {
    "section": (("--sections", "speed"), "--sections speed: expected some of verdict, tail"),
    "peer": (("--against", "tflite"), "--against tflite: expected some of blog, torch"),
    "scenario": (("--scenarios", "batch"), "--scenarios batch: expected some of single-stream"),
    "provider": (("--provider", "cuda"), "provider 'cuda' was asked for"),
    "images": (("--images", "/nowhere"), "/nowhere"),
    "missing guard": (("missing.onnx",), "missing.onnx is not a file"),
    "compare": (("compare", "a.json"), "takes two results.json, before and after; got 1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_mistakes_are_one_line(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, text = WRONG[wrong]
    assert bench(*arguments) == 2
    printed = capsys.readouterr()
    assert text in printed.err.splitlines()[-1]
    assert "Traceback" not in printed.err


def test_a_missing_peer_is_an_error_by_name_and_a_note_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(family: str, *_: object) -> list[Any]:
        raise GuardError(f"{family} is not here")

    monkeypatch.setattr(session.peers, "load", load)
    assert bench("--sections", "vote", "--against", "openvino") == 2
    assert "openvino is not here" in capsys.readouterr().err
    assert bench("--sections", "vote", "--against", "all", "-o", tmp_path) == 0
    assert {entry["what"] for entry in Results.load(tmp_path).skipped} == set(
        session.peers.FAMILIES
    )


def test_a_frames_guard_is_measured_as_far_as_it_goes(tmp_path: Path) -> None:
    guard = guard_path("frames")
    assert bench(guard, "--sections", "verdict,cascade,views", "-o", tmp_path) == 0
    found = Results.load(tmp_path)
    assert [row.way for row in found.section("verdict")] == ["batched"]
    reasons = {entry["what"]: entry["reason"] for entry in found.skipped}
    assert "no clean view that can be run alone" in reasons["undefended"]
    assert "always runs all views" in reasons["cascade"]


@pytest.mark.parametrize("decision", ["majority", "mean", "single"])
def test_a_denoiser_is_paid_for_by_noisy_frames(decision: Any, tmp_path: Path) -> None:
    fields: dict[str, Any] = (
        {"threshold": 0.1, "noisy_threshold": 0.1} if decision == "mean" else {}
    )
    defense = replace(ADAPTIVE, decision=decision, **fields)
    guard = write_adaptive_guard(tmp_path / "guard.onnx", defense)
    assert bench(guard, "--sections", "verdict,cascade", "-o", tmp_path / "out") == 0
    found = Results.load(tmp_path / "out").facts["cascade"]
    assert found["clean"]["denoised_rate"] < found["noise 0.25"]["denoised_rate"] == 1
    ways = {"undefended", "batched"} | ({"cascade"} if decision == "majority" else set())
    assert set(found["noise 0.25"]["mean_times_undefended"]) == ways
    report = (tmp_path / "out" / "report.md").read_text()
    assert "100.0% are denoised." in report
    # One view has none to agree with.
    assert ("agreement_rate" in found["clean"]) == (decision != "single")
    assert ("the first two views agree" in report) == (decision != "single")


@pytest.mark.parametrize("harness", ["built-in", "loadgen"])
def test_scenarios(harness: str, tmp_path: Path) -> None:
    if harness == "loadgen":
        pytest.importorskip("mlperf_loadgen", reason="LoadGen's wheel is x86-64 only")
    options = ("--scenario-seconds", "0.3", "--harness", harness, "-o", tmp_path)
    assert bench("--sections", "vote", "--scenarios", "single-stream,offline", *options) == 0
    found = Results.load(tmp_path).facts["scenarios"]
    assert [(one["scenario"], one["harness"], one["valid"]) for one in found] == [
        ("SingleStream", harness, True),
        ("Offline", harness, True),
    ]
    assert all("unverified" in one["verification"] for one in found)
    assert found[0]["latency_ms"]["p90"] > 0
    if harness == "loadgen":
        summary = tmp_path / "loadgen" / "singlestream" / "mlperf_log_summary.txt"
        assert "Result is : VALID" in summary.read_text()


def test_tune_finds_settings_that_a_guard_takes(
    make_guard: Callable[..., Path],
    red_frame: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    guard = make_guard()
    assert bench("--tune", guard, "--budget", "1", "-o", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "use: guard.onnx: cpu, " in printed
    chosen = Results.load(tmp_path).facts["tuning"]["chosen"]
    with Guard.tuned(guard) as tuned:
        assert (tuned.plan, tuned.threads) == (chosen["plan"], chosen["threads"])
        assert tuned.classify(red_frame).name == "red"


def test_two_files_of_one_name_are_refused(
    tmp_path: Path, make_guard: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    guard = make_guard()
    other = tmp_path / "int8" / guard.name
    other.parent.mkdir()
    other.write_bytes(guard.read_bytes())
    assert bench(guard, other, "--sections", "vote") == 2
    assert "two files have the same name" in capsys.readouterr().err


def test_peers_are_not_compared_with_a_guard_on_a_gpu() -> None:
    skipped: list[str] = []
    on_gpu: Any = SimpleNamespace(provider="cuda", skip=lambda *words: skipped.append(words[-1]))
    assert session._peers(on_gpu, ("all",)) == []
    assert "the peers run on the CPU and the guard on cuda" in skipped[0]
    with pytest.raises(SourceError, match="add --provider cpu"):
        session._peers(on_gpu, ("torch",))


@pytest.mark.parametrize(
    ("requested", "openvino", "tried"),
    [
        ("auto", "2026.4.1", {"cpu", "cuda", "openvino"}),
        ("auto", None, {"cpu", "cuda"}),
        ("cuda", "2026.4.1", {"cuda"}),
    ],
)
def test_tune_sweeps_the_providers_that_are_there(
    requested: str, openvino: str | None, tried: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    fake = SimpleNamespace(get_available_providers=lambda: names)
    monkeypatch.setattr(tune, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(tune, "openvino_version", lambda: openvino)
    skipped: list[Any] = []
    machine: Any = SimpleNamespace(
        requested=requested,
        threads=None,
        plans=("batched", "cascade"),
        guard=Path("guard.onnx"),
        others=(),
        skip=lambda *words: skipped.append(words),
    )
    assert {setting.provider for setting in tune._settings(machine)} == tried
    assert bool(skipped) == (requested == "auto")  # TensorRT builds for minutes
