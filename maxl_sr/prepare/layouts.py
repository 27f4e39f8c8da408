"""The kinds of folders that data are made of."""

from typing import NamedTuple


class Layout(NamedTuple):
    """A kind of ROOT.

    Attributes:
        text: What it is, for the help.
        size: Side of a tile where none is given.
        pairs: Whether there are noisy and clean images of one size.
    """

    text: str
    size: int = 0
    pairs: bool = False


LAYOUTS = {
    'div2k': Layout('a folder of clean photos, e.g. DIV2K_train_HR', 480),
    'sidd': Layout('SIDD Small or Medium, sRGB: the folder with Data or with the scene folders', 512, True),
    'polyu': Layout('PolyU: the folder with OriginalImages and CroppedImages', 512, True),
    'nam': Layout('Nam: the folder of the official MAT files, CAMERA/ISO/SCENE.mat, or of the *_real and *_mean images '
                  'of CC15', 0, True),
    'pairs': Layout('pairs of your own: folders lq and gt with images of equal names, or *_noisy and *_clean images',
                    0, True),
    'burst': Layout('bursts of a static scene: a folder of shots, or a folder of such folders; the first shot is the '
                    'noisy image, the mean of the others its ground truth', 0, True),
    'sr': Layout('super-resolution pairs: a folder of *_LR and *_HR images, e.g. Set5/image_SRF_2; kept whole'),
    'gopro': Layout('GoPro: the folder (train, test) of the sequences with blur and sharp, or one of NAME and NAME_gt'),
}
