"""What is refused in a network's files before OpenVINO reads them.

`openvino.Core.read_model` takes other formats than IR by the same call, such as ONNX, which names further
files to read. It has also computed sizes and offsets in 64 bits, which overflow.
"""

import math
import re
from xml.parsers import expat

LARGEST_XML = 16 * 2**20
"""Bytes; the shipped networks have up to 0.8 MB."""
LARGEST_TENSOR = 2**27
"""Elements of one tensor; the shipped networks have up to 2^23."""
MOST_LAYERS = 20_000
DEEPEST = 64


def require_plain_ir(xml: bytes, weights_size: int) -> None:
    """Raise ValueError unless the XML is an IR without anything from outside itself and its weights.

    Args:
        xml: Of the network.
        weights_size: Bytes of the network's weights.
    """
    if len(xml) > LARGEST_XML:
        raise ValueError(f"{len(xml)} bytes of XML; at most {LARGEST_XML}")
    layers = 0
    elements = [""]
    types = [""]

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal layers
        parent = elements[-1]
        if not parent and name != "net":
            raise ValueError(f"the root is {name!r:.60}, not 'net'")
        elements.append(name)
        # OpenVINO reads layers nowhere else. A body is the network of a loop or a condition.
        places = {"layer": ("layers",), "layers": ("net", "body")}
        if name in places and parent not in places[name]:
            raise ValueError(f"{name!r} in {parent!r:.60}, where OpenVINO does not read it")
        if name == "layer":
            layers += 1
            types.append(attributes.get("type", ""))
            version = attributes.get("version", "")
            if not re.fullmatch("opset[0-9]+", version):
                raise ValueError(f"a layer of {version!r:.60}, not of an operation set of OpenVINO")
        elif name == "data" and types[-1] == "Const":
            _require_inside(attributes, weights_size)
        if len(elements) - 1 > DEEPEST or layers > MOST_LAYERS:
            raise ValueError(f"more than {MOST_LAYERS} layers, or {DEEPEST} elements in one another")

    def end(name: str) -> None:
        elements.pop()
        if name == "layer":
            types.pop()

    def refuse(*_: object) -> None:
        raise ValueError("a document type or entity")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse
    try:
        # As text: a mark of UTF-16 would overrule the encoding.
        parser.Parse(xml.decode(), True)
    except (expat.ExpatError, UnicodeDecodeError) as error:
        raise ValueError(f"not XML ({error})") from error


def _require_inside(constant: dict[str, str], weights_size: int) -> None:
    """Raise ValueError unless a constant's bytes lie within the weights, and its size is bounded."""
    offset, size = (constant.get(name, "") for name in ("offset", "size"))
    sides = [side.strip() for side in constant.get("shape", "").split(",") if side.strip()]
    if not all(re.fullmatch("[0-9]{1,19}", number) for number in (offset, size, *sides)):
        raise ValueError(f"a constant with odd numbers {constant!r:.200}")
    if int(offset) + int(size) > weights_size:
        raise ValueError(f"a constant at {offset} of {size} bytes, outside the {weights_size} of the weights")
    if math.prod(map(int, sides)) > LARGEST_TENSOR:
        raise ValueError(f"a constant of shape {', '.join(sides)}; at most {LARGEST_TENSOR} elements")
    if constant.get("element_type") == "string":
        raise ValueError("a constant of strings")
