"""tegrastats across generations, and a recorder that always ends what it started."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from blurvote.benchmarks import tegrastats
from blurvote.benchmarks.tegrastats import Core, Rail

# Text in the format of NVIDIA's tegrastats, not recorded for this project. The fields are described
# in the Jetson Linux Developer Guide, "tegrastats Utility", of each release; these lines have the
# layout that users of each board post in public reports.
NANO = (
    "RAM 1766/3964MB (lfb 197x4MB) SWAP 0/2048MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [24%@1224,15%@1224,off,10%@1224] EMC_FREQ 4%@1600 GR3D_FREQ 48%@921 APE 25 PLL@21C "
    "CPU@25C PMIC@100C GPU@23.5C AO@33.5C thermal@24.5C "
    "POM_5V_IN 2545/2547 POM_5V_GPU 120/80 POM_5V_CPU 549/529"
)
XAVIER = (  # JetPack 4: rails without a unit, two of them named like engines
    "RAM 14700/15692MB (lfb 3x2MB) SWAP 898/8192MB (cached 23MB) "
    "CPU [0%@1190,7%@1190,off,off] EMC_FREQ 12% GR3D_FREQ 0% AO@30C GPU@30.5C Tboard@31C "
    "Tdiode@32C AUX@30.5C CPU@31.5C thermal@30.8C PMIC@100C "
    "GPU 463/470 CPU 618/620 SOC 2936/2930 CV 0/0 VDDRQ 309/309 SYS5V 3306/3306"
)
ORIN_AGX = (  # JetPack 5 as root: clusters' clocks, sensors that are off, rails not connected
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) "
    "CPU [3%@729,0%@729] EMC_FREQ 1%@2133 GR3D_FREQ 37%@[611,0] VIC_FREQ 729 APE 174 "
    "CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C GPU@-256C tj@44.343C "
    "VDD_GPU_SOC 2340mW/2345mW VDD_CPU_CV 390mW/400mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW "
    "VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
ORIN_NANO = (  # JetPack 6 without root: neither EMC nor the GPU's clock
    "12-23-2024 22:54:11 RAM 3162/7620MB (lfb 4x2MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [1%@729,0%@729,off,off] GR3D_FREQ 1% cpu@62.843C soc2@61.968C gpu@61.687C tj@62.843C "
    "VDD_IN 3913mW/3922mW VDD_CPU_GPU_CV 598mW/598mW VDD_SOC 1238mW/1237mW"
)
ORIN_JETPACK_7 = (  # two temperatures and three powers per name
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off PVA0_FREQ off APE 174 cpu@52.968C/53.5C gpu@47.625C/48C "
    "VDD_GPU_SOC 5139mW/5140mW/5200mW VDD_CPU_CV 3268mW/3270mW/3300mW"
)
THOR = (  # JetPack 7: no GPU load, whatever the clocks; VIN is the input of the board
    "05-17-2026 10:00:32 RAM 4208/125773MB (lfb 31x4MB) SWAP 0/2048MB (cached 0MB) "
    "CPU [1%@972,0%@972] EMC_FREQ 0%@665 GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 VIC off OFA_FREQ @0 "
    "PVA0_FREQ off APE 300 cpu@34.468C tj@34.5C soc012@33.781C soc345@34.5C "
    "VDD_GPU 0mW/0mW VDD_CPU_SOC_MSS 4165mW/4165mW VIN_SYS_5V0 4126mW/4126mW VIN 16802mW/16802mW"
)


def parse(line: str) -> tegrastats.Sample:
    sample = tegrastats.parse(line)
    assert sample is not None
    return sample


def test_every_field_of_a_nano() -> None:
    assert parse(NANO) == tegrastats.Sample(
        ram_used_mb=1766,
        ram_total_mb=3964,
        swap_used_mb=0,
        swap_total_mb=2048,
        cores=(Core(24, 1224), Core(15, 1224), None, Core(10, 1224)),
        emc_percent=4,
        gpu_percent=48,
        gpu_mhz=(921,),
        temperatures_c={
            "PLL": 21, "CPU": 25, "PMIC": 100, "GPU": 23.5, "AO": 33.5, "thermal": 24.5,
        },
        rails={
            "POM_5V_IN": Rail(2545, 2547),
            "POM_5V_GPU": Rail(120, 80),
            "POM_5V_CPU": Rail(549, 529),
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "emc", "gpu", "mhz", "sensor", "rails"),
    [
        (XAVIER, 12, 0, (), ("CPU", 31.5), {"GPU": 463, "CPU": 618, "SOC": 2936, "CV": 0,
                                            "VDDRQ": 309, "SYS5V": 3306}),
        (ORIN_AGX, 1, 37, (611, 0), ("tj", 44.343), {"VDD_GPU_SOC": 2340, "VDD_CPU_CV": 390,
                                                     "VIN_SYS_5V0": 4025, "VDDQ_VDD2_1V8AO": 301}),
        (ORIN_NANO, None, 1, (), ("gpu", 61.687), {"VDD_IN": 3913, "VDD_CPU_GPU_CV": 598,
                                                   "VDD_SOC": 1238}),
        (ORIN_JETPACK_7, 3, 12, (1300, 1300), ("gpu", 47.625), {"VDD_GPU_SOC": 5139,
                                                                "VDD_CPU_CV": 3268}),
        (THOR, 0, None, (0, 0, 0), ("soc345", 34.5), {"VDD_GPU": 0, "VDD_CPU_SOC_MSS": 4165,
                                                      "VIN_SYS_5V0": 4126, "VIN": 16802}),
    ],
    ids=["xavier", "orin agx", "orin nano", "orin jetpack 7", "thor"],
)  # fmt: skip
def test_generations(
    line: str,
    emc: int | None,
    gpu: int | None,
    mhz: tuple[int, ...],
    sensor: tuple[str, float],
    rails: dict[str, int],
) -> None:
    sample = parse(line)
    assert (sample.emc_percent, sample.gpu_percent, sample.gpu_mhz) == (emc, gpu, mhz)
    assert sample.temperatures_c[sensor[0]] == sensor[1]
    assert {name: rail.now_mw for name, rail in sample.rails.items()} == rails


def test_what_is_off_or_absent() -> None:
    assert parse(ORIN_NANO).cores == (Core(1, 729), Core(0, 729), None, None)
    assert set(parse(ORIN_AGX).temperatures_c) == {"CPU", "Tboard", "SOC2", "tj"}
    assert parse(ORIN_JETPACK_7).swap_total_mb is None
    assert parse("RAM 220/3895MB (lfb 84x4MB) CPU [1%,off]@102").cores == (Core(1, 102), None)
    bare = parse("RAM 220/3895MB")
    assert (bare.cores, bare.gpu_percent, bare.rails) == ((), None, {})


@pytest.mark.parametrize("line", ["", "Traceback", "SWAP 0/1MB", "RAM x/yMB", "\0\ufffd[,%@]"])
def test_garbage_is_no_sample(line: str) -> None:
    assert tegrastats.parse(line) is None


def test_every_truncation_is_survived() -> None:
    for end in range(len(THOR)):
        tegrastats.parse(THOR[:end])


@pytest.mark.parametrize(
    ("line", "of"),
    [
        (NANO, ["POM_5V_IN"]),
        (ORIN_NANO, ["VDD_IN"]),
        (THOR, ["VIN"]),
        (ORIN_AGX, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]),
    ],
)
def test_no_rail_is_counted_twice(line: str, of: list[str]) -> None:
    assert list(tegrastats.total_rails(parse(line).rails)) == of


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executable `tegrastats`, first on PATH, for the test to write."""
    path = tmp_path / "bin" / "tegrastats"
    path.parent.mkdir()
    path.touch()
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path


