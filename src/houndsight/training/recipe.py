"""The fine-tuning recipe: every knob of a training, with its meaning under it."""

from __future__ import annotations

from dataclasses import dataclass

from houndsight.config import Settings, setting

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """How the last stage and the head of a classifier are trained."""

    section = "training"

    epochs: int = setting(10, minimum=1, maximum=100_000)
    """Passes over the training photos. They fix the learning-rate schedule, also when time runs
    out."""
    seed: int = setting(0, minimum=0)
    """Decides order, augmentation and dropout; the same seed gives the same weights on the same
    CPU."""
    trainable: str = setting("stage", choices=("head", "stage", "all"))
    """What is trained: the head alone, the backbone's last stage too, or everything (needs photos,
    not cached activations, and a GPU to be pleasant)."""
    optimizer: str = setting("adamw", choices=("adamw", "sgd"))
    """AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum."""
    learning_rate: float = setting(1e-4, minimum=0.0, maximum=10.0)
    """Peak learning rate of the backbone's topmost block."""
    head_learning_rate: float = setting(5e-4, minimum=0.0, maximum=10.0)
    """Peak learning rate of the head."""
    layer_decay: float = setting(0.75, minimum=0.0, maximum=1.0)
    """Each block below the topmost learns this many times as fast as the one above it (Clark et
    al. 2020, ELECTRA)."""
    momentum: float = setting(0.9, minimum=0.0, maximum=0.999)
    """Momentum of SGD; AdamW has its own."""
    weight_decay: float = setting(0.02, minimum=0.0, maximum=10.0)
    """Decay of matrices and filters; biases and normalisation layers have none."""
    clip_norm: float = setting(1.0, minimum=0.0)
    """The gradient is scaled down to this norm; 0 leaves it."""
    batch_size: int = setting(32, minimum=1, maximum=65_536)
    """Photos in a forward pass, over all processes together."""
    accumulation: int = setting(1, minimum=1, maximum=4096)
    """Batches whose gradients are added up before the optimizer steps."""
    warmup_share: float = setting(0.1, minimum=0.0, maximum=1.0)
    """Share of the steps in which the learning rate rises to its peak; a cosine brings it down
    after."""
    label_smoothing: float = setting(0.1, minimum=0.0, maximum=0.9)
    """Share of a label's probability that is spread over all classes (Szegedy et al. 2016)."""
    mixup: float = setting(0.0, minimum=0.0, maximum=10.0)
    """Parameter of the beta distribution that blends pairs of photos (Zhang et al. 2018); 0 is
    off."""
    cutmix: float = setting(0.0, minimum=0.0, maximum=10.0)
    """The same for pasting a box of one photo into another (Yun et al. 2019); 0 is off. With both
    on, each batch takes one of them by chance."""
    flip: bool = setting(True)
    """Mirror every second photo; turn it off where left and right differ in meaning."""
    crop_scale: float = setting(0.5, minimum=0.01, maximum=1.0)
    """Smallest share of a photo's area that a random crop keeps; 1 takes the whole photo. Needs
    photos."""
    randaugment: int = setting(0, minimum=0, maximum=30)
    """Magnitude of RandAugment (Cubuk et al. 2020), of 31; 0 is off. Needs photos."""
    randaugment_operations: int = setting(2, minimum=1, maximum=10)
    """How many operations RandAugment applies to a photo."""
    balance: str = setting("none", choices=("none", "weights", "sampling", "logit_adjustment"))
    """How class imbalance is treated: not at all, by weights in the loss, by drawing rare classes
    more often, or by logit adjustment (Menon et al. 2021)."""
    balance_strength: float = setting(1.0, minimum=0.0, maximum=2.0)
    """How strongly: 0 not at all, 1 in full."""
    batch_norm: str = setting("frozen", choices=("frozen", "updated"))
    """Whether the trained stage's BatchNorm keeps its pretrained statistics or follows the
    batches. The frozen trunk always keeps them."""
    ema_decay: float = setting(0.0, minimum=0.0, maximum=0.99999)
    """Decay a step of the moving average of the weights that is evaluated and kept; 0 is off."""
    patience: int = setting(5, minimum=0)
    """Epochs without a better validation loss before it stops; 0 never stops early."""
    precision: str = setting("auto", choices=("auto", "fp32", "bf16", "fp16"))
    """Arithmetic of the forward pass. `auto`: bf16 on a GPU that has it, else fp16 with a gradient
    scaler; on a CPU bf16 only where it has the instructions, else fp32."""
    device: str = setting("auto", choices=("auto", "cpu", "cuda"))
    """Where it trains; `auto` takes a GPU when there is one."""
    channels_last: bool = setting(True)
    """Keep images and filters with channels innermost, which convolutions are quickest with."""
    checkpoint_every_epochs: int = setting(1, minimum=1)
    """How often the state is saved; at most this many epochs are repeated after a crash."""
