"""A Jetson known by its files, laid out in a folder as boards in the field have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blurvote.runtime import jetson, jetson_health
from blurvote.runtime.cli import main
from blurvote.runtime.jetson import Jetson, read_jetson, wheel_advice
from blurvote.runtime.jetson_health import examine_jetson

# What the files hold on real boards, from public records of their owners: release lines and model
# names from benchmark and bug reports (GCID is NVIDIA's build number, 0 where the report left it
# out), compatible strings from the same and from Linux's devicetree/bindings/arm/tegra.yaml.
RELEASE = (
    "# R{}, BOARD: {}, EABI: aarch64\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)
BOARDS = {
    "orin nano": (
        RELEASE.format("36 (release), REVISION: 4.7, GCID: 42132812", "generic"),
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
        "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
        Jetson(
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "Orin Nano 8GB (developer kit)",
            "sm_87",
            "36.4.7",
        ),
        "6.2.1+",  # of fixes, between JetPack 6.2.1 and 6.2.2
    ),
    "orin nx": (
        RELEASE.format("39 (release), REVISION: 2.1, GCID: 0", "generic"),
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        "nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0",
        Jetson(
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
            "Orin NX 16GB",
            "sm_87",
            "39.2.1",
        ),
        "7.2.1",
    ),
    "agx orin": (
        RELEASE.format("36 (release), REVISION: 4.3, GCID: 38968081", "generic"),
        "NVIDIA Jetson AGX Orin Developer Kit\0",
        "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        Jetson("NVIDIA Jetson AGX Orin Developer Kit", "AGX Orin 64GB", "sm_87", "36.4.3"),
        "6.2",
    ),
    "xavier nx": (
        RELEASE.format("35 (release), REVISION: 4.1, GCID: 33958178", "t186ref"),
        "NVIDIA Jetson Xavier NX Developer Kit\0",
        "nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0",
        Jetson(
            "NVIDIA Jetson Xavier NX Developer Kit",
            "Xavier NX 8GB (developer kit)",
            "sm_72",
            "35.4.1",
        ),
        "5.1.2",
    ),
    "thor": (
        RELEASE.format("38 (release), REVISION: 2.2, GCID: 42205042", "generic"),
        "NVIDIA Jetson AGX Thor Developer Kit\0",
        "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
        Jetson("NVIDIA Jetson AGX Thor Developer Kit", "AGX Thor", "sm_110", "38.2.2"),
        "7.0+",
    ),
}


def write(root: Path, **files: str) -> None:
    """Files by their paths, in which `__` stands for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def board(root: Path, name: str) -> Path:
    release, model, compatible, _, _ = BOARDS[name]
    write(root, etc__nv_tegra_release=release)
    tree = root / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_text(model)
    (tree / "compatible").write_text(compatible)
    return root


@pytest.mark.parametrize("name", BOARDS)
def test_boards(name: str, tmp_path: Path) -> None:
    *_, expected, jetpack = BOARDS[name]
    found = read_jetson(board(tmp_path, name))
    assert found == expected
    assert found.jetpack == jetpack


