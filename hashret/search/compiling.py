"""How kernels are compiled, and the single machine instructions they need.

What numba compiled for a function it keeps beside the source, and uses again while that one file is
unchanged. But the functions it calls are compiled into it: so here every kernel's stamp is that of
all files of kernels, and a change to one compiles them all anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hashret.search.engine import kernels_stamp


def kernel(*, allocates: bool = False, inline: bool = False) -> Callable[[Any], Any]:
    """Compile a function for arrays when it is first called; it releases the interpreter's lock.

    Args:
        allocates: whether it makes arrays. One that does not counts no references either, which in
            a small function that passes many arrays on would take longer than its work.
        inline: whether it is copied into what calls it.
    """

    def compile_lazily(function: Any) -> Any:
        how = "always" if inline else "never"
        compiled = njit(nogil=True, _nrt=allocates, inline=how)(function)
        try:
            compiled.enable_caching()
            file = compiled._cache._cache_file
            if file._source_stamp != compiled._cache._impl.locator.get_source_stamp():
                raise AttributeError("numba's stamps are not where they were")
            file._source_stamp = kernels_stamp()
        except (RuntimeError, AttributeError, OSError):
            # No folder may be written to, or numba keeps its stamps elsewhere: then nothing is
            # kept, which costs each process the time to compile, but is never out of date.
            compiled = njit(nogil=True, _nrt=allocates, inline=how)(function)
        return compiled

    return compile_lazily


@intrinsic
def bit_count(_context: Any, _word: Any) -> Any:
    """Count the bits set in a ``uint64``; the result is a ``uint64``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch(_context: Any, array: Any, _position: Any) -> Any:
    """Ask for the cache line of ``array[_position]``, without waiting for it and without a fault.

    A core waits about 100 ns for a line that is in no cache, but some forty lines may be on their
    way at once: asking for many before the first is used is what makes random access fast.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer_type = ir.IntType(8).as_pointer()
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), pointer_type)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer_type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        for_reading, keep_in_all_caches, data_not_code = (number(0), number(3), number(1))
        builder.call(function, [pointer, for_reading, keep_in_all_caches, data_not_code])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate
