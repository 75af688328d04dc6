"""Data for `blurvote train`: what is read is what was written, splits are fair, mistakes named."""

from __future__ import annotations

import gzip
import tarfile
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.training.catalogue import (
    check_fit,
    dataset_kind,
    net_kind,
)
from blurvote.benchmarks.robustness.training.data import load_data
from blurvote.benchmarks.robustness.training.export_test import export_test
from blurvote.benchmarks.robustness.training.pictures import Pictures, split
from blurvote.runtime import SinkError, SourceError

MNIST, FASHION, CIFAR = (dataset_kind(name) for name in ("mnist", "fashion-mnist", "cifar10"))


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random (count, 28, 28) pictures and shuffled labels of all ten classes."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return pixels, generator.permutation(np.arange(count) % 10).astype(np.uint8)


def write_idx(folder: Path, part: str, pixels: np.ndarray, labels: np.ndarray, gz: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        data = header + array.tobytes()
        file = folder / f"{part}-{name}-ubyte{'.gz' if gz else ''}"
        file.write_bytes(gzip.compress(data) if gz else data)


def write_class_folders(folder: Path, per_class: int, side: int = 32) -> dict[str, np.ndarray]:
    """PNGs in folders named by CIFAR-10's classes; the pixels (RGB) by name."""
    generator = np.random.default_rng(3)
    written = {}
    for name in CIFAR.classes:
        (folder / name).mkdir(parents=True)
        for k in range(per_class):
            pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{k:04d}.png"), pixels[..., ::-1])
            written[f"{name}/{k:04d}"] = pixels
    return written


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("below", [".", "raw", "MNIST/raw"])
def test_both_parts_of_idx_files_are_taken_as_published(
    tmp_path: Path, gz: bool, below: str
) -> None:
    train, test = drawn(30), drawn(20, seed=1)
    write_idx(tmp_path / below, "train", *train, gz)
    write_idx(tmp_path / below, "t10k", *test, gz)
    data = load_data(MNIST, tmp_path)
    for pictures, (pixels, labels) in ((data.train, train), (data.test, test)):
        np.testing.assert_array_equal(pictures.pixels[:, 0], pixels)
        np.testing.assert_array_equal(pictures.labels, labels)
        np.testing.assert_array_equal(pictures.numbers, np.arange(len(labels)))
    assert data.origin == "train and test as published"


def test_our_reader_agrees_with_torchvision(tmp_path: Path) -> None:
    mnist = pytest.importorskip("torchvision.datasets.mnist")
    pixels, labels = drawn(31)
    write_idx(tmp_path, "t10k", pixels, labels, gz=False)
    data = load_data(MNIST, tmp_path)
    theirs = mnist.read_image_file(str(tmp_path / "t10k-images-idx3-ubyte")).numpy()
    both = np.concatenate([data.train.numbers, data.test.numbers])
    ours = np.concatenate([data.train.pixels, data.test.pixels])[:, 0]
    np.testing.assert_array_equal(ours, theirs[both])


def test_a_lone_part_is_split_fairly_and_always_the_same_way(tmp_path: Path) -> None:
    pixels, labels = drawn(203)
    write_idx(tmp_path, "t10k", pixels, labels, gz=True)
    data, again = load_data(MNIST, tmp_path), load_data(MNIST, tmp_path)
    assert not set(data.train.numbers) & set(data.test.numbers)
    assert set(data.train.numbers) | set(data.test.numbers) == set(range(203))
    np.testing.assert_array_equal(data.test.numbers, again.test.numbers)
    for pictures in (data.train, data.test):
        np.testing.assert_array_equal(pictures.pixels[:, 0], pixels[pictures.numbers])
        np.testing.assert_array_equal(pictures.labels, labels[pictures.numbers])
    assert np.bincount(data.test.labels).tolist() == [4] * 10  # a fifth of 20 or 21
    assert (
        data.origin
        == "only the test pictures are there: split 4 to 1 within each class, seed " + ("20210524")
    )


def test_a_class_of_one_picture_cannot_be_split() -> None:
    pictures = Pictures(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 0, 4]), np.arange(3))
    with pytest.raises(SourceError, match=r"class 4 has one picture; a split .* needs two"):
        split(pictures)


