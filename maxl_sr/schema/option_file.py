"""A whole option file as a model, for its JSON Schema; one for each of our models, an open one for all others."""

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt
from pydantic import ConfigDict

from maxl_sr.data.sections import Loader
from maxl_sr.settings.components import KindRule, LossSection, NetworkSection
from maxl_sr.settings.section import Section
from maxl_sr.settings.training import (
    AdaptivePath,
    AdaptiveValidation,
    Distributed,
    Logger,
    MAXLTrain,
    MetaTransferTrain,
    NetworkPath,
    Open,
    Optimizer,
    Schedule,
    Validation,
)
from maxl_sr.settings.types import STRICT, PlainCount, PlainFlag, Text, WholeCount, WholeIndex

Dataset = Annotated[dict[str, Any], KindRule('dataset')]


class OtherDataset(Loader):
    """The section of a data set of BasicSR, or of a plug-in.

    Attributes:
        type: Its class.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')
    type: Text


class Training(Open):
    """What the section of the data set of a training needs, whatever its type."""

    name: Text
    type: Text
    batch_size_per_gpu: WholeCount
    num_worker_per_gpu: WholeIndex


class Datasets(Section):
    """``datasets``: one called train, for a training; val, val_1 and so on; for a test test_1 and so on.

    Attributes:
        train: The data set of the training.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')
    __pydantic_extra__: dict[str, Dataset]
    train: Annotated[dict[str, Any], KindRule('training_dataset')] | None = None


class Common(Section):
    """An option file of BasicSR, without what the model decides.

    Attributes:
        name: Name of the experiment, and of its folder.
        model_type: The model.
        scale: Enlargement.
        num_gpu: Number of GPUs, 0 for the CPU, or auto for all there are.
        manual_seed: Seed of all random numbers; null: a random one.
        datasets: The data sets.
        network_g: The network.
        logger: What a training writes down.
        dist_params: How several processes find each other.
        find_unused_parameters: As of ``DistributedDataParallel``.
    """

    name: Text
    model_type: Annotated[Text, KindRule('model_name')]
    scale: PlainCount = 1
    num_gpu: Annotated[int, STRICT, Ge(0)] | Literal['auto']
    manual_seed: Annotated[int, STRICT, Ge(0), Lt(2**31)] | None = None
    datasets: Datasets
    network_g: NetworkSection
    logger: Logger | None = None
    dist_params: Distributed | None = None
    find_unused_parameters: PlainFlag = False


class Adaptive(Common):
    """An option file of one of the models of this package.

    Attributes:
        network_m: The mask network; null: the auxiliary loss is the plain one.
        path: Where the weights to begin with are.
        val: Validation, or test.
    """

    network_m: NetworkSection | None = None
    path: AdaptivePath
    val: AdaptiveValidation | None = None


class MAXLFile(Adaptive):
    """An option file of ``MAXLModel``.

    Attributes:
        train: The training.
    """

    model_type: Literal['MAXLModel']
    train: MAXLTrain | None = None


class MetaTransferFile(Adaptive):
    """An option file of ``MetaTransferModel``.

    Attributes:
        train: The training.
    """

    model_type: Literal['MetaTransferModel']
    train: MetaTransferTrain | None = None


class OtherPath(NetworkPath):
    """``path`` of a model of BasicSR, or of a plug-in."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')


class OtherTrain(Schedule):
    """``train`` of a model of BasicSR, or of a plug-in.

    Attributes:
        optim_g: Optimiser of the network.
        optim_d: Optimiser of the discriminator.
        pixel_opt: Loss of the restored and the clean image.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')
    optim_d: Optimizer | None = None
    pixel_opt: LossSection | None = None


class OtherValidation(Validation):
    """``val`` of a model of BasicSR, or of a plug-in."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')


class OtherFile(Common):
    """An option file of a model of BasicSR, or of a plug-in.

    Attributes:
        path: Where the weights to begin with are.
        train: The training.
        val: Validation, or test.
        network_d: The discriminator.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')
    path: OtherPath
    train: OtherTrain | None = None
    val: OtherValidation | None = None
    network_d: NetworkSection | None = None
