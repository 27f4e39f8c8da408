"""What is tested on a GPU, looked at where there is none."""

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from tests.meta.test_gpu import ARCHS, OBJECTIVES, PAIR_LOSSES


def registered(registry):
    return {name for name, kind in registry if kind.__module__.startswith('maxl_sr.')}


def test_nothing_registered_is_left_out():
    assert registered(ARCH_REGISTRY) == set(ARCHS)
    assert registered(LOSS_REGISTRY) - {'auto'} == set(OBJECTIVES) | set(PAIR_LOSSES)
