"""ONNX metadata without the onnx package; the package itself is the oracle."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest

from blurvote.runtime import GuardError
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.onnx_metadata import append_metadata, read_metadata


@pytest.mark.parametrize("kind", ["views", "frames"])
def test_it_reads_what_onnx_reads(kind):
    path = guard_path(kind)
    expected = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert read_metadata(path) == expected
    assert len(expected) > 3


def test_appended_entries_are_read_by_onnx_and_by_onnxruntime(make_guard):
    path = make_guard()
    before = read_metadata(path)
    more = {"blurvote.engine": '{"gpu": "Österreich 5090"}', "long": "x" * 70_000, "empty": ""}
    append_metadata(path, more)
    assert read_metadata(path) == {**before, **more}
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == {**before, **more}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {**before, **more}


def test_of_two_entries_with_one_key_the_later_counts(make_guard):
    path = make_guard()
    append_metadata(path, {"note": "first"})
    append_metadata(path, {"note": "second"})
    assert read_metadata(path)["note"] == "second"


def test_fields_of_every_wire_type_are_passed_over(tmp_path):
    path = tmp_path / "model.onnx"
    # Fields 200 to 203 as varint, 64 bits, bytes and 32 bits, then one metadata entry.
    path.write_bytes(
        b"\xc0\x0c\xff\x01"
        + b"\xc9\x0c12345678"
        + b"\xd2\x0c\x03abc"
        + b"\xdd\x0c1234"
        + b"\x72\x06\x0a\x01k\x12\x01v"
    )
    assert read_metadata(path) == {"k": "v"}


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_truncated_file_is_refused(cut, tmp_path):
    whole = guard_path("views").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[:-cut])
    with pytest.raises(GuardError, match=r"an ONNX model \(it ends in the middle"):
        read_metadata(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x0f",
        b"\xff" * 11,
        b"hello, world",
        b"\x72\x02\x08\x01",
        b"\x72\x03\x0a\x05k\x12\x00\x12\x00",
    ],
)
def test_what_is_no_protobuf_is_refused(content, tmp_path):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(GuardError, match="cannot be loaded as an ONNX model"):
        read_metadata(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GuardError, match=r"none\.onnx is not a file; expected an ONNX file"):
        read_metadata(tmp_path / "none.onnx")


def test_a_model_in_memory_is_read_as_its_file_is() -> None:
    path = guard_path("views")
    data = path.read_bytes()
    model = ModelBytes(path, "copy", data, "views", (3, 128, 128))
    assert read_metadata(model) == read_metadata(path) != {}
    cut = ModelBytes(path, "copy", data[:-9], "views", (3, 128, 128))
    with pytest.raises(GuardError, match=r"^the copy of .* cannot be loaded as an ONNX model"):
        read_metadata(cut)
