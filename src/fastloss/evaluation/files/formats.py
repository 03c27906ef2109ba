"""Which arrays a file has, and where in it: .npy, .npz, .safetensors, and columns of tables."""

import glob
import json
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...kernels.storage import STORED, dtype_of
from . import tables
from .part import PLAIN, ZIPPED, Arrays, Checksum, FileError, Part, check_size, stamp_of

_SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".arrow", ".feather")
_SAFETENSORS = {stored.in_files: name for name, stored in STORED.items()}
_LONGEST_HEADER = 100_000_000  # bytes, as in the library safetensors


class FileName(str):
    """What a user calls a file, or files, that are to be read: see `located`."""

    __slots__ = ()


# -------------------------------------------------------------------------------------------------
# Names


def find(name: str, n_axes: int) -> list[Part]:
    """The arrays that `name` stands for, in order.

    Without the name of an array it is the only one of the file, or the only one that has `n_axes`
    axes.
    """
    paths, member = located(name)
    return [piece for path in paths for piece in tables.pieces(_open(path, member, n_axes))]


def located(name: str) -> tuple[list[Path], str | None]:
    """The files that `name` stands for, and the array that is meant of each.

    `name` is a file, or a pattern such as "logits-*.npy", whose files come in the order of the
    numbers in their names; "data.npz:logits" is one of several arrays of a file.
    """
    for path, member in _readings(name):
        if Path(path).exists():
            return [Path(path)], member
    for path, member in _readings(name):
        found = sorted(glob.glob(path, recursive=True), key=_in_order)
        if found:
            return list(map(Path, found)), member
    raise FileError(f"{name}: there is no such file, and none that fits it as a pattern")


def _readings(name: str) -> Iterator[tuple[str, str | None]]:
    """As which files, and arrays of theirs, a name can be understood: both may have colons.

    >>> list(_readings("data.npz:a:b"))
    [('data.npz:a:b', None), ('data.npz', 'a:b')]
    """
    yield name, None
    for colon in re.finditer(":", name):
        path, member = name[: colon.start()], name[colon.end() :]
        if path.endswith(_SUFFIXES[1:]):
            yield path, member


def _in_order(name: str) -> list[Any]:
    """A key that puts 2 before 10.

    >>> sorted(["a-10.npy", "a-2.npy"], key=_in_order)
    ['a-2.npy', 'a-10.npy']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))]


def out_of_order(names: Sequence[str]) -> bool:
    """Whether 10 comes before 2, as in the list that a shell makes of a pattern.

    >>> out_of_order(["a-1.npy", "a-10.npy", "a-2.npy"])
    True
    """
    return list(names) == sorted(names) and list(names) != sorted(names, key=_in_order)


def _open(path: Path, member: str | None, n_axes: int) -> Part:
    readers: Mapping[str, Callable[[IO[bytes], Path], Arrays]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".safetensors": _safetensors,
        ".parquet": tables.parquet,
        ".arrow": tables.arrow,
        ".feather": tables.arrow,
    }
    try:
        _check_is_file(path)
        if path.suffix not in readers:
            known = ", ".join(_SUFFIXES)
            save = f"np.save({path.with_suffix('.npy').name!r}, array)"
            raise FileError(f"{path} is of no known format: they are {known}; {save} writes one")
        with open(path, "rb") as file:
            arrays = readers[path.suffix](file, path)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from None
    chosen = _chosen(arrays, path, member, n_axes)
    if isinstance(chosen, FileError):
        raise chosen
    return chosen


def _check_is_file(path: Path) -> None:
    """Raise for a pipe, which would wait for a writer, and can be read only once and in order."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # what a folder is, opening it says
        what = "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
        raise FileError(
            f"{path} is {what}, but is read at several places, and more than once: save what comes "
            f"from it to a file that ends with {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
        )


