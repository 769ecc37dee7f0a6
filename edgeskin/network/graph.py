"""What is done to a network's graph before it is compiled, for quicker starts; what it computes stays the
same, of the shipped bundles bit for bit where that was measured (AVX2).
"""

import numpy as np
import openvino
from openvino import opset13 as ops

CUT_AFTER = 0.6
"""Of the convolutions: where half of the compiling is done, since later ones have more weights."""
CHANGES = f"weights multiplied out, cut after {CUT_AFTER} of the convolutions"
"""What is done: another text for another graph, which kept networks are told apart by."""


def multiply_out(model: openvino.Model) -> None:
    """Replace weights that are stored in INT8 but computed with in float32, as squeeze-excite's, by the
    products of number and scale: the same that OpenVINO computes, with kernels it would make at every start.

    They are Convert(Convert(stored) * scale). Of those that run in INT8 the product is not converted.
    """
    kinds = ("Convert", "Constant", "Convert")
    types = (openvino.Type.i8, openvino.Type.f16, openvino.Type.f32)
    for product in model.get_ordered_ops():
        if product.get_type_name() != "Multiply":
            continue
        number, scale = (value.get_node() for value in product.input_values())
        (reader, *_) = (place.get_node() for place in product.output(0).get_target_inputs())
        if tuple(node.get_type_name() for node in (number, scale, reader)) != kinds:
            continue
        stored = number.input_value(0).get_node()
        known = tuple(node.get_element_type() for node in (stored, scale, reader)) == types
        if stored.get_type_name() == "Constant" and known:
            weights = stored.data.astype(np.float32) * scale.data.astype(np.float32)
            reader.output(0).replace(openvino.op.Constant(weights).output(0))


def halves(model: openvino.Model) -> list[openvino.Model]:
    """The model, whose shapes are all known, cut in two where about half of the work of compiling it is
    done, so that two cores do it at once; the second half reads what the first gives. The model alone where
    there is no such place. What is given is used up.

    It is cut where a single tensor leads from what is before to what is after, and where OpenVINO's fusing of
    operations ends in any case: a quantized model at a quantizer, which both halves then have (to quantize
    what is quantized changes nothing), another before a convolution.
    """
    _fix_shapes(model)
    place = _place_to_cut(model)
    if place is None:
        return [model]
    given = place.output(0)
    entry = ops.parameter(given.get_shape(), given.get_element_type())
    after = entry.output(0)
    if place.get_type_name() == "FakeQuantize":
        levels = place.get_attributes()["levels"]
        after = ops.fake_quantize(entry, *place.input_values()[1:], levels).output(0)
    for reader in given.get_target_inputs():
        reader.replace_source_output(after)
    first = openvino.Model([ops.result(given)], model.get_parameters(), "first part")
    return [first, openvino.Model(model.get_results(), [entry], "second part")]


def _fix_shapes(model: openvino.Model) -> None:
    """Write known shapes down as numbers: asked of the input, they would lead past every place to cut."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ShapeOf" and node.get_input_partial_shape(0).is_static:
            sides = np.array(node.get_input_shape(0), node.get_output_element_type(0).to_dtype())
            node.output(0).replace(openvino.op.Constant(sides).output(0))


def _keeps_steps(quantizer: openvino.Node) -> bool:
    """Whether it gives the steps that it takes, so that twice is the same as once."""
    low, high, low_given, high_given = (value.get_node() for value in quantizer.input_values()[1:])
    pairs = ((low, low_given), (high, high_given))
    known = all(end.get_type_name() == "Constant" for pair in pairs for end in pair)
    return known and all(np.array_equal(taken.data, given.data) for taken, given in pairs)


def _place_to_cut(model: openvino.Model) -> openvino.Node | None:
    """The node to cut after, the nearest to `CUT_AFTER`; None where none has a quarter of the convolutions
    before it and after it."""
    constant: set[str] = set()
    unread: dict[str, int] = {}
    """Of what is computed so far, how many are still to read it."""
    done, quantized = 0, False
    places: list[tuple[openvino.Node, int]] = []
    for node in model.get_ordered_ops():
        name, kind = node.get_name(), node.get_type_name()
        sources = [value.get_node().get_name() for value in node.input_values()]
        if kind == "Constant" or (sources and constant.issuperset(sources)):
            constant.add(name)
            continue
        for source in sources:
            if source in unread:
                unread[source] -= 1
                if not unread[source]:
                    del unread[source]
        done += kind in ("Convolution", "GroupConvolution")
        quantized |= kind == "FakeQuantize"
        outputs = node.outputs()
        readers = [place.get_node().get_type_name() for out in outputs for place in out.get_target_inputs()]
        if readers or kind == "Result":
            # A result is there to the end: a cut after it would lose it.
            unread[name] = len(readers) or 1
        # An addition alone may be a bias, which is computed along with what it is added to.
        fits = list(unread) == [name] and {"Convolution"} <= set(readers) <= {"Convolution", "Add"}
        if fits and (kind != "FakeQuantize" or _keeps_steps(node)):
            places.append((node, done))
    places = [place for place in places if (place[0].get_type_name() == "FakeQuantize") == quantized]
    within = [place for place in places if done <= 4 * place[1] <= 3 * done]
    return min(within, key=lambda place: abs(place[1] - CUT_AFTER * done))[0] if within else None
