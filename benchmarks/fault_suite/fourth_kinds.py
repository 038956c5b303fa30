"""The kinds of the fourth unseen part.

Written down with the causes and the fixes before any of them was run, by someone who had not
seen the rules, the diagnosis or any result, and who chose the kinds: from the taxonomies of faults
in published projects, and from what people ask.
"""

from __future__ import annotations

from fault_suite.fault import (
    BATCHNORM,
    COLOURED,
    DIFFERS,
    INITIAL,
    NO_MATCH,
    NOT_HELD,
    SCRATCH,
    TOO_HIGH,
    TOO_LOW,
    TRANSFER,
    WRONG_LOSS,
    Fault,
    put,
)

__all__ = ["FOURTH"]

RESIDUAL = ("ghost", "dilated", "gmlp")
"""Networks whose shortcuts can be forgotten."""
SAME = {"evaluation.preprocessing": "as in training"}

FOURTH = (
    # -- the learning rate and its schedule
    Fault(
        # The optimizer was exchanged, and the learning rate left as it was.
        "adam_with_rate_of_sgd",
        put(algorithm="adam", learning_rate=0.1),
        (TOO_HIGH, "exploding-gradient", "optimizer-unsuited"),
        optimizers=("sgd",),
        fix={"learning_rate": 2e-3},
    ),
    Fault(
        "sgd_with_rate_of_adam",
        put(algorithm="sgd", learning_rate=5e-4, momentum=0.0),
        (TOO_LOW, "momentum-wrong", "optimizer-unsuited"),
        optimizers=("adam",),
        fix={"learning_rate": 0.05, "momentum": 0.9},
    ),
    Fault(
        # `LambdaLR(optimizer, lambda epoch: lr)`, which multiplies the rate by what it is given.
        "lambda_returns_rate",
        lambda spec: put(schedule_factor=spec.learning_rate)(spec),
        (TOO_LOW, "schedule-wrong"),
        fix={"schedule": "constant"},
    ),
    Fault(
        # `ExponentialLR(optimizer, 0.01)`: one setting of the script taken for another.
        "exponential_gamma_tiny",
        put(epoch_factor=0.01),
        (TOO_LOW, "schedule-too-short", "schedule-wrong"),
        fix={"schedule": "constant"},
    ),
    Fault(
        # A checkpoint's scheduler was loaded with its weights' names: it had come to its end.
        "schedule_resumed_at_end",
        put(schedule="cosine", schedule_start=143),
        (TOO_LOW, "schedule-too-short", "schedule-wrong"),
        fix={"schedule": "constant"},
    ),
    Fault(
        # A range test before the training, after which the weights were not reset.
        "range_test_not_reset",
        put(sweep=40),
        (TOO_HIGH, "exploding-gradient", "schedule-wrong", *INITIAL),
        fix={"schedule": "constant"},
    ),
    # -- the optimizer and what is done to the weights
    Fault(
        # `SGD(parameters, lr, 5e-4, 0, 0.9)`.
        "momentum_and_decay_swapped",
        put(momentum=5e-4, weight_decay=0.9),
        ("weight-decay-wrong", "momentum-wrong"),
        optimizers=("sgd",),
        fix={"momentum": 0.9, "weight_decay": 5e-4},
    ),
    Fault(
        "l1_penalty_large",
        put(l1=0.01),
        ("weight-decay-wrong", "wrong-loss", "penalty-too-strong"),
        fix={"loss.penalty_factor": 0.0},
    ),
    Fault(
        # The new head was put on after the optimizer was made; the backbone has a small rate.
        "optimizer_before_head_replaced",
        put(held="old head", backbone_factor=0.1),
        (*NOT_HELD[:1], "head-frozen"),
        starts=TRANSFER,
        fix={"optimizer.parameters": "all"},
    ),
    Fault(
        "step_before_backward",
        put(stepped="before backward"),
        ("step-before-backward", "zero-grad-misplaced", "step-missing", "backward-missing"),
        fix={"optimizer.step": True},
    ),
    Fault(
        # `optimizer.step()` indented as the loop over batches is, and not as what is in it.
        "step_outside_loop",
        put(stepped="each epoch"),
        ("step-missing", "step-outside-loop", "zero-grad-misplaced", "training-too-short"),
        fix={"optimizer.step": True},
    ),
    Fault(
        "accumulation_not_divided",
        put(accumulation=16, batch_size=8, divided=False),
        ("accumulation-not-divided", "loss-summed", TOO_HIGH, "exploding-gradient"),
        optimizers=("sgd",),
        fix={"accumulation.divided": True},
    ),
    Fault(
        # `clip_grad_norm_` before `scaler.unscale_`.
        "clipped_before_unscaling",
        put(grad_scale=65536.0, unscaled="after clipping", clip_norm=1.0),
        ("gradient-clipping-wrong", TOO_LOW, "gradients-not-unscaled"),
        optimizers=("sgd",),
        fix={"clip_norm": None},
    ),
    Fault(
        # The averaged weights are put into the model to evaluate it, and left there.
        "average_not_restored",
        put(average=0.99, restored=False),
        (
            "average-not-restored",
            "average-too-slow",
            "weights-overwritten",
            "evaluation-weights-differ",
        ),
        fix={"average.restored": True},
    ),
    Fault(
        # `best.pth` was saved once, before the training.
        "evaluation_of_old_checkpoint",
        put(evaluation_weights="start"),
        ("evaluation-weights-differ", "checkpoint-stale", "weights-overwritten"),
        fix={"evaluation.weights": "of training"},
    ),
    Fault(
        # A larger batch for a larger machine, and as many epochs as before.
        "batch_of_512_for_same_epochs",
        put(batch_size=512, steps=9),
        ("training-too-short", "batch-too-large", TOO_LOW),
        fix={"batch_size": 32},
    ),
    # -- the loss
    Fault(
        # `loss / len(data)` for the mean over an epoch, and then `backward()`.
        "loss_divided_by_photos",
        put(loss_factor=1 / 1200),
        (TOO_LOW, "loss-scaled", "wrong-loss"),
        optimizers=("sgd",),
        fix={"loss.factor": 1.0},
    ),
    Fault(
        "softmax_before_mse",
        put(loss="mse", output="softmax"),
        WRONG_LOSS,
        fix={"loss": "cross_entropy", "remove": "Softmax"},
    ),
    Fault(
        # `BCEWithLogitsLoss` behind a sigmoid.
        "sigmoid_before_bce_with_logits",
        put(loss="bce", output="sigmoid"),
        (*WRONG_LOSS, "sigmoid-before-loss"),
        fix={"loss": "cross_entropy", "remove": "Sigmoid"},
    ),
    # -- labels
    Fault(
        # A table of labels that begins with 1, an output more for it, and folders from 0.
        "labels_from_one",
        put(labels="from one"),
        (*NO_MATCH, *DIFFERS, "labels-off-by-one"),
        fix={"labels.mapping": 1},
    ),
    Fault(
        # `labels.clamp(max=...)` against an index out of range.
        "labels_clamped",
        put(labels="clamped"),
        ("class-imbalance", "labels-clamped", *NO_MATCH),
        fix={"labels.mapping": 1},
    ),
    Fault(
        "labels_shifted_after_dropped_photo",
        put(labels="shifted"),
        NO_MATCH,
        fix={"labels.pairing": "by index"},
    ),
    Fault(
        "cutmix_without_labels",
        put(cutmix="labels kept"),
        ("mixup-labels", "labels-noisy", "wrong-loss", "augmentation-too-strong"),
        fix={"mixup.labels": "as the photos"},
    ),
    # -- photos
    Fault(
        "evaluation_normalised_as_mnist",
        put(evaluation_inputs="mnist"),
        DIFFERS,
        fix=SAME,
    ),
    Fault(
        # In the data set, and once more where the model is called.
        "evaluation_normalised_twice",
        put(evaluation_inputs="twice"),
        (*DIFFERS, "inputs-normalised-twice"),
        fix=SAME,
    ),
    Fault(
        # `photo[:224, :224]` where training makes the whole photo smaller.
        "evaluation_cropped_at_corner",
        put(evaluation_inputs="corner"),
        DIFFERS,
        fix=SAME,
    ),
    Fault(
        "evaluation_exif_ignored",
        put(evaluation_inputs="lying"),
        DIFFERS,
        fix=SAME,
    ),
    Fault(
        # `RandomGrayscale(p=1)`.
        "training_always_grey",
        put(augmentation="grey"),
        (*DIFFERS, "augmentation-too-strong"),
        data=COLOURED,
        fix={"augmentation": "none"},
    ),
    Fault(
        # `ColorJitter(hue=0.5)` where the classes are colours.
        "hue_changes_class",
        put(augmentation="hue"),
        ("augmentation-too-strong", "augmentation-changes-class", "labels-noisy", *DIFFERS),
        data=COLOURED,
        fix={"augmentation": "none"},
    ),
    Fault(
        # `RandomAffine(0, translate=(1, 1))`, meant in pixels.
        "moved_out_of_sight",
        put(augmentation="far moves"),
        ("augmentation-too-strong", *DIFFERS),
        fix={"augmentation": "none"},
    ),
    Fault(
        # `torch.randn(3, 224, 224)`, which stood in for photos in the first trial.
        "inputs_random",
        put(inputs="random"),
        ("inputs-random", "photos-missing", *NO_MATCH),
        fix={"inputs.loading": "the photos"},
    ),
    Fault(
        # Decoded photos kept by file name, and not by path: folders share names.
        "photos_cached_by_name",
        put(inputs="same names"),
        ("photos-duplicated", *NO_MATCH, *DIFFERS),
        fix={"inputs.loading": "by path"},
    ),
    Fault(
        # `photo -= mean; photo /= std` on the array that the data set keeps.
        "normalised_in_place_again",
        put(inputs="normalised in place"),
        ("inputs-normalised-twice", "inputs-not-normalised", *DIFFERS, "inputs-changed-in-place"),
        fix={"inputs.loading": "copied"},
    ),
    # -- which photos
    Fault(
        "sampler_prefers_one_class",
        put(order="mostly one class"),
        ("class-imbalance", "sampler-wrong"),
        fix={"shuffle": True},
    ),
    Fault(
        # `Subset(data, range(400))` of folders that are read one after another.
        "subset_of_sorted_folders",
        put(subset="first third"),
        ("split-by-class", "class-imbalance", "data-cut-short", "small-data"),
        fix={"split": "random"},
    ),
    # -- the network
    Fault(
        # `nn.Linear(...)(rows)` in `forward`.
        "head_made_in_forward",
        put(head_remade=True),
        ("layer-made-in-forward", "weights-redrawn", "parameters-not-registered", *NOT_HELD[:1]),
        fix={"model.modules": "registered"},
    ),
    Fault(
        # `nn.init.normal_(weight)`, whose deviation is 1.
        "initialisation_normal",
        put(initialisation="normal"),
        (*INITIAL, "exploding-gradient"),
        starts=SCRATCH,
        fix={"initialisation": "kaiming"},
    ),
    Fault(
        # `return self.body(x)`.
        "skips_missing",
        put(skips=False),
        ("skip-missing", "vanishing-gradient-depth"),
        starts=SCRATCH,
        networks=RESIDUAL,
        fix={"model.skips": True},
    ),
    Fault(
        "normalisation_missing",
        put(normalisation="none"),
        ("normalisation-missing", "vanishing-gradient-depth", *INITIAL),
        starts=SCRATCH,
        networks=BATCHNORM,
        fix={"model.normalisation": "batchnorm"},
    ),
    Fault(
        # `track_running_stats=False`, and two photos at a time in evaluations.
        "batchnorm_without_running_statistics",
        put(running_statistics=False, evaluation_batch=2),
        (
            "eval-mode-missing",
            "batchnorm-statistics-lost",
            "batchnorm-momentum",
            "batchnorm-small-batch",
        ),
        networks=BATCHNORM,
        fix={"batchnorm.track_running_stats": True},
    ),
)