def _chosen(arrays: Arrays, path: Path, member: str | None, n_axes: int) -> Part | FileError:
    if member is not None:
        return arrays.get(member) or FileError(
            f"{path} has no array named {member}: it has {_listed(arrays)}"
        )
    fitting = [
        part
        for part in arrays.values()
        if len(arrays) == 1 or (isinstance(part, Part) and len(part.shape) == n_axes)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not arrays:
        return FileError(f"{path} holds no array")
    return FileError(f"{path} has {_listed(arrays)}: say which, as in {path}:{next(iter(arrays))}")


def _listed(arrays: Arrays) -> str:
    shown = [
        f"{name} of shape {part.shape}".replace("-1", "n") if isinstance(part, Part) else str(name)
        for name, part in list(arrays.items())[:10]
    ]
    return ", ".join(shown + ["..."] * (len(arrays) > 10)) or "none"


# -------------------------------------------------------------------------------------------------
# Headers


def _npy(file: IO[bytes], path: Path) -> Arrays:
    dtype, shape = _npy_header(file, str(path))
    part = Part(path, None, dtype, shape, file.tell(), PLAIN, stamp_of(file))
    check_size(part, part.stamp[0] - part.offset)
    return {None: part}


def _npy_header(file: IO[bytes], name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape; `file` is then where the numbers begin."""
    versions = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
        # Names of fields are written in another encoding in it, and that is all; an array with
        # fields is refused.
        (3, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        if version not in versions:
            raise ValueError(f"its format has the version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote, or that look like it
            shape, fortran, dtype = versions[version](file)
    except Exception as error:  # the parser fails in a dozen ways
        reason = str(error).partition("\n")[0]
        raise FileError(f"{name} is no .npy file, or a damaged one: {reason}") from None
    if dtype.hasobject:
        raise FileError(
            f"{name} has dtype {dtype}: it holds pickles, which are programs and are not read; "
            "save it with a dtype of numbers"
        )
    if dtype.names is not None or dtype.subdtype is not None:
        raise FileError(f"{name} has the structured dtype {dtype}: save one field of it")
    if fortran and len(shape) > 1:
        raise FileError(
            f"{name} is in Fortran order, in which rows do not lie together: save it with "
            "np.save(path, np.ascontiguousarray(array))"
        )
    if any(length < 0 for length in shape):
        raise FileError(f"{name} is damaged: its header has the shape {shape}")
    return dtype, shape


def _npz(file: IO[bytes], path: Path) -> Arrays:
    arrays: dict[str | None, Part | FileError] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    name = entry.filename.removesuffix(".npy")
                    try:
                        arrays[name] = _npz_member(archive, entry, path, name)
                    except FileError as error:
                        arrays[name] = error
    except OSError:
        raise
    except Exception as error:  # damaged, encrypted, or compressed in a way that nobody knows
        raise FileError(f"{path} is no .npz file, or truncated or damaged: {error}") from None
    return arrays


def _npz_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, name: str) -> Part:
    file = archive.fp
    assert file is not None
    with archive.open(entry) as stream:
        dtype, shape = _npy_header(stream, f"{path}:{name}")
        offset = n_header = stream.tell()
    compressed = entry.compress_type != zipfile.ZIP_STORED
    checksum = None
    if not compressed:
        # The name and the extra field can be longer here than in the list at the end of the file.
        file.seek(entry.header_offset + 26)
        n_name, n_extra = struct.unpack("<HH", file.read(4))
        begin = entry.header_offset + 30 + n_name + n_extra
        offset += begin
        file.seek(begin)
        checksum = Checksum(entry.CRC, zlib.crc32(file.read(n_header)))
    stored = ZIPPED if compressed else PLAIN
    part = Part(path, name, dtype, shape, offset, stored, stamp_of(file), checksum)
    check_size(part, entry.file_size - n_header)
    if not compressed and not entry.file_size == entry.compress_size <= part.stamp[0] - begin:
        raise FileError(f"{part} is damaged: it goes on beyond its end")
    return part


def _safetensors(file: IO[bytes], path: Path) -> Arrays:
    """The format: the length of the header, the header as JSON, all numbers."""
    stamp = stamp_of(file)
    (n_header,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
    if n_header > min(_LONGEST_HEADER, stamp[0] - 8):
        raise FileError(f"{path} is no .safetensors file, or a truncated one")
    try:
        header = json.loads(file.read(n_header))
        header.pop("__metadata__", None)
        arrays: Arrays = {
            name: _tensor(path, name, stamp, 8 + n_header, entry) for name, entry in header.items()
        }
        _check_layout(path, stamp[0] - 8 - n_header, header)
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} is no .safetensors file, or has a damaged header") from None


def _tensor(
    path: Path, name: str, stamp: tuple[int, int], start: int, entry: Mapping[str, Any]
) -> Part | FileError:
    first, end = map(_length, entry["data_offsets"])
    kind, shape = entry["dtype"], tuple(map(_length, entry["shape"]))
    if start + end > stamp[0]:
        raise FileError(
            f"{path} is truncated: {name} ends at byte {start + end:,}, the file at {stamp[0]:,}"
        )
    if kind not in _SAFETENSORS:
        return FileError(f"{path}:{name} has dtype {kind}, which no loss takes: convert it to F32")
    try:
        dtype = stored_as(_SAFETENSORS[kind], f"{path}:{name}").newbyteorder("<")
    except FileError as error:
        return error
    part = Part(path, name, dtype, shape, start + first, PLAIN, stamp)
    check_size(part, end - first)
    return part


def _check_layout(path: Path, n_bytes: int, header: Mapping[str, Any]) -> None:
    """Raise unless each tensor begins where the one before it ends, as the format has it.

    Where two share numbers, or numbers belong to none, one of the entries is wrong.
    """
    place, before = 0, "the header"
    for (first, end), name in sorted(
        (entry["data_offsets"], name) for name, entry in header.items()
    ):
        if first != place:
            how = "overlap" if first < place else "have a gap between them"
            raise FileError(f"{path} is damaged: {before} and {name} {how}: save it again")
        place, before = end, name
    if place != n_bytes:
        raise FileError(
            f"{path} is damaged, or more than one file: {n_bytes - place:,} bytes come after "
            f"{before}, which is the last: save it again, and alone"
        )


def _length(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(number)
    return number


def stored_as(dtype: str, name: str) -> np.dtype[Any]:
    """The dtype of this name, that of the array `name`."""
    try:
        return dtype_of(dtype)
    except ImportError:
        package = STORED[dtype].package
        raise FileError(
            f"{name} holds {dtype}, which NumPy knows by the package {package}: "
            f"pip install {package}"
        ) from None
