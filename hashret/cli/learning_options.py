"""The options of ``hashret index`` that say how a new index learns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashret.encoder.recipe import CHOICES, LEARNING_RATES, RECIPES
from hashret.errors import UsageError

if TYPE_CHECKING:
    from hashret.encoder import CodeEstimator

DEFAULT_BITS = 64
DEFAULT_SEED = 0
CLASSICAL = ("recipe", "n_bits", "random_state", "features")
FEATURES = ("auto", "wordllama", "tfidf", "counts")


class CommandThatLearns(click.Command):
    """A command whose help shows the options of learning by themselves."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the other options first."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for title, learning in (("Options", False), ("Learning, for a new index", True)):
            records = (
                option.get_help_record(ctx)
                for option in options
                if isinstance(option, LearningOption) is learning
            )
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])


class LearningOption(click.Option):
    """An option that counts where an index is made, named after the parameter that it sets."""


class Widths(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them, or ``none``."""

    name = "widths"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """A tuple; empty for ``none``."""
        if isinstance(value, tuple):
            return value
        if value == "none":
            return ()
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers such as 512,256.", param, ctx)


@dataclass(frozen=True)
class LearningOptions:
    """What was said about learning.

    Attributes:
        given: parameters of the hasher, ``recipe`` and ``features``; only those that were given.
    """

    given: dict[str, Any]

    @property
    def flags(self) -> list[str]:
        """The options that were given, as they are written."""
        return [flag for flag, name in _FLAGS.items() if name in self.given]

    @property
    def features(self) -> str:
        """How texts become numbers."""
        return str(self.given.get("features", "auto"))

    def hasher(self) -> CodeEstimator:
        """The estimator to learn with.

        Raises:
            UsageError: an option is for another recipe.
        """
        from hashret import encoder
        from hashret.encoder import baselines

        parameters = {"n_bits": DEFAULT_BITS, "random_state": DEFAULT_SEED, **self.given}
        recipe = parameters.pop("recipe", "hashret")
        parameters.pop("features", None)
        if recipe == "hashret":
            return encoder.SemanticHasher(**parameters)
        useless = [flag for flag in self.flags if _FLAGS[flag] not in CLASSICAL]
        if useless:
            raise UsageError(
                f"--recipe {recipe} trains no autoencoder: leave out {', '.join(useless)}."
            )
        hasher: CodeEstimator = getattr(baselines, RECIPES[recipe])(**parameters)
        return hasher


def _choice(name: str) -> click.Choice[str]:
    return click.Choice([one for one in CHOICES[name] if one is not None])


_POSITIVE = click.FloatRange(min=0, min_open=True)
_WEIGHT = click.FloatRange(min=0)

# An option, the parameter it sets, its type and its help.
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    ("--bits", "n_bits", int,
     f"Code length, a multiple of 8 from 8 to 1024.  [default: {DEFAULT_BITS}]"),
    ("--seed", "random_state", click.IntRange(min=0, max=2**32 - 1),
     "The same seed gives the same codes on the same machine.  "
     f"[default: {DEFAULT_SEED}]"),
    ("--recipe", "recipe", click.Choice(list(RECIPES)),
     "hashret learns an autoencoder; the others are classical, to compare with.  "
     "[default: hashret]"),
    ("--features", "features", click.Choice(FEATURES),
     "Of texts: wordllama (English; the extra text), tfidf (any language), or counts of words.  "
     "[default: auto, wordllama where it is installed and letters are Latin, else tfidf]"),
    ("--effort", "effort", _choice("effort"), "High takes six times as many steps."),
    ("--epochs", "epochs", click.IntRange(min=1),
     "Passes over the data while learning, whatever the effort.  "
     "[default: what makes about 2,500 steps]"),
    ("--architecture", "architecture", _choice("architecture"),
     "Tied: the decoder uses the encoder's weights; convolutional: for images."),
    ("--hidden", "hidden", Widths(),
     "Widths of hidden layers, or filters where convolutional; or none.  [default: 512,256]"),
    ("--activation", "activation", _choice("activation"),
     "Of hidden layers.  [default: relu, or sigmoid with --pretrain rbm]"),
    ("--bottleneck", "bottleneck", _choice("bottleneck"),
     "How bits are made while learning.  [default: auto]"),
    ("--corrupt", "corruption", _choice("corruption"),
     "Disturb what the encoder sees, to learn to denoise, inpaint or sharpen."),
    ("--corruption-level", "corruption_level", _POSITIVE,
     "Spread of the noise, share masked, or factor.  [default: 0.2, 0.3 or 2]"),
    ("--augment", "augment", None,
     "Shift, rotate, scale and erase what the encoder sees of images."),
    ("--sparsity", "sparsity", _WEIGHT, "Weight of the price of active hidden units."),
    ("--pretrain", "pretraining", _choice("pretraining"),
     "First weights layer by layer: small autoencoders, or Boltzmann machines."),
    ("--loss", "reconstruction_loss", _choice("reconstruction_loss"),
     "Of the reconstruction; auto is binary for intensities, else squared.  [default: auto]"),
    ("--optimizer", "optimizer", click.Choice(list(LEARNING_RATES)),
     "What takes the steps.  [default: adam]"),
    ("--learning-rate", "learning_rate", _POSITIVE,
     "The highest of the run.  [default: by the optimizer]"),
    ("--reconstruction-weight", "reconstruction_weight", _WEIGHT,
     "Weight of the reconstruction in the loss."),
    ("--neighbour-weight", "neighbour_weight", _WEIGHT,
     "Weight of the neighbours in the loss; 0 is a plain autoencoder."),
    ("--tensorboard", "tensorboard", click.Path(file_okay=False, path_type=Path),
     "A folder for the course of learning, to be seen in TensorBoard."),
)  # fmt: skip

_FLAGS = {flag: name for flag, name, _, _ in _OPTIONS}


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, which reach it as one argument, ``learning``."""

    @functools.wraps(command)
    def collecting(*arguments: Any, **options: Any) -> Any:
        values = {name: options.pop(name) for name in _FLAGS.values()}
        # A flag that was not given is False.
        given = {k: v for k, v in values.items() if v is not None and v is not False}
        return command(*arguments, learning=LearningOptions(given), **options)

    for flag, name, kind, text in reversed(_OPTIONS):
        is_flag = kind is None
        option = click.option(
            flag, name, type=bool if is_flag else kind, is_flag=is_flag, help=text,
            cls=LearningOption,
        )  # fmt: skip
        collecting = option(collecting)
    return collecting