def until(recorder: tegrastats.Recorder, samples: int) -> None:
    deadline = time.monotonic() + 10
    while len(recorder.samples) < samples and time.monotonic() < deadline:
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether it ends within moments; a zombie, which waits for init to reap it, has ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_the_recorder_summarises_and_leaves_nothing_running(program: Path, tmp_path: Path) -> None:
    hot = ORIN_NANO.replace("VDD_IN 3913mW", "VDD_IN 5913mW").replace("tj@62.843", "tj@64.843")
    program.write_text(
        "#!/bin/sh\ntrap '' TERM INT\n"
        f'echo "$$ $*" > {tmp_path}/started\nsleep 60 & echo $! > {tmp_path}/child\n'
        f"printf '\\377 garbage\\n\\n'\necho '{ORIN_NANO}'\necho '{hot}'\nwait\n"
    )
    with tegrastats.Recorder(interval_ms=250) as recorder:
        until(recorder, 2)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    pid, *options = (tmp_path / "started").read_text().split()
    assert options == ["--interval", "250"]
    with pytest.raises(ProcessLookupError):  # reaped: not even a zombie
        os.kill(int(pid), 0)
    assert gone(int((tmp_path / "child").read_text()))
    summary = recorder.summary()
    assert summary is not None
    assert (summary["samples"], summary["ignored_lines"]) == (2, 1)
    assert summary["power_of"] == ["VDD_IN"]
    assert summary["power_mw"] == {"minimum": 3913, "mean": 4913, "maximum": 5913}
    assert summary["rails_mw"]["VDD_SOC"]["mean"] == 1238
    assert summary["temperatures_c"]["tj"] == pytest.approx(
        {"minimum": 62.843, "mean": 63.843, "maximum": 64.843}
    )


