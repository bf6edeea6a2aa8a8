"""Which precision a model is trained in: what a recipe may ask for here, and what `auto` becomes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from sentence_transformers import SentenceTransformer

from embertune.engine.precision import NARROWEST, Decision, check_parity, compared, decide, measure_products
from embertune.errors import Problem, RecipeError
from embertune.manifest import hardware, machine_of
from embertune.recipe import Recipe
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured
from embertune.recipe.settle import Ask

WHERE = "train.precision"


def width_of(model: SentenceTransformer) -> int | None:
    """The hidden size of the backbone; None for a model without one, such as a table of static vectors."""
    config = getattr(model.transformers_model, "config", None)
    width = getattr(config, "hidden_size", None) or getattr(config, "dim", None)
    return width if isinstance(width, int) else None


def ask_precision(model: SentenceTransformer, texts: Sequence[str]) -> Ask:
    """A measurement that decides `train.precision`; `texts` are what the model will read, a few of them."""

    def ask(recipe: Recipe) -> Measured:
        device = device_of(recipe, model)
        found = _decided(model, texts, device)
        machine = machine_of(hardware(str(device), torch.get_num_threads()))
        return Measured(found.precision, found.reason, found.figures, machine)

    return ask


def _decided(model: SentenceTransformer, texts: Sequence[str], device: torch.device) -> Decision:
    width = width_of(model)
    if width is None:
        return Decision("float32", "the model has no products to speed up")
    if width < NARROWEST:
        return Decision("float32", f"products of width {width} are too small to gain from another precision")
    if device.type not in ("cpu", "cuda"):
        return Decision("float32", f"nothing is measured on {device.type}")
    return decide(measure_products(device, width), lambda precision: check_parity(model, texts, precision))


def device_of(recipe: Recipe, model: SentenceTransformer) -> torch.device:
    """Where training takes place."""
    return torch.device("cpu") if recipe.train.extra.get("use_cpu") else model.device


def refuse_idle(resolved: Resolved, model: SentenceTransformer) -> None:
    """`RecipeError` for a precision that cannot take effect on this model or this machine."""
    recipe = resolved.recipe
    if fault := _fault(recipe.train.precision, device_of(recipe, model), width_of(model)):
        bound = WHERE in resolved.measured
        remedy = "go on where the run was begun, or choose another --out" if bound else "write auto or float32"
        raise RecipeError(Problem(WHERE, fault, remedy))


def _fault(asked: str, device: torch.device, width: int | None) -> str:
    if asked in ("auto", "float32"):
        return ""
    if width is None:
        return f"{asked} has no effect on a model without a backbone"
    if asked in ("float16", "tf32") and device.type != "cuda":
        return f"{asked} takes a CUDA GPU, and this trains on {device.type}"
    if asked == "tf32" and torch.cuda.get_device_capability(device)[0] < 8:
        return "tf32 takes a GPU of the Ampere generation or later"
    if not torch.amp.is_autocast_available(device.type):
        return f"{asked} cannot be had on {device.type}"
    return ""


def notes_on(recipe: Recipe, model: SentenceTransformer, texts: Sequence[str]) -> Iterator[str]:
    """What somebody should know who asked for bfloat16: that it is slower here, or that the model does not bear it.

    Also that the precision which `accelerate launch` puts into the environment decides nothing.
    """
    if (launched := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) not in ("", "no"):
        yield f"{WHERE}: decides, and not the {launched} of accelerate's configuration"
    width, device = width_of(model), device_of(recipe, model)
    if recipe.train.precision != "bfloat16" or width is None or device.type not in ("cpu", "cuda"):
        return
    products = measure_products(device, width)
    if products["bfloat16"] < products["float32"]:
        yield f"{WHERE}: {compared('bfloat16', products)} on this machine; float32 would train faster"
    elif fault := check_parity(model, texts, "bfloat16").fault:
        yield f"{WHERE}: bfloat16 {fault}; float32 would be safer"
