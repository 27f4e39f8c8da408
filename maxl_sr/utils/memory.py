"""How libraries say that memory ran out."""

import torch

# torch's allocator on a CPU, oneDNN, C++, MKL, OpenCV, libvips and CUDA's libraries, all of them as a RuntimeError or alike
_SIGNS = ('DefaultCPUAllocator', 'could not create a primitive', 'could not create a memory', 'bad_alloc', 'out of memory',
          'out_of_memory', 'not enough memory', 'Insufficient memory', 'Cannot allocate memory', "can't allocate memory",
          'unable to allocate', 'ALLOC_FAILED', 'could not allocate', 'memory allocation failed')


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory, whichever library it comes from."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(sign.lower() in text for sign in _SIGNS)
