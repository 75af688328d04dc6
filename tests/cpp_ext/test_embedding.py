"""The example host in C++, built from an installed package: the same verdicts as Python's Guard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Guard, GuardMetadata, Verdict
from blurvote.runtime.demo import guard_path
from blurvote.runtime.demo.scenes import draw_clip
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.metadata import DenoiserEntry

ROOT = Path(__file__).resolve().parents[2]
CONSUMER = Path(__file__).resolve().parent / "consumer"
HEADERS = (
    Path(os.environ.get("BLURVOTE_ONNXRUNTIME_INCLUDE", "/nowhere")),
    ROOT / ".build-cpp/onnxruntime/usr/include/onnxruntime",
    Path("/usr/include/onnxruntime"),
)


@pytest.fixture(scope="session")
def onnxruntime_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime for C++: its headers from Debian, its library from the wheel."""
    onnxruntime = pytest.importorskip("onnxruntime")
    found = [folder for folder in HEADERS if (folder / "onnxruntime_cxx_api.h").exists()]
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not found or not libraries:
        pytest.skip(
            "needs ONNX Runtime's C++ headers and library; for the headers: "
            "cpp_ext/examples/onnxruntime-headers.sh .build-cpp/onnxruntime"
        )
    root = tmp_path_factory.mktemp("onnxruntime")
    (root / "include").symlink_to(found[0])
    (root / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # to link by, and to load by
        (root / "lib" / name).symlink_to(libraries[-1])
    return root


@pytest.fixture(scope="session")
def classify(
    onnxruntime_root: Path, request: pytest.FixtureRequest, cpp: Path, sh: Callable[..., str]
) -> Path:
    """The example program."""
    prefix, build = request.getfixturevalue("prefix"), onnxruntime_root / "build"
    sh(
        *("cmake", "-S", cpp / "examples", "-B", build, "-G", "Ninja"),
        *(f"-DCMAKE_PREFIX_PATH={prefix}", f"-DONNXRUNTIME_ROOT={onnxruntime_root}"),
    )
    sh("cmake", "--build", build)
    return build / "classify_onnxruntime"


def test_threads_of_a_session_stop_spinning_after_each_run(
    onnxruntime_root: Path,
    request: pytest.FixtureRequest,
    cpp: Path,
    sanitize: list[str],
    sh: Callable[..., str],
    tmp_path: Path,
) -> None:
    # With a guard's denoiser there are two sessions, and the view kernel needs the cores, too.
    prefix = request.getfixturevalue("prefix")
    program, lib = tmp_path / "options", onnxruntime_root / "lib"
    folders = (onnxruntime_root / "include", prefix / "include", cpp / "examples")
    sh(
        *("c++", "-std=c++17", *sanitize, *(f"-I{folder}" for folder in folders)),
        *(CONSUMER / "session_options.cpp", next(prefix.rglob("libblurvote_kernels.a"))),
        *(f"-L{lib}", f"-Wl,-rpath,{lib}", "-lonnxruntime", "-pthread", "-o", program),
    )
    assert sh(program) == "1\n"


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """RGB frames of the demo's clip, ever noisier, so that some are rejected; and odd sizes."""
    noise = np.random.default_rng(0)
    clip = [sample.pixels for sample in draw_clip(seed=3)][::12]
    made = []
    for k, pixels in enumerate(clip):
        noisy = pixels + noise.normal(0, 90 * k / len(clip), pixels.shape)
        cut = pixels.shape[0] - k % 7, pixels.shape[1] - k % 5
        made.append(noisy.clip(0, 255).astype(np.uint8)[: cut[0], : cut[1]])
    return made


def ppm(frame: np.ndarray) -> bytes:
    return b"P6\n# drawn\n%d %d\n255\n" % (frame.shape[1], frame.shape[0]) + frame.tobytes()


def lines(
    classify: Path, *arguments: object, stdin: bytes = b"", guard: Path | None = None
) -> list[list[str]]:
    command = [str(classify), str(guard or guard_path("views")), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""  # the sanitizers, too, are content
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


def assert_same(line: list[str], verdict: Verdict) -> None:
    _, label, name, confidence, votes = line
    assert (int(label), name) == (verdict.label, verdict.name or verdict.reason)
    ran = [view for view in verdict.view_labels if view is not None]
    assert [int(vote) for vote in votes.split(",")] == ran
    if verdict.confidence is None:
        assert confidence == "-"
    else:
        # Six digits are printed; the same library computes both, with as many threads.
        assert float(confidence) == pytest.approx(verdict.confidence, abs=2e-6)


@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_the_same_verdicts_as_python(
    classify: Path, frames: list[np.ndarray], plan: str, tmp_path: Path
) -> None:
    stream = b"".join(map(ppm, frames))
    first, rest = tmp_path / "first.ppm", b"".join(map(ppm, frames[1:]))
    first.write_bytes(ppm(frames[0]))
    printed = lines(classify, "--plan", plan, stdin=stream)
    assert lines(classify, "--plan", plan, first, "-", stdin=rest) == printed
    with Guard(guard_path("views"), "cpu", plan=plan, threads=1) as guard:  # type: ignore[arg-type]
        verdicts = [guard.classify(frame) for frame in frames]
    assert [line[0] for line in printed] == [str(k) for k in range(len(frames))]
    for line, verdict in zip(printed, verdicts, strict=True):
        assert_same(line, verdict)
    reasons = {verdict.reason for verdict in verdicts}
    assert reasons >= {None, "no_majority"}  # else the clip shows too little
    if plan == "cascade":
        assert {line[4].count(",") + 1 for line in printed} == {2, 3}


def toy_denoiser() -> bytes:
    """Two views per image: the clean one blurred 5 x 5, and that darker by the noise level."""
    weights = np.full((3, 1, 5, 5), 1 / 25, np.float32)
    constants = {"weights": weights, "colours": np.array([0], np.int64)}
    constants |= {"three": np.array([3], np.int64), "four": np.array([4], np.int64)}
    constants |= {"one": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Slice", ["noisy", "colours", "three", "one"], ["clean"]),
        helper.make_node("Slice", ["noisy", "three", "four", "one"], ["level"]),
        helper.make_node("Conv", ["clean", "weights"], ["flat"], group=3, pads=[2] * 4),
        helper.make_node("Sub", ["flat", "level"], ["darker"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["first"]),
        helper.make_node("Unsqueeze", ["darker", "one"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["views"], axis=1),
    ]
    grid = list(GuardMetadata.from_map(read_metadata(guard_path("views")), "it").defense.crop)
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("noisy", TensorProto.FLOAT, ["B", 4, *grid])],
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 2, 3, *grid])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_noisy_frames_get_denoised_views_as_in_python(
    classify: Path, frames: list[np.ndarray], plan: str, tmp_path: Path
) -> None:
    metadata = GuardMetadata.from_map(read_metadata(guard_path("views")), "it")
    noisy_views = ("denoised", "double-blur", "70%-denoised")
    defense = replace(metadata.defense, noisy_views=noisy_views, noise_switch=(0.05, 0.08))
    entry = DenoiserEntry("toy", "0" * 64, toy_denoiser())
    model = onnx.load(str(guard_path("views")))
    del model.metadata_props[:]
    for key, value in replace(metadata, defense=defense, denoiser=entry).to_map().items():
        model.metadata_props.add(key=key, value=value)
    path = tmp_path / "adaptive.onnx"
    onnx.save(model, str(path))
    printed = lines(classify, "--plan", plan, stdin=b"".join(map(ppm, frames)), guard=path)
    with Guard(path, "cpu", plan=plan, threads=1) as guard:  # type: ignore[arg-type]
        verdicts = [guard.classify(frame) for frame in frames]
    for line, verdict in zip(printed, verdicts, strict=True):
        assert_same(line, verdict)
    assert {verdict.denoised for verdict in verdicts} == {False, True}


def test_raw_video(classify: Path, frames: list[np.ndarray]) -> None:
    height, width = 200, 300
    clip = [frame[:height, :width] for frame in frames]
    bgr = b"".join(frame[..., ::-1].tobytes() for frame in clip)
    printed = lines(classify, "--raw", f"{width}x{height}:bgr24", stdin=bgr)
    with Guard(guard_path("views"), "cpu", plan="batched", threads=1) as guard:
        for line, frame in zip(printed, clip, strict=True):
            assert_same(line, guard.classify(frame))


def test_raw_video_of_cameras(classify: Path, frames: list[np.ndarray]) -> None:
    height, width = 200, 300
    # Without much noise: OpenCV clips each pixel that is beyond R, G, B, and the kernel none.
    clip = [frame[:height, :width] for frame in frames[: len(frames) // 4]]
    # OpenCV has no conversion to NV12, but to planar YUV, whose chroma planes are interleaved here.
    planes = [cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).ravel() for frame in clip]
    luma = height * width
    nv12 = [np.concatenate([p[:luma], p[luma:].reshape(2, -1).T.ravel()]) for p in planes]
    stream = b"".join(frame.tobytes() for frame in nv12)
    printed = lines(classify, "--raw", f"{width}x{height}:nv12", stdin=stream)
    with Guard(guard_path("views"), "cpu", plan="batched", threads=1) as guard:
        for line, frame in zip(printed, nv12, strict=True):
            rgb = cv2.cvtColor(frame.reshape(-1, width), cv2.COLOR_YUV2RGB_NV12)
            verdict = guard.classify(rgb)
            assert int(line[1]) == verdict.label
            assert float(line[3]) == pytest.approx(verdict.confidence, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], b"P6\n4 4\n255\nabc", "-, frame 0: a frame is cut short: 3 of 48 bytes"),
        ([], b"\xff\xd8\xff", "neither a PPM (P6) nor a PGM (P5) picture"),
        ([], b"P6\n4 4\n65535\n", "expected a picture of 8 bits per value"),
        ([], b"P6\n4 x\n255\n", "a picture's header is broken"),
        (["--raw", "4x4"], b"", "expected WIDTHxHEIGHT:PIXELS with rgb24, bgr24, gray, nv12"),
        (["--raw", "5x4:nv12"], b"", "raw video of nv12 has even sides"),
        (["--plan", "auto"], b"", "--plan is batched or cascade"),
        (["--threads", "0"], b"", "--threads is a number from 1 on"),
        (["--sigma", "1"], b"", "unknown option --sigma"),
        (["absent.ppm"], b"", "cannot read absent.ppm"),
    ],
)
def test_mistakes_get_one_clear_line(
    classify: Path, arguments: list[str], stdin: bytes, said: str
) -> None:
    command = [str(classify), str(guard_path("views")), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("classify: ")
    assert said in done.stderr.decode()


def test_a_guard_of_frames_and_no_guard_are_refused(classify: Path, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        done = subprocess.run([str(classify), str(path)], capture_output=True)
        assert done.returncode == 2
        return done.stderr.decode()

    assert "kind 'frames'; expected 'views'" in refused(guard_path("frames"))
    assert "absent.onnx" in refused(tmp_path / "absent.onnx")