@pytest.mark.parametrize("how", ["folder", "tar", "folder with a tar"])
def test_class_folders(tmp_path: Path, how: str) -> None:
    written = write_class_folders(tmp_path / "in" / "test", per_class=5)
    path = tmp_path / "in"
    if how != "folder":
        path = tmp_path / "out" / "cifar.tar"
        path.parent.mkdir()
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "in" / "test", "test")
        path = path if how == "tar" else path.parent
    data = load_data(CIFAR, path)
    assert (len(data.train), len(data.test)) == (40, 10)
    for pictures in (data.train, data.test):
        for planes, label, number in zip(
            pictures.pixels, pictures.labels, pictures.numbers, strict=True
        ):
            assert number % 10 == label  # classes take turns
            name = f"{CIFAR.classes[label]}/{number // 10:04d}"
            np.testing.assert_array_equal(planes.transpose(1, 2, 0), written[name])


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", per_class=2)
    write_class_folders(tmp_path / "test", per_class=1)
    data = load_data(CIFAR, tmp_path)
    assert (len(data.train), len(data.test), data.origin) == (
        20,
        10,
        "train and test as published",
    )


@pytest.mark.parametrize("kind", [MNIST, FASHION, CIFAR], ids=lambda kind: kind.name)
def test_exported_pictures_can_be_read_back(tmp_path: Path, kind) -> None:
    """What is written are RGB PNGs; the list names each with its class."""
    generator = np.random.default_rng(0)
    shape = (40, kind.channels, kind.side, kind.side)
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    pictures = Pictures(pixels, np.arange(40) % 10, np.arange(100, 140))
    listed = export_test(pictures, kind, tmp_path)
    lines = [line.split("\t") for line in listed.read_text().splitlines()]
    assert [int(label) for _, label in lines] == pictures.labels.tolist()
    for (file, _), planes, number in zip(lines, pixels, pictures.numbers, strict=True):
        assert Path(file).stem == f"{number:05d}"
        rgb = cv2.imread(str(tmp_path / file), cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(
            rgb.transpose(2, 0, 1), np.broadcast_to(planes, (3, *shape[2:]))
        )
    data = load_data(kind, tmp_path)  # the layout is one that the trainer reads
    assert len(data.train) + len(data.test) == 40


def test_class_names_make_folders_that_file_systems_take(tmp_path: Path) -> None:
    pictures = Pictures(np.zeros((1, 1, 28, 28), np.uint8), np.array([0]), np.array([7]))
    export_test(pictures, FASHION, tmp_path)
    assert (tmp_path / "labels.tsv").read_text() == "0_T-shirt-top/00007.png\t0\n"
    assert (tmp_path / "9_Ankle-boot").is_dir()


def test_pictures_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    pictures = Pictures(np.zeros((1, 1, 28, 28), np.uint8), np.array([0]), np.array([7]))
    with pytest.raises(SinkError, match=r"00007\.png: No space left on device"):
        export_test(pictures, MNIST, tmp_path)
    assert not (tmp_path / "labels.tsv").exists()


def truncate(folder: Path) -> None:
    file = folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])


def truncate_gz(folder: Path) -> None:
    file = folder / "t10k-images-idx3-ubyte"
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(file.read_bytes())[:-100])
    file.unlink()


def swap(folder: Path) -> None:
    labels = (folder / "t10k-labels-idx1-ubyte").read_bytes()
    (folder / "t10k-images-idx3-ubyte").write_bytes(labels)


def shorten_header(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3, 0, 0, 0, 9)))


