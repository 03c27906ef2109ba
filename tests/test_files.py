"""Arrays in files: every format against what was written, and every way for a file to be wrong."""

import errno
import io
import itertools
import json
import os
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

from fastloss.evaluation.files import checksums, lending, opened, reading
from fastloss.evaluation.files.part import FileError

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((37, 5), dtype=np.float32)
IDS = RNG.integers(0, 5, 37)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_safetensors(path, **arrays):
    """Written from the format's description: 8 bytes of length, a header, the numbers."""
    names = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64"}
    header, blocks, place = {"__metadata__": {"format": "np"}}, [], 0
    for name, array in arrays.items():
        block = array.tobytes()
        header[name] = {
            "dtype": names.get(array.dtype.name, "BF16"),
            "shape": array.shape,
            "data_offsets": [place, place + len(block)],
        }
        blocks.append(block)
        place += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def save(path, logits=LOGITS, labels=IDS):
    if path.suffix == ".npy":
        np.save(path, logits)
    elif path.suffix == ".safetensors":
        save_safetensors(path, labels=labels, logits=logits)
    else:
        write = np.savez_compressed if "compressed" in path.name else np.savez
        write(path, labels=labels, logits=logits)
    return str(path)


def refused(message, function, *arguments):
    with pytest.raises(FileError, match=message):
        function(*arguments)


FORMATS = ("a.npy", "a.npz", "compressed.npz", "a.safetensors")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_chunks_in_any_order_are_what_was_saved(here, name, dtype):
    logits = LOGITS.astype(dtype)
    rows = opened.logits([save(here / name, logits)])
    assert (rows.shape, rows.n_rows, rows.row_shape, rows.dtype) == ((37, 5), 37, (5,), dtype)
    for start, stop in [(0, 37), (0, 10), (10, 37), (3, 4), (30, 30), (36, 37), (0, 1)]:
        np.testing.assert_array_equal(rows.read(start, stop), logits[start:stop])
    rows.check_unchanged()
    rows.close()


