"""How libraries say that memory ran out."""

import sys

# Of torch's allocator on a CPU, oneDNN, C++, MKL, OpenCV, libvips and CUDA's libraries: a RuntimeError or alike each
_SIGNS = ('defaultcpuallocator', 'could not create a primitive', 'could not create a memory', 'bad_alloc',
          'out of memory', 'out_of_memory', 'not enough memory', 'insufficient memory', 'cannot allocate memory',
          "can't allocate memory", 'unable to allocate', 'alloc_failed', 'could not allocate',
          'memory allocation failed')


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory, whichever library it comes from."""
    # Without torch there is none of its errors; it is not loaded to ask
    of_torch = getattr(sys.modules.get('torch'), 'OutOfMemoryError', MemoryError)
    if isinstance(error, (of_torch, MemoryError)):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)
