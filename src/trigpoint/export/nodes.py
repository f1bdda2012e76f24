"""ONNX graphs: nodes written as calls, and graphs put together from parts that may be used several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, inliner, numpy_helper

BOOL = TensorProto.BOOL
OPSET = 18
IR_VERSION = 10  # what onnxruntime 1.18 and later read
Ends = tuple[int, Sequence[Any]]  # type and shape


class Graph:
    """A graph under construction: ``graph.Add(a, b)`` adds a node and gives the name of its first output.

    Inputs are names or NumPy arrays and numbers, which become constants.
    """

    def __init__(self, numbers: Iterator[int] | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._parts: dict[int, tuple[str, ModelProto, frozenset[str]]] = {}
        self._numbers = count(1) if numbers is None else numbers  # a body shares them: no name twice

    def __getattr__(self, op: str) -> Callable[..., str]:
        if not op[:1].isupper():
            raise AttributeError(op)

        return lambda *inputs, **attributes: self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, outputs: int, *inputs: Any, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        given = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        made = [self._new("v") for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, given, made, **attributes))
        return made

    def constant(self, value: Any) -> str:
        """An array as a constant; numbers are int64 or float64."""
        array = np.asarray(value)
        name = self._new("c")
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def name(self, value: str, name: str) -> None:
        """Give a value another name, as outputs need it."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def loop(self, start: str, body: Callable[[Graph, str], tuple[str, str]], kind: int) -> str:
        """Carry a value of the type ``kind`` through ``body`` as long as it says so; it gives (go on, new value)."""
        inner = Graph(self._numbers)
        turn, go, value = (inner._new("l") for _ in range(3))
        following = body(inner, value)
        ends = [helper.make_tensor_value_info(one, of, None) for one, of in zip(following, (BOOL, kind), strict=True)]
        begins = [
            helper.make_tensor_value_info(turn, TensorProto.INT64, []),
            helper.make_tensor_value_info(go, BOOL, []),
            helper.make_tensor_value_info(value, kind, None),
        ]
        self.initializers |= inner.initializers
        inside = helper.make_graph(inner.nodes, "turn", begins, ends)
        made = self._new("v")
        self.nodes.append(helper.make_node("Loop", ["", self.constant(np.array(True)), start], [made], body=inside))
        return made

    def use(self, part: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Add a model as a part of this graph, its inputs and outputs in order; weights of a part stand there once."""
        if id(part) not in self._parts:
            plain = inliner.inline_local_functions(part)
            prefix = self._new("p")
            names = frozenset(one.name for one in plain.graph.initializer)
            for one in plain.graph.initializer:
                copied = TensorProto()
                copied.CopyFrom(one)
                copied.name = f"{prefix}.{one.name}"
                self.initializers[copied.name] = copied
            self._parts[id(part)] = prefix, plain, names
        prefix, plain, names = self._parts[id(part)]
        graph, use = plain.graph, self._new("u")
        known = dict(zip((one.name for one in graph.input), inputs, strict=True))
        made = dict(zip((one.name for one in graph.output), outputs, strict=True))

        def renamed(name: str) -> str:
            if not name:
                return name
            if name in known:
                return str(known[name])
            return f"{prefix}.{name}" if name in names else made.get(name, f"{use}.{name}")

        for name, target in made.items():
            if name in known or name in names:  # handed through
                self.name(renamed(name), target)
        self.nodes += [_renamed(node, renamed, use) for node in graph.node]

    def model(self, inputs: Mapping[str, Ends], outputs: Mapping[str, Ends]) -> ModelProto:
        """The model of this graph; inputs and outputs by name with their type and shape."""
        begins, ends = (
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in values.items()]
            for values in (inputs, outputs)
        )
        weights = list(self.initializers.values())
        graph = helper.make_graph(self.nodes, "trigpoint", begins, ends, initializer=weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(made)
        return made

    def _new(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"


def _renamed(node: NodeProto, name: Callable[[str], str], use: str) -> NodeProto:
    """A copy of a node with other names of values, those in the bodies of loops and branches as well."""
    copied = NodeProto()
    copied.CopyFrom(node)
    copied.name = f"{use}.{node.name}" if node.name else ""
    copied.doc_string = ""
    del copied.metadata_props[:]
    copied.input[:] = [name(one) for one in node.input]
    copied.output[:] = [name(one) for one in node.output]
    for attribute in copied.attribute:
        for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
            _rename_body(body, name, use)
    return copied


def _rename_body(body: GraphProto, name: Callable[[str], str], use: str) -> None:
    for part in (body.input, body.output, body.initializer, body.value_info):
        for one in part:
            one.name = name(one.name)
    nodes = [_renamed(node, name, use) for node in body.node]
    del body.node[:]
    body.node.extend(nodes)
