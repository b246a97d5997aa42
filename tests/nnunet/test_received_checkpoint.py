"""Checkpoints that show a harmless content to Python's zipfile and another one to torch."""

import pickle
import struct
import zipfile
import zlib
from io import BytesIO

import pytest
import torch

from ser_nnunet.nnunet.received_checkpoint import imports_of
from ser_nnunet.utils.pickle_contents import is_plain


class Malicious:
    def __reduce__(self):
        return (print, ("code has run",))


CODE, PLAIN = pickle.dumps(Malicious(), 2), pickle.dumps({"a": 1}, 2)


def is_refused(content):
    try:
        imported = imports_of(BytesIO(content), "checkpoint_final.pth")
    except ValueError:
        return True
    return not all(map(is_plain, imported))


def packed(members):
    """A zip of these members, name -> bytes."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def saved(content):
    stream = BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def members_of(checkpoint):
    with zipfile.ZipFile(BytesIO(checkpoint)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_torch_saves_is_fine():
    assert imports_of(BytesIO(saved({"a": torch.zeros(2)})), "a.pth") == {
        "collections.OrderedDict",
        "torch.FloatStorage",
        "torch._utils._rebuild_tensor_v2",
    }


@pytest.mark.parametrize("name", ["DATA.PKL", "Data.Pkl", "data.PKL"])
def test_torch_ignores_the_case_of_a_name_and_so_does_the_check(name):
    """With a harmless second pickle, and with the harmless data.pkl beside it."""
    members = members_of(saved({"a": torch.zeros(2)}))
    folder = next(iter(members)).partition("/")[0]
    data = members.pop(f"{folder}/data.pkl")
    for other in ("x.pkl", "data.pkl"):
        disguised = packed({f"{folder}/{name}": CODE, f"{folder}/{other}": data, **members})
        assert torch._C.PyTorchFileReader(BytesIO(disguised)).get_record("data.pkl") in (CODE, data)
        assert is_refused(disguised)


def entry(name, data, offset):
    """A stored file's local header with its data, and its entry in a zip's list of files."""
    sizes = struct.pack("<III", zlib.crc32(data), len(data), len(data))
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 0, 0, 33) + sizes + struct.pack("<HH", len(name), 0)
    listed = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 33) + sizes
    listed += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, offset % 2**32) + name
    return local + name + data, listed


def test_a_second_list_of_files_behind_the_end_of_the_zip_is_not_overlooked():
    """Python takes the list before the end record, torch the one at the stated offset: here, in the zip's comment."""
    version = b"3\n"
    files = [entry(b"a/data.pkl", PLAIN, 0)[0]]
    files.append(entry(b"a/version", version, 0)[0])
    files.append(entry(b"a/data.pkl", CODE, 0)[0])
    starts = [0, len(files[0]), len(files[0]) + len(files[1])]
    body = b"".join(files)
    size = sum(len(entry(name, b"", 0)[1]) for name in (b"a/data.pkl", b"a/version"))
    end = len(body) + size  # where the end record begins
    comment = end + 22
    shift = comment - len(body)  # Python adds -shift to all offsets
    shown = entry(b"a/data.pkl", PLAIN, starts[0] + shift)[1] + entry(b"a/version", version, starts[1] + shift)[1]
    hidden = entry(b"a/data.pkl", CODE, starts[2])[1] + entry(b"a/version", version, starts[1])[1]
    record = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2, 2, size, comment, len(hidden))
    disguised = body + shown + record + hidden
    with zipfile.ZipFile(BytesIO(disguised)) as archive:
        assert archive.read("a/data.pkl") == PLAIN
    assert torch._C.PyTorchFileReader(BytesIO(disguised)).get_record("data.pkl") == CODE
    assert is_refused(disguised)


def test_torchscript_is_refused_whatever_its_letters():
    members = members_of(saved({"a": torch.zeros(2)}))
    folder = next(iter(members)).partition("/")[0]
    for name in ("constants.pkl", "CONSTANTS.pkl", "code/__torch__.py", "Code/x.py"):
        assert is_refused(packed({**members, f"{folder}/{name}": PLAIN}))