def test_power_is_the_sum_where_no_rail_has_it_all(program: Path) -> None:
    program.write_text(f"#!/bin/sh\necho '{ORIN_AGX}'\n")  # and it ends by itself
    with tegrastats.Recorder() as recorder:
        until(recorder, 1)
    summary = recorder.summary()
    assert summary is not None
    assert summary["power_mw"]["mean"] == 2340 + 390 + 4025 + 301


def test_an_error_in_the_benchmark_stops_it_too(program: Path, tmp_path: Path) -> None:
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho '{THOR}'\nexec sleep 60\n")

    def benchmark() -> None:
        with tegrastats.Recorder() as recorder:
            until(recorder, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with tegrastats.Recorder() as recorder:
        pass
    assert recorder.summary() is None


# Text in the formats of `nvpmodel -q` and /etc/nvpmodel.conf (Jetson Linux Developer Guide,
# "Platform Power and Performance").
ORIN_MODES = (
    "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
    "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    "< PM_CONFIG DEFAULT=1 >\n"
)
NX_MODES = "< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n< POWER_MODEL ID=3 NAME=MODE_10W_2CORE >\n"


@pytest.mark.parametrize(
    ("answer", "config", "expected"),
    [
        ("NV Power Mode: MAXN\n0\n", "", ("MAXN", 0, True)),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "", ("MODE_15W_6CORE", 2, None)),
        ("NV Power Mode: 25W\n1\n", ORIN_MODES, ("25W", 1, False)),
        ("NV Power Mode: MAXN_SUPER\n2\n", ORIN_MODES, ("MAXN_SUPER", 2, True)),
        ("NV Power Mode: MODE_15W_2CORE\n0\n", NX_MODES, ("MODE_15W_2CORE", 0, True)),
        ("NV Power Mode: MODE_10W_2CORE\n3\n", NX_MODES, ("MODE_10W_2CORE", 3, False)),
    ],
)
def test_power_modes(
    answer: str, config: str, expected: tuple[str, int | None, bool | None]
) -> None:
    mode = tegrastats.power_mode(answer, config)
    assert mode == dict(zip(("name", "id", "maximum"), expected, strict=True))


def test_no_power_mode() -> None:
    assert tegrastats.power_mode("NVPM ERROR: optMask is 1, no request for power mode\n") is None


RELEASE = "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_jetson_is_described(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvpmodel = program.with_name("nvpmodel")
    nvpmodel.write_text("#!/bin/sh\n[ \"$1\" = -q ] && echo 'NV Power Mode: 15W' && echo 0\n")
    nvpmodel.chmod(0o755)
    root = write(
        tmp_path / "root",
        {
            "etc/nv_tegra_release": RELEASE + "\n# KERNEL_VARIANT: oot\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "etc/nvpmodel.conf": ORIN_MODES,
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1510400\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
            "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
        },
    )
    assert tegrastats.jetson(root) == {
        "release": RELEASE,
        "model": "NVIDIA Jetson Orin Nano Developer Kit",
        "power_mode": {"name": "15W", "id": 0, "maximum": False},
        "jetson_clocks": False,
    }
    write(root, {"sys/class/devfreq/17000000.gpu/min_freq": "624750000\n"})
    described = tegrastats.jetson(root)
    assert described is not None
    assert described["jetson_clocks"] is True


def test_a_container_on_a_jetson_and_a_machine_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    root = write(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"})
    assert tegrastats.jetson(root) == {
        "release": None,
        "model": "NVIDIA Jetson AGX Thor Developer Kit",
        "power_mode": None,
        "jetson_clocks": None,
    }
    write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert tegrastats.jetson(root) is None
