"""The bytes of a text file in whole lines of UTF-8, whatever its compression and encoding, never more than
a piece in memory.
"""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.errors import FileError
from fleetscore.sources.formats import find_misnamed
from fleetscore.sources.request import Request

PIECE_BYTES = 4 << 20
_SPARE_BYTES = 1 << 16  # for the line that the piece before left unfinished
_LINE_LIMIT_BYTES = 64 << 20
_UTF8 = codecs.lookup("utf-8").name
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(request: Request) -> Iterator[bytes]:
    """Pieces of whole lines, in order, the first without a byte order mark.

    Raises FileError `bad_encoding` for bytes that are no text of the declared encoding (UTF-8 is judged
    line by line, later), `too_large` for a line without an end, and what the budget raises.
    """
    rest: list[bytes] = []
    waiting_bytes = 0
    for block in _text_blocks(request):
        end = block.rfind(b"\n") + 1
        if not end:
            rest.append(block)
            waiting_bytes += len(block)
            check_line(request.path, waiting_bytes)
            continue
        yield b"".join([*rest, memoryview(block)[:end]])
        rest, waiting_bytes = ([block[end:]] if end < len(block) else []), len(block) - end
    if rest:
        yield b"".join(rest)


def read_line_views(request: Request, *, in_one_buffer: bool = False) -> Iterator[memoryview]:
    """The pieces of `read_lines`, read without a copy of each; in one buffer a piece is there until the next
    is asked for, and no piece costs the system fresh memory.
    """
    if codecs.lookup(request.settings.encoding).name != _UTF8:
        for piece in read_lines(request):
            yield memoryview(piece)
        return
    rest, is_first, buffer = b"", True, np.empty(0, np.uint8)
    with _opened(request) as stream:
        while True:
            if not in_one_buffer or len(buffer) < len(rest) + PIECE_BYTES:
                buffer = np.empty(len(rest) + PIECE_BYTES + _SPARE_BYTES * in_one_buffer, np.uint8)
            view = _next_view(stream, rest, buffer)
            if len(view) == len(rest):
                break
            request.budget.spend(len(view) - len(rest))
            if is_first:
                _check_start(request.path, bytes(view[:4096]), _UTF8)
                view = view[len(codecs.BOM_UTF8) :] if bytes(view[:3]) == codecs.BOM_UTF8 else view
                is_first = False
            end = _end_of_lines(view)
            rest = bytes(view[end:])
            check_line(request.path, 0 if end else len(rest))
            if end:
                yield view[:end]
    if rest:
        yield memoryview(rest)


def _next_view(stream: pa.NativeFile, rest: bytes, buffer: npt.NDArray[np.uint8]) -> memoryview:
    """What was left, and the next bytes behind it, in the buffer."""
    buffer[: len(rest)] = np.frombuffer(rest, np.uint8)
    view = buffer.data
    count = stream.readinto(view[len(rest) : len(rest) + PIECE_BYTES])
    return view[: len(rest) + count]


def _end_of_lines(view: memoryview) -> int:
    """The place behind the last line end; 0 where there is none."""
    looked = 0
    while looked < len(view):
        looked = min(len(view), max(1 << 16, 8 * looked))
        found = bytes(view[len(view) - looked :]).rfind(b"\n")
        if found >= 0:
            return len(view) - looked + found + 1
    return 0


def check_line(path: str, size_bytes: int) -> None:
    """FileError `too_large` for a line of so many bytes that the file cannot be text of lines."""
    if size_bytes > _LINE_LIMIT_BYTES:
        raise FileError(
            f"{path} has a line of more than {_LINE_LIMIT_BYTES >> 20} MB.",
            fix="It is no text of lines: write it again, or declare its format.",
            code="too_large",
            field=path,
        )


def _text_blocks(request: Request) -> Iterator[bytes]:
    encoding = codecs.lookup(request.settings.encoding).name
    is_first = True
    decoder = None if encoding == _UTF8 else codecs.getincrementaldecoder(encoding)()
    for block in _blocks(request):
        if is_first:
            _check_start(request.path, block, encoding)
        try:
            text = block if decoder is None else decoder.decode(block).encode()
        except UnicodeDecodeError as error:
            raise _bad_encoding(request.path, f"byte {error.start} of a piece is not {encoding}") from error
        yield text.removeprefix(codecs.BOM_UTF8) if is_first else text
        is_first = False
    if decoder is not None and decoder.getstate()[0]:
        raise _bad_encoding(request.path, f"it ends within a character of {encoding}")


def _check_start(path: str, block: bytes, encoding: str) -> None:
    if encoding == _UTF8 and block.startswith(_WIDE_MARKS):
        raise _bad_encoding(path, "it is UTF-16")
    head = block[:4096]
    is_wide = encoding.startswith(("utf-16", "utf-32"))
    misnamed = None if is_wide else find_misnamed(path, head)
    if misnamed is not None:
        raise FileError(f"{path} is {misnamed.what}.", fix=misnamed.fix, code="unreadable_file", field=path)
    if not is_wide and head.count(0) > len(head) // 8:
        raise _bad_encoding(path, "it is binary")


def _blocks(request: Request) -> Iterator[bytes]:
    with _opened(request) as stream:
        while block := stream.read(PIECE_BYTES):
            request.budget.spend(len(block))
            yield block


@contextlib.contextmanager
def _opened(request: Request) -> Iterator[pa.NativeFile]:
    with request.store.open(request.path) as file:
        yield pa.CompressedInputStream(file, request.compression) if request.compression else file


def _bad_encoding(path: str, why: str) -> FileError:
    return FileError(
        f"{path} is no text of the declared encoding: {why}.",
        fix='Set encoding in [data], such as "utf-16" or "cp1252", or write it again as UTF-8.',
        code="bad_encoding",
        field=path,
    )
