"""Pickles of arrays, read by an interpreter of our own: arrays, tuples, lists, numbers and text, and nothing else.

A pickle is a program for a machine with a stack and a memo. Python's own unpickler, told to admit NumPy's functions
alone, still hands NumPy whatever state the file says (a crafted dtype ends the process), and what a few bytes build by
naming a list twice, and that one twice, fills any memory. Here `pickletools` cuts the file into opcodes (protocols 0
to 5), those of no use to arrays are refused, NumPy's functions are names whose meaning is written out below, and an
array is a simple dtype and a shape that fit its bytes exactly. What comes out is bounded by the length of the file.
"""

from __future__ import annotations

import math
import os
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from libhetero.errors import DataError
from libhetero.files import check_readable
from libhetero.io.kinds import kind_of

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
WITH_VALUE = NUMBERS | TEXTS | BYTES
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MEMO_IN, MEMO_OUT = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
MOST_STEPS = 20_000_000  # opcodes: a list of as many numbers, where an array needs a few
MOST_AXES, MOST = 8, 2**48
DEEPEST = 16  # lists within lists
MANY_TIMES = "it repeats its content many times over"
EXPANSION = 4  # what may come out of a file, in units of its length


class _RefusedError(ValueError):
    """What a pickle holds that is no array, list or number."""


@dataclass(frozen=True)
class _Name:
    """A function or class that the file names; nothing is looked up."""

    text: str


@dataclass(eq=False)
class _Kind:
    """A dtype in the making: its code, and its order of bytes once BUILD has said it."""

    code: str
    order: str = "="


@dataclass(eq=False)
class _Unfilled:
    """An array whose content comes with BUILD."""

    content: Shaped[np.ndarray, "*shape"] | None = None