def lose_labels(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()


def mislabel(folder: Path) -> None:
    pixels, labels = drawn(20)
    write_idx(folder, "t10k", pixels, labels + 1, gz=False)


def mismatch(folder: Path) -> None:
    write_idx(folder / "other", "t10k", *drawn(19), gz=False)
    (folder / "other" / "t10k-labels-idx1-ubyte").replace(folder / "t10k-labels-idx1-ubyte")


def resize(folder: Path) -> None:
    write_idx(folder, "t10k", np.zeros((20, 27, 28), np.uint8), drawn(20)[1], gz=False)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (truncate, r"is cut short or damaged: it has 15580 bytes of content, .* 20x28x28; get it"),
        (truncate_gz, r"\.gz is cut short or damaged: .*get it again"),
        (swap, "begins with 00 00 08 01; expected an idx file .* 3 dimension.* 00 00 08 03"),
        (shorten_header, "is cut short or damaged: it has 0 bytes of content"),
        (lose_labels, "images-idx3-ubyte is there, but not the labels that belong to it"),
        (mislabel, r"has a label of 10; mnist has 10 classes"),
        (mismatch, "has 20 pictures, and .* 19"),
        (resize, r"holds pictures of shape \(1, 27, 28\); mnist has \(1, 28, 28\)"),
    ],
)
def test_broken_idx_files(tmp_path: Path, harm, said: str) -> None:
    write_idx(tmp_path, "t10k", *drawn(20), gz=False)
    harm(tmp_path)
    with pytest.raises(SourceError, match=said):
        load_data(MNIST, tmp_path)


def test_broken_class_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is nothing at .*none; --data names a folder"):
        load_data(CIFAR, tmp_path / "none")
    with pytest.raises(SourceError, match="holds no class folders of cifar10; --download"):
        load_data(CIFAR, tmp_path)
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(SourceError, match=r"text\.tar is no tar file"):
        load_data(CIFAR, tmp_path / "text.tar")
    (tmp_path / "text.tar").unlink()

    write_class_folders(tmp_path / "in", per_class=2)
    with tarfile.open(tmp_path / "whole.tar", "w") as archive:
        archive.add(tmp_path / "in")
    data = (tmp_path / "whole.tar").read_bytes()
    for blocks in range(3, 31):  # in headers, in pictures, between them
        (tmp_path / "cut.tar").write_bytes(data[: blocks * 512 + 100 * (blocks % 3)])
        with pytest.raises(SourceError, match=r"cut\.tar cannot be read: .*; is it cut short\?"):
            load_data(CIFAR, tmp_path / "cut.tar")

    picture = tmp_path / "in" / "cat" / "0001.png"
    picture.write_bytes(b"")
    with pytest.raises(SourceError, match=r"cat/0001\.png in .* is no picture"):
        load_data(CIFAR, tmp_path / "in")
    cv2.imwrite(str(picture), np.zeros((31, 32, 3), np.uint8))
    with pytest.raises(SourceError, match="is 32x31 px; cifar10 has pictures of 32x32 px"):
        load_data(CIFAR, tmp_path / "in")
    picture.parent.rename(tmp_path / "in" / "10_cow")
    with pytest.raises(SourceError, match=r"the folder of 10_cow/\S+ is no class of cifar10"):
        load_data(CIFAR, tmp_path / "in")


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")

    def unreachable(root: str, train: bool, download: bool) -> None:
        raise urllib.error.URLError("Name or service\nnot known")

    monkeypatch.setattr(datasets, "FashionMNIST", unreachable)
    with pytest.raises(SourceError) as caught:
        load_data(FASHION, tmp_path / "new", download=True)
    assert str(caught.value).startswith(f"cannot download fashion-mnist into {tmp_path / 'new'}: ")
    assert "not known" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_pairs() -> None:
    with pytest.raises(SourceError, match="no data set called 'svhn'; expected mnist, fashion-mn"):
        dataset_kind("svhn")
    with pytest.raises(SourceError, match="no net called 'vgg'; expected mlp, resnet, deep-resnet"):
        net_kind("vgg")
    with pytest.raises(SourceError, match="lenet5 takes the pictures of mnist and fashion-mnist"):
        check_fit(net_kind("lenet5"), CIFAR)
    with pytest.raises(SourceError, match=r"nets for mnist: mlp, resnet, deep-resnet, lenet5$"):
        check_fit(net_kind("resnet20"), MNIST)
    check_fit(net_kind("mlp"), CIFAR)  # terrible, but asked for
