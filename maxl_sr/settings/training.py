"""The sections ``path``, ``train``, ``val`` and ``logger``: the keys of BasicSR and those of this package."""

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import ConfigDict, Field

from maxl_sr.settings.adaptation import Adapt, Compute, InnerLoop, VirtualStep
from maxl_sr.settings.components import KindRule, LossSection, ObjectiveSection
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import FINITE, Needed, PlainFlag, PlainNumber, Text, WholeCount, WholeIndex


class Open(Section):
    """A section of BasicSR, where a plug-in may read further keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra='allow')


class Optimizer(Open):
    """An optimiser of BasicSR.

    Attributes:
        type: Its class in ``torch.optim``.
        lr: Learning rate.
        betas: Decay rates of Adam's averages.
        weight_decay: Weight of the squared weights.
    """

    type: Text
    lr: Annotated[PlainNumber, Field(gt=0)]
    betas: tuple[PlainNumber, PlainNumber] | None = None
    weight_decay: PlainNumber | None = None


class Scheduler(Open):
    """The schedule of the learning rates.

    Attributes:
        type: Which schedule.
        milestones: Iterations at which ``MultiStepLR`` multiplies the rate by `gamma`.
        gamma: Factor of ``MultiStepLR``.
        periods: Lengths of the periods of ``CosineAnnealingRestartLR``, in iterations.
        restart_weights: Factor of the rate in each of the periods.
        eta_min: Least rate.
    """

    type: Literal['MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR']
    milestones: list[WholeIndex] | None = None
    gamma: PlainNumber | None = None
    periods: list[WholeCount] | None = None
    restart_weights: list[PlainNumber] | None = None
    eta_min: PlainNumber | None = None


class Schedule(Section):
    """``train`` of every model: how long, and at which rates.

    Attributes:
        total_iter: Number of iterations.
        warmup_iter: Iterations in which the learning rate rises from 0; -1: none.
        ema_decay: Decay of the running average of the weights; 0: there is none.
        optim_g: Optimiser of the network.
        scheduler: Schedule of the learning rates.
    """

    total_iter: WholeCount
    warmup_iter: Annotated[float, FINITE, Ge(-1)] = -1
    ema_decay: Annotated[float, FINITE, Ge(0), Le(1)] = 0
    optim_g: Optimizer
    scheduler: Scheduler


class Losses(Section):
    """``train`` of the models of this package: what is minimised.

    Attributes:
        pixel_opt: L_pri, a loss of the restored and the clean image.
        aux_opt: L_aux, the inner objective; null: nothing adapts in training.
        mask_opt: L_G, a loss of the mask and the input; null: none.
        optim_m: Optimiser of the mask network, as ``optim_g``.
    """

    pixel_opt: LossSection
    aux_opt: ObjectiveSection | None = None
    mask_opt: LossSection | None = None
    optim_m: Annotated[Optimizer | None, Needed('with ``network_m``')] = None


class MAXLOwn(Section):
    """``train`` of ``MAXLModel``.

    Attributes:
        alternate_every: So many iterations train the network, then as many the mask network, and so on; at least 1;
            'epoch': an epoch of each.
        inner: The virtual step, :class:`VirtualStep`.
    """

    alternate_every: Annotated[WholeCount | Literal['epoch'] | None, Needed('with ``network_m``')] = None
    inner: VirtualStep | None = Field(default_factory=VirtualStep)


class MetaTransferOwn(Section):
    """``train`` of ``MetaTransferModel``.

    Attributes:
        inner: The inner steps, :class:`InnerLoop`.
        optim_r: Optimiser of the learned inner rates, as ``optim_g``.
    """

    inner: InnerLoop | None = Field(default_factory=InnerLoop)
    optim_r: Annotated[Optimizer | None, Needed('with ``learn_lr``')] = None


class MAXLTrain(MAXLOwn, Losses, Compute, Schedule):
    """``train`` of a ``MAXLModel``, all of it."""


class MetaTransferTrain(MetaTransferOwn, Losses, Compute, Schedule):
    """``train`` of a ``MetaTransferModel``, all of it."""


class NetworkPath(Section):
    """``path``: where the weights to begin with are.

    Attributes:
        pretrain_network_g: Checkpoint of the network, or ``weights/NAME.pth`` of the package.
        param_key_g: Which weights of that file, such as ``params_ema``.
        strict_load_g: Whether that file must hold all weights of the network, and no others.
        resume_state: Training state to go on from.
        ignore_resume_networks: Networks that begin anew where a training goes on.
    """

    pretrain_network_g: Text | None = None
    param_key_g: Text | None = 'params'
    strict_load_g: PlainFlag = True
    resume_state: Text | None = None
    ignore_resume_networks: list[Text] | None = None


class MaskPath(Section):
    """``path`` of the models of this package.

    Attributes:
        pretrain_network_m: Checkpoint of the mask network, or ``weights/NAME.pth`` of the package, as
            ``pretrain_network_g``.
        param_key_m: Which weights of that file.
        strict_load_m: Whether that file must hold all weights of the network, and no others.
    """

    pretrain_network_m: Text | None = None
    param_key_m: Text | None = 'params'
    strict_load_m: PlainFlag = True


class AdaptivePath(MaskPath, NetworkPath):
    """``path`` of the models of this package, all of it."""


class Metric(Open):
    """A metric: any of BasicSR's or of this package's, with its arguments.

    Attributes:
        type: Its name.
        crop_border: Width of the border that is left out, in pixels.
        test_y_channel: Whether it is computed on the luma alone.
        better: Whether 'higher' or 'lower' figures are better.
        input_order: Order of the axes; images are tested as HWC.
    """

    type: Annotated[Text, KindRule('metric_name')]
    crop_border: Annotated[int, Field(strict=True, ge=0)] | None = None
    test_y_channel: PlainFlag | None = None
    better: Literal['higher', 'lower'] = 'higher'
    input_order: Literal['HWC'] | None = None


class Validation(Section):
    """``val`` of every model.

    Attributes:
        val_freq: Iterations from one validation to the next.
        save_img: Whether the restored images are written.
        suffix: Text at the end of the names of these images; null: the name of the option file.
        pbar: Whether there is a progress bar.
        metrics: The metrics, each under the name of its figure.
    """

    val_freq: Annotated[WholeCount | None, Needed('in training')] = None
    save_img: PlainFlag
    suffix: Text | None = None
    pbar: PlainFlag = True
    metrics: dict[str, Metric] | None = None


class AdaptiveOwn(Section):
    """``val`` of the models of this package.

    Attributes:
        adapt: Adaptation, :class:`Adapt`; null: the network is tested as it is.
    """

    adapt: Adapt | None = None


class AdaptiveValidation(AdaptiveOwn, Validation):
    """``val`` of the models of this package, all of it."""


class Wandb(Section):
    """Weights & Biases.

    Attributes:
        project: Name of the project; null: it is not used.
        resume_id: Run to go on with.
    """

    project: Text | None = None
    resume_id: Text | None = None


class Logger(Section):
    """``logger``: what a training writes down.

    Attributes:
        print_freq: Iterations from one line of the log to the next.
        save_checkpoint_freq: Iterations from one checkpoint to the next.
        use_tb_logger: Whether it writes for TensorBoard.
        wandb: Weights & Biases.
    """

    print_freq: WholeCount
    save_checkpoint_freq: WholeCount
    use_tb_logger: PlainFlag
    wandb: Wandb | None = None


class Distributed(Section):
    """``dist_params``: how several processes find each other.

    Attributes:
        backend: Backend of ``torch.distributed``.
        port: Port of the first process.
    """

    backend: Any = 'nccl'
    port: WholeCount = 29500
