"""Checks of how the arrays of a call belong together."""

import math

import numpy as np

from .arrays import Array, Format, format_of


def check_same_shape(y_true: Array, y_pred: Array, names: tuple[str, str]) -> None:
    if y_true.shape == y_pred.shape:
        return
    message = (
        f"{names[0]} has shape {y_true.shape} and {names[1]} has shape {y_pred.shape}: "
        "they must be equal, nothing is broadcast"
    )
    if y_true.size == y_pred.size:
        message += f"; write np.reshape({names[0]}, np.shape({names[1]})) if the order is right"
    raise ValueError(message)


def check_classes(
    y_true: Array, true: Format, y_pred: Array, pred: Format, names: tuple[str, str]
) -> None:
    """Raise unless `y_true` has class ids for the rows of `y_pred`, or labels of its shape."""
    first, second = names
    if y_true.ndim == y_pred.ndim + 1 and pred.kind != "float":
        raise TypeError(
            f"{second} are {pred.name} of shape {y_pred.shape} and {first} are {true.name} of "
            f"shape {y_true.shape}: were they swapped? {first} come first, {second} second"
        )
    if y_pred.ndim == 0:
        raise ValueError(f"{second} is a single number, but its last axis must be the classes")
    if y_pred.shape[-1] == 0:
        raise ValueError(f"{second} has shape {y_pred.shape}: zero classes on the last axis")
    if y_true.shape == y_pred.shape:
        return
    if y_true.shape != y_pred.shape[:-1]:
        ids, rows = y_pred.shape[:-1], y_pred.shape
        message = (
            f"{first} has shape {y_true.shape} and {second} has shape {rows}: expected class ids "
            f"of shape {ids} or soft labels of shape {rows}, as nothing is broadcast"
        )
        shape = rows if true.kind == "float" else ids
        if y_true.size == math.prod(shape):  # a column of a table, mostly
            message += f"; write np.reshape({first}, {shape}) if the order is right"
        raise ValueError(message)
    if true.kind == "float" and y_true.size:
        raise TypeError(
            f"{first} has dtype {true.name}, but class ids of shape {y_true.shape} are integers: "
            + _remedy_of_float_ids(y_true, first)
            + f"; soft labels have shape {y_pred.shape}"
        )


def _remedy_of_float_ids(labels: Array, name: str) -> str:
    if np.isnan(labels.astype(np.float64)).any():
        return (
            f"some are nan; write np.where(np.isnan({name}), -100, {name}).astype(np.int64) and "
            "build the loss with ignore_index=-100"
        )
    return f"write np.asarray({name}).astype(np.int64)"


def check_sparse_labels(ids: Array, probabilities: Array, y_pred: Array) -> None:
    """Raise unless each row has k class ids and as many probabilities."""
    true, given = format_of(ids, "labels[0]"), format_of(probabilities, "labels[1]")
    if ids.shape != probabilities.shape or ids.shape[:-1] != y_pred.shape[:-1]:
        raise ValueError(
            f"labels are a pair of class ids of shape {ids.shape} and probabilities of shape "
            f"{probabilities.shape}: for logits of shape {y_pred.shape} both must have the shape "
            f"{(*y_pred.shape[:-1], 'k')}, with k classes for each row".replace("'", "")
        )
    if ids.shape[-1] == 0:
        raise ValueError("labels are a pair of class ids and probabilities, but of no class at all")
    if true.kind == "float":
        raise TypeError(
            f"labels[0] has dtype {true.name}, but class ids are integers: labels are the pair "
            "(ids, probabilities); write np.asarray(ids).astype(np.int64)"
        )
    if given.kind != "float":
        raise TypeError(
            f"labels[1] has dtype {given.name}, but holds the probabilities of the class ids in "
            "labels[0]: write np.asarray(probabilities).astype(np.float64)"
        )


def check_weight_shape(
    weight: Array, expected: tuple[int, ...], what: str, name: str = "sample_weight"
) -> None:
    if weight.shape != expected:
        raise ValueError(
            f"{name} has shape {weight.shape}, but there is one weight for each {what}: "
            f"expected shape {expected}"
        )