class _Bounded:
    """A file that is never asked for more than it has left, so that a stated length allocates nothing."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, count: int) -> bytes:
        return self._counted(self.file.read(min(count, self.left)))

    def readline(self) -> bytes:
        return self._counted(self.file.readline())

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        return data


def read_pickle(path: str | os.PathLike) -> Any:
    """Return what a pickle holds: NumPy arrays and scalars, tuples, lists, numbers, text.

    Raises
    ------
    DataError : for a damaged pickle, or one that holds anything else.
    """
    check_readable(path)
    try:
        # of odd escapes in text, which `pickletools` decodes
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
            size = os.fstat(file.fileno()).st_size
            content = _Machine(EXPANSION * size).run(_Bounded(file, size))
        return _Plain(EXPANSION * size).of(content)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        # What Python says of damaged instructions helps nobody.
        damaged = (
            "a call with other arguments than NumPy's" if isinstance(error, TypeError) else "its bytes are damaged"
        )
        kind = kind_of(path)
        if kind is not None and "pickle" not in kind:
            raise DataError(f"{path}: {kind}; expected a pickle of arrays (.pkl), as cryoDRGN keeps them.") from None
        reason = " ".join(str(error).split())[:100] if isinstance(error, _RefusedError) else damaged
        raise DataError(
            f"{path}: refused: not a pickle of arrays alone ({reason}); save it again as NumPy arrays."
        ) from None


class _Machine:
    """The stack and the memo of a pickle's program, which may make `most` bytes of those it holds."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: Any) -> Any:
        """Carry out a program, and return what it leaves."""
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            _expect(step < MOST_STEPS, f"more than {MOST_STEPS} pieces")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in WITH_VALUE:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in MEMO_OUT:
            self.stack.append(self.memo[argument])
        elif name in MEMO_IN:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name not in ("PROTO", "FRAME"):
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        """Make something of what lies on the stack."""
        stack = self.stack
        if name in TUPLES:
            stack.append(tuple(self._taken(len(stack) - TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._taken(self.marks.pop())))
        elif name in ("LIST", "EMPTY_LIST"):
            stack.append(self._taken(self.marks.pop()) if name == "LIST" else [])
        elif name in ("APPEND", "APPENDS"):
            items = self._taken(len(stack) - 1 if name == "APPEND" else self.marks.pop())
            _expect(isinstance(stack[-1], list), "items for something that is no list")
            stack[-1].extend(items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split(" ") if name == "GLOBAL" else self._taken(len(stack) - 2)
            stack.append(_known(words))
        elif name == "REDUCE":
            function, arguments = self._taken(len(stack) - 2)
            _expect(isinstance(function, _Name) and isinstance(arguments, tuple), "a call of something unknown")
            stack.append(self._made(FUNCTIONS[function.text](*arguments)))
        elif name == "BUILD":
            state = stack.pop()
            self._made(_filled(stack[-1], state))
        else:
            raise _RefusedError(f"it uses the opcode {name}")

    def _made(self, value: Any) -> Any:
        """Return a value, its bytes counted: one piece of the file may be asked for any number of times."""
        self.left -= _length(value)
        _expect(self.left >= 0, MANY_TIMES)
        return value

    def _taken(self, start: int) -> list[Any]:
        """Take what lies on the stack from `start` on."""
        _expect(0 <= start <= len(self.stack), "it takes what is not there")
        items = self.stack[start:]
        del self.stack[start:]
        return items


class _Plain:
    """What a program left, as arrays, tuples, lists and numbers, as long as it is in proportion to the file."""

    def __init__(self, most: int) -> None:
        self.left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return a value with its arrays filled; what is named twice counts twice."""
        if isinstance(value, _Unfilled):
            value = value.content
            _expect(value is not None, "an array without content")
        self.left -= 1 + _length(value)
        _expect(self.left >= 0, MANY_TIMES)
        if isinstance(value, tuple | list):
            _expect(depth < DEEPEST, "lists within lists within lists")
            return type(value)(self.of(item, depth + 1) for item in value)
        _expect(not isinstance(value, _Name | _Kind), "a name or a dtype in place of a value")
        return value


def _length(value: Any) -> int:
    """Return the bytes of an array or of bytes, 0 for anything else."""
    if isinstance(value, bytes):
        return len(value)
    return value.nbytes if isinstance(value, np.ndarray | np.generic) else 0


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _RefusedError(otherwise)


def _known(words: list[Any]) -> _Name:
    """Return a name of NumPy's or Python's that pickles of arrays use, whatever their version calls its module."""
    _expect(all(isinstance(word, str) for word in words), "it asks for something without a name")
    text = ".".join(words)
    name = text.replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins.")
    _expect(name in FUNCTIONS or name == NDARRAY, f"it asks for {text[:80]}")
    return _Name(name)


def _dtype(code: Any, *_: Any) -> _Kind:
    _expect(
        isinstance(code, str) and code in DTYPES, f"values of the dtype {code[:20] if isinstance(code, str) else ''}"
    )
    return _Kind(code)


def _reconstruct(kind: Any, *_: Any) -> _Unfilled:
    _expect(kind == _Name(NDARRAY), "an array of an unknown class")
    return _Unfilled()


def _scalar(kind: Any, data: Any) -> Any:
    return _array(data, kind, (), False)[()]


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> Shaped[np.ndarray, "*shape"]:
    return _array(data, kind, shape, order == "F")


def _encode(text: Any, encoding: Any) -> bytes:
    _expect(isinstance(text, str) and encoding in ("latin1", "latin-1"), "text in place of bytes")
    return text.encode("latin1")


def _bytes(*content: Any) -> bytes:
    _expect(not content, "bytes made of something else")
    return b""


NDARRAY = "numpy.ndarray"
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
}


def _filled(target: Any, state: Any) -> Any:
    """Give a dtype its order of bytes, or an array its content; return what it was given."""
    parts = 5 if isinstance(target, _Unfilled) else 2
    _expect(isinstance(state, tuple) and len(state) >= parts, f"a state that is no tuple of at least {parts} values")
    if isinstance(target, _Kind):
        _, order, *rest = state
        plain = tuple(rest[:6]) == (None, None, None, -1, -1, 0) and all(item is None for item in rest[6:])
        _expect(plain and order in ("<", ">", "=", "|"), "a dtype that is not of simple numbers")
        target.order = order
        return order
    _expect(isinstance(target, _Unfilled), "a state for something that has none")
    _, shape, kind, fortran, data, *_ = state
    target.content = _array(data, kind, shape, fortran is True)
    return target.content


def _array(data: Any, kind: Any, shape: Any, fortran: bool) -> Shaped[np.ndarray, "*shape"]:
    """Return bytes as an array, if dtype and shape fit them."""
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    _expect(isinstance(data, bytes | bytearray) and isinstance(kind, _Kind), "an array without bytes or dtype")
    sized = (
        isinstance(shape, tuple) and len(shape) <= MOST_AXES and all(type(n) is int and 0 <= n <= MOST for n in shape)
    )
    _expect(sized, "an array of an odd shape")
    dtype = np.dtype(kind.code).newbyteorder(kind.order)
    _expect(math.prod(shape) * dtype.itemsize == len(data), f"{len(data)} bytes for an array of shape {shape}")
    flat = np.frombuffer(data, dtype) if len(data) else np.zeros(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
