"""The keys of the data sets in an option file."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import ConfigDict, Field

from maxl_sr.data.degradation import Degradation
from maxl_sr.data.noise import Noise
from maxl_sr.data.pair_augmentation import PairAugmentation
from maxl_sr.settings.components import KindRule
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import (
    FINITE,
    NUMBER,
    Needed,
    Pair,
    PlainCount,
    PlainFlag,
    PlainIndex,
    Positive,
    Text,
    WholeCount,
    WholeIndex,
    wanted,
)

BY_BASICSR = ('phase', 'scale')  # keys that BasicSR puts into the section of a data set
ABSENT: Any = None  # default of a key that can be left out in validation and test, but cannot be null
SetSection = Annotated[dict[str, Any], KindRule('set')]


class Backend(Section):
    """``io_backend`` of a data set: how its files are read; further keys are those of BasicSR's backends.

    Attributes:
        type: 'disk' for files, 'lmdb' for an LMDB, or another of BasicSR's backends.
    """

    model_config = ConfigDict(extra='allow')
    type: Literal['disk', 'lmdb', 'memcached', 'petrel']


class Loader(Section):
    """What BasicSR reads from the section of every data set.

    Attributes:
        name: Name of the data set, in the log and of the folder of its results.
        batch_size_per_gpu: Number of samples of a batch.
        num_worker_per_gpu: Number of processes that read; 0: the training reads itself.
        dataset_enlarge_ratio: How many times an epoch goes through the data set.
        prefetch_mode: Whether batches are read ahead, by the 'cpu' or by 'cuda'; null: by the workers alone.
        num_prefetch_queue: Number of batches that are read ahead.
        pin_memory: Whether batches lie in pinned memory.
        persistent_workers: Whether the processes stay for the next epoch.
        use_shuffle: Whether the order is random.
        resume_from: Iteration at which a resumed training begins.
        epoch_iterations: Iterations of an epoch, counted by the loader.
    """

    name: Text | None = None
    batch_size_per_gpu: WholeCount | None = None
    num_worker_per_gpu: WholeIndex | None = None
    dataset_enlarge_ratio: WholeCount = 1
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: WholeCount = 1
    pin_memory: PlainFlag = True
    persistent_workers: PlainFlag = False
    use_shuffle: PlainFlag = True
    resume_from: Any = None
    epoch_iterations: Any = None


class Crop(Section):
    """What the training makes of an image, and validation and test.

    Attributes:
        center_crop: Validation and test: side of the central crop of the input, in pixels; null: the whole image.
        gt_size: Side of the random square crop of the clean image, in pixels; a multiple of the scale.
        use_hflip: Whether images are flipped left to right at random.
        use_rot: Whether images are flipped up and down and transposed at random.
    """

    center_crop: PlainCount | None = None
    gt_size: Annotated[PlainCount, Needed('in training')] = ABSENT
    use_hflip: Annotated[PlainFlag, Needed('in training')] = ABSENT
    use_rot: Annotated[PlainFlag, Needed('in training')] = ABSENT


class CleanImages(Section):
    """What the data sets share that degrade clean images.

    Attributes:
        dataroot_gt: Folder or LMDB of clean images.
        io_backend: ``type: disk``, or ``type: lmdb``.
        seed: Seed of the degradation of validation and test, which is fixed; at least 0.
        grey: Share of the images that are turned to grey, noise and all, from 0 to 1.
        light: Range of the factor by which the clean image is made darker or lighter before it is degraded.
    """

    dataroot_gt: Text
    io_backend: Backend
    seed: PlainIndex | None = 0
    grey: Annotated[float, FINITE, Ge(0), Le(1), NUMBER, wanted('a number of at least 0 and at most 1')] = 0
    light: Annotated[Pair[Positive], wanted('a range [low, high] of numbers greater than 0')] | None = None


class SyntheticNoiseOwn(Crop, CleanImages):
    """``SyntheticNoiseDataset``.

    Attributes:
        noise: Kinds of noise and their strengths, :class:`~maxl_sr.data.noise.Noise`.
        center_crop: Validation and test: side of the central crop of the clean image, in pixels; null: the whole image.
        gt_size: Side of the random square crop of the clean image, in pixels.
    """

    noise: Noise | None = Field(default_factory=Noise)


class SyntheticNoise(SyntheticNoiseOwn, Loader):
    """The section of a ``SyntheticNoiseDataset``."""

    type: Literal['SyntheticNoiseDataset'] = 'SyntheticNoiseDataset'


class SyntheticDegradationOwn(Crop, CleanImages):
    """``SyntheticDegradationDataset``.

    Attributes:
        degradation: Blur, sub-sampling, noise and compression, :class:`~maxl_sr.data.degradation.Degradation`.
        center_crop: Validation and test: side of the central crop of the clean image, in pixels; null: the whole image.
    """

    degradation: Degradation | None = Field(default_factory=Degradation)


class SyntheticDegradation(SyntheticDegradationOwn, Loader):
    """The section of a ``SyntheticDegradationDataset``."""

    type: Literal['SyntheticDegradationDataset'] = 'SyntheticDegradationDataset'


class Pairs(Section):
    """One set of pairs of images.

    Attributes:
        dataroot_gt: Folder or LMDB of clean images.
        dataroot_lq: Folder or LMDB of noisy (blurred, small) images, of the same names.
        io_backend: ``type: disk``, or ``type: lmdb``.
        filename_tmpl: Name, without suffix, of the noisy image that belongs to the clean one named ``{}``.
        meta_info_file: Text file that lists the clean images to be used, one in a line.
        augment: Training: changes of the pairs, :class:`~maxl_sr.data.pair_augmentation.PairAugmentation`; for scale 1.
    """

    dataroot_gt: Annotated[Text, Needed('without ``sets``')]
    dataroot_lq: Annotated[Text, Needed('without ``sets``')]
    io_backend: Annotated[Backend, Needed('without ``sets``')]
    filename_tmpl: Text = '{}'
    meta_info_file: Text | None = None
    augment: PairAugmentation | None = None


class PairSet(Pairs):
    """One of the ``sets`` of a ``MixedPairedDataset``.

    Attributes:
        name: A name, for the reader.
        type: That of BasicSR's pairs; it can be left out.
    """

    name: Any = None
    type: Literal['PairedImageDataset'] = 'PairedImageDataset'


class Sets(Section):
    """Several sets at once.

    Attributes:
        sets: In training: the sets, each with the keys from ``dataroot_gt`` to ``augment`` below, or with
            ``type: SyntheticNoiseDataset`` or ``type: SyntheticDegradationDataset`` and the keys of that. Without
            ``sets`` the keys of one set of pairs stand in the section itself.
        by: What is drawn equally often: each 'set', whatever its size, or each 'image' of all of them.
    """

    sets: Annotated[list[SetSection], Needed('for several sets')]
    by: Literal['set', 'image'] = 'set'


class MixedPairs(Pairs, Crop, Loader):
    """The section of a ``MixedPairedDataset`` of one set."""

    type: Literal['MixedPairedDataset'] = 'MixedPairedDataset'


class MixedSets(Sets, Crop, Loader):
    """The section of a ``MixedPairedDataset`` of several sets."""

    type: Literal['MixedPairedDataset'] = 'MixedPairedDataset'