@pytest.mark.parametrize("lacking", [None, "posix_fadvise", "RWF_NOWAIT", "preadv", "its support"])
def test_every_way_to_read_gives_the_same(here, monkeypatch, lacking):
    """From the disk, from the page cache, and where the system has less to offer."""
    large = RNG.integers(0, 255, (5, 2**20), np.uint8).view(np.float32)
    np.save("large.npy", large)
    rows = opened.logits(["large.npy"])
    if lacking == "its support":
        preadv = os.preadv

        def refusing(descriptor, buffers, place, flags=0):
            if flags:
                raise OSError(errno.EOPNOTSUPP, "")
            return preadv(descriptor, buffers, place)

        monkeypatch.setattr(os, "preadv", refusing)
    elif lacking is not None:
        monkeypatch.delattr(os, lacking, raising=False)
    for _ in range(2):
        with open("large.npy", "rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for start, stop in [(0, 5), (1, 3), (3, 5)]:
            np.testing.assert_array_equal(
                rows.read(start, stop).view(np.uint8), large[start:stop].view(np.uint8)
            )
    os.truncate("large.npy", 2**20)
    with pytest.raises(FileError, match="ended early"):
        rows.read(0, 5)


@pytest.mark.parametrize("name", FORMATS[1:])
def test_one_of_several_arrays_is_the_only_one_that_fits_or_named(here, name):
    path = save(here / name)
    np.testing.assert_array_equal(opened.labels(path).read_all(), IDS)  # the one with one axis
    np.testing.assert_array_equal(opened.logits([f"{path}:logits"]).read_all(), LOGITS)
    refused("has no array named more: it has labels of shape", opened.logits, [f"{path}:more"])


@pytest.mark.parametrize("name", FORMATS[1:])
def test_names_of_arrays_and_of_files_may_have_colons(here, name):
    """As of layers of a network, or times of day."""
    path = here / name
    arrays = {"model:0": IDS, "model:0.npz:x": LOGITS, ":": 2 * LOGITS}
    if path.suffix == ".safetensors":
        save_safetensors(path, **arrays)
    else:
        (np.savez_compressed if "compressed" in name else np.savez)(path, **arrays)
    (here / "run.npz:2").mkdir()
    os.link(path, here / "run.npz:2" / name)
    for place in (name, f"run.npz:2/{name}"):
        for member, array in arrays.items():
            find = opened.labels if array.ndim == 1 else lambda each: opened.logits([each])
            np.testing.assert_array_equal(find(f"{place}:{member}").read_all(), array)
        refused("has no array named 0", opened.labels, f"{place}:0")
    pattern = f"?{name[1:]}"
    np.testing.assert_array_equal(opened.labels(f"{pattern}:model:0").read_all(), IDS)
    np.save(here / "12:30.npy", IDS)
    np.testing.assert_array_equal(opened.labels("12:30.npy").read_all(), IDS)


def test_several_that_fit_are_asked_for_by_name(here):
    np.savez(here / "two.npz", first=LOGITS, second=2 * LOGITS)
    refused("say which, as in two.npz:first", opened.logits, ["two.npz"])
    np.testing.assert_array_equal(opened.logits(["two.npz:second"]).read_all(), 2 * LOGITS)


def test_shards_are_joined_in_the_order_of_their_numbers(here):
    edges = [0, 1, 20, 20, 37]
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        np.save(here / f"part-{i + 8}.npy", LOGITS[start:stop])
    rows = opened.logits(["part-*.npy"])
    assert [part.path.name for part in rows.parts] == [f"part-{i}.npy" for i in (8, 9, 10, 11)]
    np.testing.assert_array_equal(rows.read_all(), LOGITS)
    for start, stop in itertools.combinations(range(0, 38, 6), 2):
        np.testing.assert_array_equal(rows.read(start, stop), LOGITS[start:stop])
    given = opened.logits(["part-10.npy", "part-9.npy", "part-8.npy"])
    np.testing.assert_array_equal(given.read_all(), np.concatenate([LOGITS[1:20], LOGITS[:1]]))


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(here):
    np.save(here / "a[1].npy", LOGITS)
    assert opened.logits(["a[1].npy"]).n_rows == 37


def test_leading_axes_are_samples(here):
    array = RNG.standard_normal((3, 4, 5))
    rows = opened.logits([save(here / "a.npy", array)])
    assert (rows.shape, rows.n_rows) == ((3, 4, 5), 12)
    np.testing.assert_array_equal(rows.read(2, 9), array.reshape(12, 5)[2:9])
    np.save(here / "labels.npy", np.zeros(12, int))
    refused(r"labels.npy has shape \(12,\).*\(3, 4\) is expected", opened.check_same_rows,
            opened.labels("labels.npy"), rows)  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
def test_bit_patterns_of_16_bits(here, order):
    halves = LOGITS.astype(f"{order}f2")
    np.save(here / "bits.npy", halves.view(f"{order}u2"))
    np.testing.assert_array_equal(opened.logits(["bits.npy"], "float16").read_all(), halves)
    refused("--float16 or --bfloat16", opened.logits, ["bits.npy"])
    np.save(here / "numbers.npy", LOGITS)
    refused(
        "has dtype float32, but --float16 is for bit", opened.logits, ["numbers.npy"], "float16"
    )


def test_bfloat16(here, monkeypatch):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    array = LOGITS.astype(bfloat16)
    np.save(here / "void.npy", array)  # NumPy forgets what it is
    np.save(here / "bits.npy", array.view(np.uint16))
    save_safetensors(here / "a.safetensors", logits=array.view("V2"), labels=IDS)
    for name, bits in [("void.npy", "bfloat16"), ("bits.npy", "bfloat16"), ("a.safetensors", None)]:
        rows = opened.logits([name], bits)
        assert rows.dtype == bfloat16
        np.testing.assert_array_equal(rows.read_all(), array)
    refused("say what its 16 bits", opened.logits, ["void.npy"])

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    refused("a.safetensors:logits holds bfloat16.*pip install ml_dtypes", opened.logits,
            ["a.safetensors:logits"])  # fmt: skip
    refused("pip install ml_dtypes", opened.logits, ["bits.npy"], "bfloat16")
    assert opened.labels("a.safetensors:labels").n_rows == 37  # needs no bfloat16


# -------------------------------------------------------------------------------------------------
# What is wrong with a file is found before anything is read from it


@pytest.mark.parametrize("name", FORMATS)
def test_every_truncation_is_found_at_once(here, name):
    path = here / name
    whole = (save(path), path.read_bytes())[1]
    for size in [0, 1, 7, 8, 9, 60, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(name, opened.logits, [name])


@pytest.mark.parametrize("name", FORMATS)
def test_damage_never_gives_other_than_an_error_or_numbers(here, name):
    """Any byte of the header may be any other: an error that names the file, or rows."""
    path = here / name
    whole = (save(path), path.read_bytes())[1]
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(whole) if "npz" in name else 128, 150):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        message = f"{name} was not refused"
        try:
            rows = opened.logits([name])
            rows.read(0, rows.n_rows)
        except FileError as error:
            message = str(error)
        assert name in message


LARGE = RNG.standard_normal((700, 50), dtype=np.float32)  # beyond what a header is read with


@pytest.mark.parametrize("name", ["a.npz", "compressed.npz"])
def test_a_bit_of_an_archive_that_flips_gives_no_other_numbers(here, name):
    """At places spread over header, numbers and list: the numbers that were saved, or an error."""
    path = here / name
    whole = (save(path, LARGE), path.read_bytes())[1]
    rng = np.random.default_rng(2)
    n_refused = 0
    for place in np.linspace(0, len(whole) - 1, 150).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        message = name
        try:
            rows = opened.logits([name])
            found = [rows.read(start, start + 100).copy() for start in range(0, 700, 100)]
            np.testing.assert_array_equal(np.concatenate(found), LARGE)
        except FileError as error:
            message = str(error)
            n_refused += 1
        assert name in message
    assert n_refused > 100


def test_the_checksum_of_what_is_stored_is_compared_as_it_is_read(here):
    path = here / "a.npz"
    whole = bytearray((save(path, LARGE), path.read_bytes())[1])
    place = whole.find(LARGE[650].tobytes())
    whole[place] ^= 1
    path.write_bytes(whole)
    rows = opened.logits(["a.npz"])
    for start in range(0, 600, 100):
        np.testing.assert_array_equal(rows.read(start, start + 100), LARGE[start : start + 100])
    # A later process goes on.
    later = opened.logits(["a.npz"])
    later.checked = rows.checked
    for each in (rows, later):
        refused(
            "a.npz:logits is damaged: its numbers do not have the checksum", each.read, 600, 700
        )
    later = opened.logits(["a.npz"])
    later.read(600, 700)  # of the rest alone nothing is known
    refused("is damaged", later.read_all)


def test_nothing_is_read_twice_for_its_checksum(here, monkeypatch):
    save(here / "a.npz", LARGE)
    rows = opened.logits(["a.npz"])
    seen = []
    monkeypatch.setattr(reading, "crc32", lambda view, value: seen.append(len(view)) or zlib.crc32(
        view, value))  # fmt: skip
    for _ in range(3):
        for start in range(0, 700, 70):
            rows.read(start, start + 70)
    assert seen == [70 * 50 * 4] * 10


@pytest.mark.parametrize("n", [0, 1, 5, 1000, 10 * 256 * 1024 + 3])
def test_checksums_of_pieces_are_those_of_the_whole(n, monkeypatch):
    monkeypatch.setattr(checksums, "PIECE", 256 * 1024 if n > 1000 else 3)
    data = np.random.default_rng(0).bytes(n)
    for first in (b"", b"header"):
        found = checksums.crc32(memoryview(data), zlib.crc32(first))
        assert found == zlib.crc32(first + data)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(here, version):
    with open(here / "a.npy", "wb") as file:
        np.lib.format.write_array(file, LOGITS, version=version)
    np.testing.assert_array_equal(opened.logits(["a.npy"]).read_all(), LOGITS)
    np.save(here / "b.npy", np.zeros(3, [("ü", "f4")]))
    refused("b.npy has the structured dtype", opened.logits, ["b.npy"])
    (here / "a.npy").write_bytes(b"\x93NUMPY\x04\0" + (here / "a.npy").read_bytes()[8:])
    refused(r"its format has the version \(4, 0\)", opened.logits, ["a.npy"])


def test_pickles_are_not_read(here):
    class Planted:
        def __reduce__(self):
            return os.mkdir, ("planted",)

    np.save(here / "a.npy", np.array([Planted(), 1], dtype=object), allow_pickle=True)
    np.savez(here / "a.npz", bad=np.array([Planted()], dtype=object), logits=LOGITS)
    refused("a.npy has dtype object: it holds pickles", opened.logits, ["a.npy"])
    refused("a.npz:bad has dtype object: it holds pickles", opened.logits, ["a.npz:bad"])
    assert opened.logits(["a.npz"]).n_rows == 37
    assert not (here / "planted").exists()


def test_what_no_loss_takes_is_refused(here):
    for name, array, message in [
        ("fortran", np.asfortranarray(LOGITS), "Fortran order.*np.ascontiguousarray"),
        ("complex", LOGITS + 1j, "dtype complex"),
        ("text", LOGITS.astype("U8"), "dtype <U8"),
        ("fields", np.zeros(3, [("x", "f4")]), "structured dtype"),
        (
            "flat",
            LOGITS.ravel(),
            r"shape \(185,\), but rows of classes are expected; .*--task binary",
        ),
        ("empty", LOGITS[:, :0], "zero classes"),
        ("number", np.float32(1), r"shape \(\)"),
    ]:
        np.save(here / f"{name}.npy", array)
        refused(f"{name}.npy .*{message}", opened.logits, [f"{name}.npy"])
    np.save(here / "floats.npy", np.zeros(37))
    refused("floats.npy has dtype float64, but labels are class ids, and come before the logits",
            opened.labels, "floats.npy")  # fmt: skip
    refused("no such file", opened.logits, ["missing-*.npy"])
    (here / "a.txt").write_text("1 2 3")
    refused(r"a.txt is of no known format.*np.save\('a.npy', array\)", opened.logits, ["a.txt"])
    (here / "folder.npy").mkdir()
    refused("folder.npy cannot be read", opened.logits, ["folder.npy"])
    with open(here / "more.npy", "wb") as file:
        np.save(file, LOGITS)
        np.save(file, LOGITS)
    refused("more.npy has 1,608 bytes, but an array of shape", opened.logits, ["more.npy"])


@pytest.mark.parametrize(
    "other",
    [LOGITS[:, :4], LOGITS.astype(float), LOGITS.reshape(37, 1, 5)],
    ids=["classes", "dtype", "axes"],
)
def test_shards_that_cannot_be_joined_are_refused(here, other):
    np.save(here / "1.npy", LOGITS)
    np.save(here / "2.npy", other)
    refused(r"2.npy has shape .* cannot be joined to .*1.npy", opened.logits, ["?.npy"])


def test_the_header_of_safetensors_is_not_believed(here):
    def refused_with(message, **entry):
        header = {"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | entry}
        text = json.dumps(header).encode()
        (here / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        refused(message, opened.logits, ["a.safetensors"])

    refused_with("is truncated: x ends at byte", data_offsets=[0, 17])
    refused_with("is truncated: an array", shape=[2, 3])
    refused_with("has 16 bytes, but", shape=[2, 1])
    refused_with("damaged header", shape=[-2, -2])
    refused_with("damaged header", shape=[2.0, 2])
    refused_with("damaged header", data_offsets=[-16, 0])
    refused_with("dtype F8_E4M3, which no loss takes", dtype="F8_E4M3")
    refused_with("the header and x have a gap between them", data_offsets=[4, 16], shape=[3, 1])
    refused_with("4 bytes come after x, which is the last", data_offsets=[0, 12], shape=[3, 1])
    other = {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}
    header = {"x": other | {"shape": [3], "data_offsets": [0, 12]}, "y": other}
    for names, message in [("xy", "x and y overlap"), ("y", "the header and y have a gap")]:
        text = json.dumps({name: header[name] for name in names}).encode()
        (here / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        refused(f"a.safetensors is damaged: {message}", opened.labels, "a.safetensors:y")
    save_safetensors(here / "b.safetensors", x=LOGITS[:0], y=LOGITS, z=LOGITS[:0])
    np.testing.assert_array_equal(opened.logits(["b.safetensors:y"]).read_all(), LOGITS)
    whole = (here / "b.safetensors").read_bytes()
    (here / "b.safetensors").write_bytes(whole + b"x")
    refused("1 bytes come after", opened.logits, ["b.safetensors:y"])
    refused_with("dtype uint16: say what its 16 bits", dtype="U16", shape=[4, 2])


def test_an_encrypted_or_unknown_npz_is_refused(here):
    path = here / "a.npz"
    whole = bytearray((save(path), path.read_bytes())[1])
    buffer = io.BytesIO()
    np.save(buffer, LOGITS)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("logits.npy", buffer.getvalue())
    np.testing.assert_array_equal(opened.logits(["a.npz"]).read_all(), LOGITS)
    for place in (whole.find(b"PK\x01\x02") + 8, whole.find(b"PK\x03\x04") + 6):
        whole[place] |= 1
    path.write_bytes(whole)
    refused("a.npz.*encrypted", opened.logits, ["a.npz"])


def test_a_file_that_changes_while_it_is_read_is_an_error(here):
    path = here / "a.npy"
    rows = opened.logits([save(path)])
    rows.read(0, 5)
    os.truncate(path, path.stat().st_size - 8)
    refused("a.npy ended early", rows.read, 30, 37)
    refused("a.npy was changed while it was read", rows.check_unchanged)


def test_what_is_borrowed_is_what_is_read(here):
    """Mapped where it may be; what is small, misaligned or of two files is read."""
    numbers = RNG.standard_normal((3, 2**20), np.float32)
    for name in ("a.npy", "b.npy"):
        np.save(name, numbers)
    header = b'{"x":{"dtype":"F32","shape":[3,1048576],"data_offsets":[0,12582912]}}'
    odd = len(header).to_bytes(8, "little") + header
    assert len(odd) % 4
    (here / "odd.safetensors").write_bytes(odd + numbers.tobytes())
    both = np.concatenate([numbers, numbers])
    for names, expected in [(["a.npy", "b.npy"], both), (["odd.safetensors"], numbers)]:
        rows = opened.logits(names)
        n = len(expected)
        for start, stop in [(0, 1), (1, 3), (n - 1, n), (n // 2 - 1, n // 2 + 1), (0, n), (1, 1)]:
            np.testing.assert_array_equal(rows.borrow(start, stop), expected[start:stop])
            rows.give_back()
        rows.give_back()  # nothing
        rows.close()


@pytest.mark.skipif(not lending.CAN_LEND, reason="Linux has leases")
def test_a_file_that_is_lent_cannot_be_cut(here):
    """Whoever wants to write to it waits until it is given back, and then it is read."""
    np.save("a.npy", RNG.standard_normal((3, 2**20), np.float32))
    rows = opened.logits(["a.npy"])
    lent = rows.borrow(0, 3)
    if lent.flags.writeable:
        pytest.skip("this file system gives no leases, or has not cached the file")
    writing = os.O_WRONLY | os.O_NONBLOCK  # or this would wait for itself
    with pytest.raises(BlockingIOError):
        os.open("a.npy", writing)
    rows.give_back()
    with open(os.open("a.npy", writing), "wb") as file:
        assert rows.borrow(0, 3).flags.writeable
        file.truncate(2**20)
    refused("a.npy ended early", rows.borrow, 0, 3)
    rows = opened.logits([save(here / "b.npy", np.zeros((3, 2**20), np.float32))])
    assert not rows.borrow(0, 3).flags.writeable
    rows.give_back()
    os.truncate("b.npy", 2**20)
    refused("b.npy ended early", rows.borrow, 0, 3)
