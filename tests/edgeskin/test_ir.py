"""What is refused of an IR before OpenVINO reads it; the shipped ones pass."""

from typing import get_args

import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.ir import DEEPEST, LARGEST_TENSOR, LARGEST_XML, MOST_LAYERS, require_plain_ir
from edgeskin.results import Precision

pytestmark = pytest.mark.hazard("H-07")

CONSTANT = (
    '<layer id="0" type="Const" version="opset1"><data element_type="f32" shape="{shape}" {place}/></layer>'
)
LAYER = '<layer type="Parameter" version="opset1"/>'
HIDDEN = f"<x>{LAYER}</x>".encode()
BODY = f"<body><layers>{LAYER}</layers></body>".encode()


def net(content: str) -> bytes:
    return f'<?xml version="1.0"?><net name="n" version="11"><layers>{content}</layers></net>'.encode()


def constant(shape: str = "2, 3", offset: str = "8", size: str = "24") -> bytes:
    return net(CONSTANT.format(shape=shape, place=f'offset="{offset}" size="{size}"'))


@pytest.mark.parametrize("bundle", ["default", "lite"])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_shipped_networks_pass(bundle: str, precision: Precision) -> None:
    opened = open_bundle(bundle)
    xml, weights = opened.ir(precision).read()
    require_plain_ir(xml, len(weights))


@pytest.mark.parametrize("shape", ["2, 3", "2,3", "6", ""])
def test_a_constant_up_to_the_end_of_the_weights_passes(shape: str) -> None:
    require_plain_ir(constant(shape), 32)


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        (constant(size="25"), "outside"),
        (constant(offset="9"), "outside"),
        (constant(offset=str(2**63), size=str(2**63)), "outside"),  # 0 in 64 bits
        (constant(offset="-1"), "numbers"),
        (constant(offset="0x8"), "numbers"),
        (constant(offset="٨"), "numbers"),
        (constant(offset="9" * 10**5), "numbers"),
        (constant(shape="?, 3"), "numbers"),
        (constant(shape="1..3"), "numbers"),
        (constant(shape=f"{2**62}, 4"), "elements"),  # 0 in 64 bits
        (constant(shape=f"{LARGEST_TENSOR + 1}"), "elements"),
        (net(CONSTANT.format(shape="2", place="")), "numbers"),
        (constant(size="25").replace(b"<data", HIDDEN + b"<data"), "outside|does not read"),
        (net(f"<x>{LAYER}</x>"), "does not read"),
        (net(f"<x><layers>{LAYER}</layers></x>"), "does not read"),
        (constant(size="25").replace(b"<data", BODY + b"<data"), "outside"),
        (constant().replace(b'"f32"', b'"string"'), "strings"),
        (net('<layer type="Relu" version="extension"/>'), "operation set"),
        (net('<layer type="Relu" version="opset1 "/>'), "operation set"),
        (net('<layer type="Relu"/>'), "operation set"),
        (net("<a>" * DEEPEST + "</a>" * DEEPEST), "in one another"),
        (net('<layer version="opset1"/>' * (MOST_LAYERS + 1)), "layers"),
        (b'<!DOCTYPE net SYSTEM "file:///etc/passwd"><net/>', "document type"),
        (b'<!DOCTYPE net [<!ENTITY a "b">]><net name="&a;"/>', "document type"),
        (b'<net name="&a;"/>', "not XML"),
        (b"<model/>", "root"),
        (b"", "not XML"),
        (b"\x08\x08\x12\x07pytorch:", "not XML"),  # the start of an ONNX file
        (b"<net>", "not XML"),
        (b'<net a="1" a="2"/>', "not XML"),
        (b"<net/><net/>", "not XML"),
        ("<net/>".encode("utf-16"), "not XML"),
        (b'<?xml version="1.0" encoding="utf-16"?><net/>' + b"\0", "not XML"),
        (b"<net/>" + b" " * LARGEST_XML, "bytes of XML"),
    ],
)
def test_what_reaches_outside_or_is_out_of_bounds_is_refused(xml: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        require_plain_ir(xml, 32)