def test_other_machines_are_none(tmp_path: Path) -> None:
    assert read_jetson(tmp_path) is None
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_text("raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert read_jetson(tmp_path) is None


def test_parts_that_are_not_known_are_none(tmp_path: Path) -> None:
    write(tmp_path, etc__nv_tegra_release="a release of another shape\n")
    assert read_jetson(tmp_path) == Jetson(None, None, None, None)
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_text("maker,own-carrier+p9999-0000\0nvidia,tegra234\0")
    (tmp_path / "etc/nv_tegra_release").write_text("# R40 (release), REVISION: 1, GCID: 1\n")
    found = read_jetson(tmp_path)
    assert found == Jetson(None, None, "sm_87", "40.1.0")
    assert found.jetpack is None
    assert Jetson(None, None, None, "36.1.0").jetpack == "6.x"
    # A container without the release file still knows its GPU.
    (tmp_path / "etc/nv_tegra_release").unlink()
    assert read_jetson(tmp_path) == Jetson(None, None, "sm_87", None)


@pytest.mark.parametrize(
    ("name", "python", "said"),
    [
        ("orin nano", (3, 10), "jp6/cu126 of NVIDIA's Jetson AI Lab"),
        ("orin nano", (3, 11), "are for its own Python 3.10, and this is 3.11"),
        ("orin nx", (3, 12), "sbsa/cu130 of NVIDIA's Jetson AI Lab"),
        ("thor", (3, 12), "(the wheel on PyPI has no kernels for sm_110)"),
        ("thor", (3, 13), "python3.12 -m venv"),
        ("xavier nx", (3, 10), "JetPack 5 has no onnxruntime-gpu wheel for Python 3.10"),
    ],
)
def test_the_wheel_fits_jetpack_and_python(name: str, python: tuple[int, int], said: str) -> None:
    assert said in wheel_advice(BOARDS[name][3], python)


def test_without_its_files_the_advice_is_general() -> None:
    assert "NVIDIA's onnxruntime-gpu wheel for your JetPack" in wheel_advice(None)
    unreadable = Jetson(None, None, "sm_87", None)
    assert "no kernels for sm_87" in wheel_advice(unreadable)


# From an Orin Nano with JetPack 6.2, an Orin NX, and a Xavier NX: the lines that name modes.
ORIN_NANO_MODES = """
# < POWER_MODEL ID=id_num NAME=mode_name >
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
ORIN_NX_MODES = """
< POWER_MODEL ID=0 NAME=MAXN >
< POWER_MODEL ID=1 NAME=10W >
< POWER_MODEL ID=2 NAME=15W >
< POWER_MODEL ID=3 NAME=25W >
"""
XAVIER_NX_MODES = """
< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >
< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >
"""


@pytest.mark.parametrize(
    ("status", "modes", "works", "why"),
    [
        (
            "pmode:0001\n",
            ORIN_NANO_MODES,
            None,
            "25W; sudo nvpmodel -m 2 takes the fastest, MAXN_SUPER",
        ),
        ("pmode:0002\n", ORIN_NANO_MODES, True, "MAXN_SUPER"),
        ("pmode:0000\n", ORIN_NX_MODES, True, "MAXN"),
        ("pmode:0003 fmode:quiet\n", ORIN_NX_MODES, None, "25W; sudo nvpmodel -m 0"),
        ("pmode:0002\n", XAVIER_NX_MODES, True, "MODE_15W_6CORE"),
        ("pmode:0009\n", ORIN_NX_MODES, None, "mode 9; sudo nvpmodel -m 0"),
        ("", ORIN_NX_MODES, None, "sudo nvpmodel -q"),
        ("pmode:0000\n", "", None, "sudo nvpmodel -q"),
    ],
)
def test_power_modes(status: str, modes: str, works: bool | None, why: str, tmp_path: Path) -> None:
    write(tmp_path, var__lib__nvpmodel__status=status)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(modes)
    check = examine_jetson(tmp_path)["power mode"]
    assert check["works"] is works
    assert str(check["why"]).startswith(why) or why in str(check["why"])


# The GPU's name in JetPack 6, JetPack 5 and on Thor.
@pytest.mark.parametrize("device", ["17000000.gpu", "17000000.ga10b", "gpu-gpc-0"])
def test_clocks(device: str, tmp_path: Path) -> None:
    assert "jetson_clocks --show" in str(examine_jetson(tmp_path)["jetson_clocks"]["why"])
    folder = tmp_path / "sys/class/devfreq" / device
    folder.mkdir(parents=True)
    (tmp_path / "sys/class/devfreq/15340000.vic").mkdir()
    (folder / "min_freq").write_text("306000000\n")
    (folder / "max_freq").write_text("1020000000\n")
    check = examine_jetson(tmp_path)["jetson_clocks"]
    assert check == {"works": None, "why": "clocks follow the load; sudo jetson_clocks pins them"}
    (folder / "min_freq").write_text("1020000000\n")
    assert examine_jetson(tmp_path)["jetson_clocks"]["works"] is True


def test_libraries(tmp_path: Path) -> None:
    bare = examine_jetson(tmp_path)
    for name in ("CUDA", "cuDNN", "TensorRT"):
        assert bare[name] == {"works": False, "why": "not found; sudo apt install nvidia-jetpack"}
    system = tmp_path / "usr/lib/aarch64-linux-gnu"
    cuda = tmp_path / "usr/local/cuda-12.6/targets/aarch64-linux/lib"
    for folder in (system, cuda):
        folder.mkdir(parents=True)
    for path in (
        cuda / "libcudart.so.12",
        cuda / "libcudart.so.12.6.68",
        system / "libnvinfer.so.10",
        system / "libnvinfer.so.10.3.0",
        system / "libnvinfer_plugin.so.10",
        system / "libcudnn.so.9",
    ):
        path.touch()
    found = examine_jetson(tmp_path)
    assert found["CUDA"] == {
        "works": True,
        "why": "/usr/local/cuda-12.6/targets/aarch64-linux/lib/libcudart.so.12.6.68",
    }
    assert found["TensorRT"]["why"] == "/usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0"
    assert found["cuDNN"]["why"] == "/usr/lib/aarch64-linux-gnu/libcudnn.so.9"


def test_the_camera(tmp_path: Path) -> None:
    assert "sudo apt install nvidia-l4t-gstreamer" in str(
        examine_jetson(tmp_path)["CSI camera"]["why"]
    )
    plugins = tmp_path / "usr/lib/aarch64-linux-gnu/gstreamer-1.0"
    plugins.mkdir(parents=True)
    (plugins / "libgstnvarguscamerasrc.so").touch()
    assert examine_jetson(tmp_path)["CSI camera"]["works"] is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    assert examine_jetson(tmp_path)["CSI camera"] == {"works": True, "why": "csi://0"}


SWAPS = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
ZRAM = "/dev/zram0                              partition\t650240\t0\t5\n"
FILE = "/swapfile                               file\t8388604\t0\t-2\n"


@pytest.mark.parametrize(
    ("total", "swaps", "works", "why"),
    [
        (7802848, SWAPS + ZRAM, None, "7.4 GiB, shared with the GPU; swap 3.7 GiB (zram only)"),
        (7802848, SWAPS, None, "(none); building an engine may need more: sudo fallocate -l 8G"),
        (7802848, SWAPS + ZRAM + FILE, True, "7.4 GiB, shared with the GPU; swap 3.7 GiB"),
        (64349080, SWAPS + ZRAM, True, "61.4 GiB"),
    ],
)
def test_memory(total: int, swaps: str, works: bool | None, why: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        proc__meminfo=f"MemTotal:       {total} kB\nSwapTotal:       3901408 kB\n",
        proc__swaps=swaps,
    )
    check = examine_jetson(tmp_path)["memory"]
    assert check["works"] is works
    assert why in str(check["why"])


@pytest.fixture
def on_an_orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this machine an Orin Nano, as far as files outside tell."""
    root = board(tmp_path, "orin nano")
    monkeypatch.setattr(jetson, "read_jetson", lambda _=None: read_jetson(root))
    monkeypatch.setattr(jetson_health, "examine_jetson", lambda: examine_jetson(root))


def test_the_doctor_on_a_jetson(on_an_orin: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "Developer Kit Super: Orin Nano 8GB (developer kit), GPU sm_87" in text
    assert "L4T 36.4.7, JetPack 6.2.1+, Python" in text
    assert "  no TensorRT: not found; sudo apt install nvidia-jetpack" in text
    assert "  -- power mode: not known; sudo nvpmodel -q tells it" in text
    assert "onnxruntime for its GPU: " in text
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["jetson"]
    assert report["l4t"] == "36.4.7"
    assert report["checks"]["CUDA"]["works"] is False


def test_the_doctor_on_a_jetson_of_which_little_is_known(
    on_an_orin: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jetson, "read_jetson", lambda _=None: Jetson(None, None, None, None))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "unknown board: unknown module, GPU unknown\n  L4T unknown, JetPack unknown" in text
    assert "None" not in text


FILES = (
    *("etc/nv_tegra_release", "etc/nvpmodel.conf", "proc/device-tree/compatible"),
    *("proc/device-tree/model", "proc/meminfo", "proc/swaps", "var/lib/nvpmodel/status"),
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(range(256)),
        b"# R%s (release), REVISION: 4.3, GCID: 1" % (b"9" * 5000),
        b"# R36 (release), REVISION: %s, GCID: 1" % (b"9" * 5000),
        b"pmode:0\n< POWER_MODEL ID=0 NAME=MODE_%sW >" % (b"9" * 5000),
        b"pmode:0\n< POWER_MODEL ID=%s NAME=MODE_15W >" % (b"9" * 5000),
        b"MemTotal: %s kB\n" % (b"9" * 400),
    ],
    ids=["empty", "binary", "major", "revision", "watts", "mode", "memory"],
)
def test_files_of_another_kind_are_survived(content: bytes, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = read_jetson(tmp_path)
    assert found is not None
    assert found.gpu is None
    assert found.jetpack in (None, "6.2.2+")
    assert examine_jetson(tmp_path).keys() >= {"power mode", "memory"}


def test_the_doctor_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    if read_jetson():
        pytest.skip("this is a Jetson")
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jetson"] is None
