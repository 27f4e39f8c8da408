"""What this package adds to ``train`` and ``val``: how a training computes, inner steps, adaptation and its guard."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Le
from pydantic import Field

from maxl_sr.settings.components import ObjectiveSection
from maxl_sr.settings.section import Section, parse
from maxl_sr.settings.types import NO, Count, Flag, NotNegative, Positive, ShareBelow1

MOST_STEPS = 10_000  # of the inner loop: more are a slip of the keyboard, and fill the memory
Steps = Annotated[Count, Le(MOST_STEPS)]
Params = Literal['heads', 'all', 'gains', 'input']


class Compute(Section):
    """``train`` itself: how a training computes.

    Attributes:
        autocast: 'no': float32; 'bf16': the networks compute in bfloat16 where torch's autocast has it, which changes
            gradients by up to 0.5 %.
        cuda_graph: Whether an iteration is captured as a CUDA graph; for a training on one GPU.
    """

    autocast: Annotated[Literal['no', 'bf16'], NO[0], NO[1]] = 'no'
    cuda_graph: Flag = True

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> 'Compute':
        """Return what the section ``train`` says, refusing as :func:`parse`."""
        return parse(cls, {key: train[key] for key in cls.model_fields if key in train}, 'train')


class VirtualStep(Section):
    """``train: inner`` of ``MAXLModel``: the virtual step of MAXL, ``θ⁺ = θ − lr · ∇(L_pri + L_aux)``.

    Attributes:
        lr: Step size; the mask network learns from the network after this step, which is then undone.
    """

    lr: Positive = 1e-3


class InnerLoop(Section):
    """``train: inner`` of ``MetaTransferModel``: K steps ``θ' ← θ' − lr · loss_weight · ∇L_aux`` for every sample.

    Attributes:
        steps: Number of steps K.
        lr: Inner rate; with `learn_lr` the learned rates begin with ``lr · loss_weight``, unless those of
            ``pretrain_network_g`` are there to go on with.
        loss_weight: Weight λ_in of the inner objective.
        params: What adapts: the heads of the network, all of its weights, a gain of every channel of its layers, or an
            offset of every pixel of the input.
        meta_gradient: 'stored' (exact, keeps the graphs of the K steps, fastest), 'replay' (exact, keeps the weights of
            the K steps alone and computes each step again on the way back), 'first_order' (without second derivatives,
            and so without a gradient into the mask), or 'auto': 'stored' where the graphs fit into half of the free
            memory, otherwise 'replay'.
        learn_lr: Whether the inner rates are learned: one for every 'tensor' that adapts or for every 'parameter', or
            'no'. Needs ``train: optim_r``.
        per_step: Whether every step has learned rates of its own.
        samples: Whether the samples of a batch adapt 'one_by_one' or 'together', in fewer and larger kernels, for a
            GPU; 'together' needs ``autocast: no``.
        unadapted_weight: Weight, in the outer loss, of L_pri before the first step, for a network that shall be good
            un-adapted, too.
    """

    steps: Steps = 5
    lr: Positive = 5e-5
    loss_weight: Positive = 10.0
    params: Params = 'heads'
    meta_gradient: Literal['auto', 'stored', 'replay', 'first_order'] = 'auto'
    learn_lr: Annotated[Literal['no', 'tensor', 'parameter'], NO[0], NO[1]] = 'no'
    per_step: Flag = False
    samples: Literal['one_by_one', 'together'] = 'one_by_one'
    unadapted_weight: NotNegative = 0.0


class GuardOptions(Section):
    """``val: adapt: guard``: whether, and how far, an image is adapted to.

    See :class:`maxl_sr.meta.Guard`.

    Attributes:
        margin: Adapted weights are kept if they lower the guard's objective by more than this part of its value at the
            trained weights, below its value at the weights kept before.
        every: Number of steps between two looks; the last step is looked at in any case.
        patience: After so many looks in a row that kept nothing, the steps end; null: never.
        aux_opt: The guard's objective: an inner objective, which estimates the error of the restored image; it gets no
            mask.
    """

    margin: ShareBelow1 = 0.05
    every: Count = 1
    patience: Count | None = None
    aux_opt: ObjectiveSection = Field(default_factory=lambda: {'type': 'SURELoss', 'window': 64})


class Adapt(Section):
    """``val: adapt``: adaptation at test time, from the trained weights for every image.

    Attributes:
        steps: Number of steps K.
        lr: Step size, for 'adam' in Adam's unit; null: the inner rates learned in training, 1e-5 where there are none.
        params: What adapts: the heads of the network, all of its weights, a gain of every channel of its layers, or an
            offset of every pixel of the input.
        optimizer: Plain gradient steps or Adam; learned rates are those of 'sgd'.
        aux_opt: Inner objective; null: that of ``train``, ``MaskedReconstructionLoss`` where there is none.
        guard: The guard, :class:`GuardOptions`; null: all steps are taken, whatever the image.
    """

    steps: Steps = 5
    lr: Positive | None = None
    params: Params = 'heads'
    optimizer: Literal['sgd', 'adam'] = 'sgd'
    aux_opt: ObjectiveSection | None = None
    guard: GuardOptions | None = None

    def with_objective(self, aux_opt: dict[str, Any] | None) -> 'Adapt':
        """Return the section with this inner objective, that of ``train``, checked, where it gives none."""
        return self if self.aux_opt is not None else self.model_copy(update={'aux_opt': aux_opt})
