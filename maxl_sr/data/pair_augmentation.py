"""Other noise from real pairs: stronger and weaker, coarser and finer, of other colours."""

import cv2
import numpy as np

from maxl_sr.data.degradation import Quality, compress
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import Flag, NotNegative, Pair, Positive, Share


class PairAugmentation(Section):
    """``augment`` of :class:`~maxl_sr.data.mixed_paired_dataset.MixedPairedDataset`: changes of the pairs in training.

    Every visit of a pair draws them anew. A real pair shows the noise of one camera at one sensitivity; these make
    others of it, with its correlations.

    Attributes:
        noise_scale: Range of the factor of the difference between the noisy and the clean image.
        resize: Range of the factor by which both images are resized (bicubic; smaller ones by area), before they are
            cropped to ``gt_size``.
        shuffle_channels: Whether the colours are permuted, the same in both images.
        grey: Share of the pairs that are turned to grey, by a random weighting of the colours.
        jpeg: Range of the quality of a JPEG compression of the noisy image; null: none.
        jpeg_share: Share of the pairs that are compressed.
    """

    noise_scale: Pair[NotNegative] = (1.0, 1.0)
    resize: Pair[Positive] = (1.0, 1.0)
    shuffle_channels: Flag = False
    grey: Share = 0.0
    jpeg: Pair[Quality] | None = None
    jpeg_share: Share = 0.5


def augment_pair(noisy: np.ndarray, clean: np.ndarray, size: int, augmentation: PairAugmentation,
                 rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return `noisy` and `clean` (H, W, C; float32 in [0, 1]) as `augmentation` changes them, ``(size, size, C)``.

    Examples:
        >>> noisy, clean = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
        >>> options = PairAugmentation(noise_scale=(0.5, 0.5))
        >>> noisy, clean = augment_pair(noisy, clean, 24, options, np.random.default_rng(0))
        >>> noisy.shape
        (24, 24, 3)
    """
    factor = rng.uniform(*augmentation.resize)
    height, width = (max(round(side * factor), size) for side in clean.shape[:2])
    if (height, width) != clean.shape[:2]:
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        noisy, clean = (cv2.resize(image, (width, height), interpolation=method) for image in (noisy, clean))
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    noisy, clean = (image[top:top + size, left:left + size] for image in (noisy, clean))
    noisy = clean + np.float32(rng.uniform(*augmentation.noise_scale)) * (noisy - clean)
    if augmentation.shuffle_channels:
        order = rng.permutation(clean.shape[-1])
        noisy, clean = noisy[..., order], clean[..., order]
    if augmentation.grey and rng.random() < augmentation.grey:
        weights = rng.dirichlet(np.ones(clean.shape[-1])).astype(np.float32)
        noisy, clean = (np.repeat((image @ weights)[..., None], image.shape[-1], 2) for image in (noisy, clean))
    if augmentation.jpeg is not None and rng.random() < augmentation.jpeg_share:
        # The images are RGB, and JPEG wants BGR: its chroma is of other colours than the luma
        bgr = np.ascontiguousarray(noisy[..., ::-1].clip(0, 1))
        noisy = compress(bgr, augmentation.jpeg, (1, 1), rng)[..., ::-1]
    return noisy.clip(0, 1), clean.clip(0, 1)
