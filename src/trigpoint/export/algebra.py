"""Operators of linear algebra that ONNX lacks, made of those that it has: small systems of positive definite matrices.

Elimination needs no pivots there: the decoders solve normal equations, the prior of shapes inverts covariances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from onnxscript import DOUBLE, opset18, script

aten = torch.ops.aten
op: Any = opset18
if TYPE_CHECKING:
    MATRICES = Any
else:
    MATRICES = DOUBLE["M", "n", "r"]


@script(default_opset=op)
def eliminated(matrix: MATRICES, right: MATRICES) -> MATRICES:
    """The solution X of ``matrix`` X = ``right``, Gauss-Jordan, row after row."""
    system = op.Concat(matrix, right, axis=-1)
    size = op.Shape(matrix, start=-1)
    unit = op.EyeLike(op.ConstantOfShape(op.Concat(size, size, axis=0)), dtype=11)
    for i in range(op.Squeeze(size)):
        at = op.Unsqueeze(i, op.Constant(value_ints=[0]))
        column = op.Gather(system, at, axis=-1)
        row = op.Gather(system, at, axis=-2)
        pivot = op.Gather(row, at, axis=-1)
        own = op.Gather(unit, at, axis=-1)
        system = op.Sub(system, op.Mul(op.Sub(column, own), op.Div(row, pivot)))
    return op.Slice(system, size, op.Constant(value_ints=[9223372036854775807]), op.Constant(value_ints=[-1]))


def _solve(matrix: Any, right: Any, left: bool = True, check_errors: bool = False) -> tuple[Any, ...]:
    nothing = op.Constant(value_int=0)
    return eliminated(matrix, right), matrix, nothing, nothing


def _inverse(matrix: Any, check_errors: bool = False) -> tuple[Any, ...]:
    zeros = op.Mul(matrix, op.CastLike(op.Constant(value_float=0.0), matrix))
    size = matrix.shape[-1]
    unit = op.EyeLike(op.ConstantOfShape(op.Constant(value_ints=[size, size])), dtype=11)
    return eliminated(matrix, op.Add(zeros, unit)), op.Constant(value_int=0)


def _cholesky(matrix: Any, upper: bool = False, check_errors: bool = False) -> tuple[Any, ...]:
    """The factor of at most 3 x 3, written out, and whether there is none."""
    zero = op.CastLike(op.Constant(value_float=0.0), matrix)
    size, factor, failed = matrix.shape[-1], dict[tuple[int, int], Any](), None

    def entry(row: int, column: int) -> Any:
        line = op.Gather(matrix, op.Constant(value_ints=[row]), axis=-2)
        return op.Gather(line, op.Constant(value_ints=[column]), axis=-1)

    for i in range(size):
        for j in range(i + 1):
            rest = entry(i, j)
            for k in range(j):
                rest = op.Sub(rest, op.Mul(factor[i, k], factor[j, k]))
            if i == j:
                bad = op.Not(op.Greater(rest, zero))
                failed = bad if failed is None else op.Or(failed, bad)
                factor[i, i] = op.Sqrt(rest)
            else:
                factor[i, j] = op.Div(rest, factor[j, j])
    nothing = op.Mul(entry(0, 0), zero)
    rows = [op.Concat(*[factor.get((i, j), nothing) for j in range(size)], axis=-1) for i in range(size)]
    number = op.Cast(op.Squeeze(failed, op.Constant(value_ints=[-2, -1])), to=6)
    return op.Concat(*rows, axis=-2), number


def _solve_by_factor(right: Any, factor: Any, upper: bool = False) -> Any:
    return eliminated(op.MatMul(factor, op.Transpose(factor, perm=[0, 2, 1])), right)


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    aten._linalg_solve_ex.default: _solve,
    aten.linalg_inv_ex.default: _inverse,
    aten.linalg_cholesky_ex.default: _cholesky,
    aten.cholesky_solve.default: _solve_by_factor,
}
"""For ``torch.onnx.export``; float64, batches (M, n, n)."""
