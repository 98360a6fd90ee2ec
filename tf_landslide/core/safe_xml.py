"""Every XML text that comes with data is read here: of a bounded size, without a document type.

Without one there are no entities, so that no kilobyte stands for gigabytes and no other file is asked for.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.etree.ElementTree import Element as Element

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import TEXT_BYTES, read_text


def read_xml(path: Path, at_most: int = TEXT_BYTES) -> Element:
    """The root of an XML file.

    Raises:
        LandslideError: no such file, too large, not valid XML, or one with a document type.
    """
    try:
        return parse_xml(read_text(path, at_most), str(path))
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such file") from None


def parse_xml(text: str, origin: str) -> Element:
    """The root of an XML text. Raises ``LandslideError`` as ``read_xml``."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LandslideError(f"{origin}: declares a document type, which no file of a product does")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise LandslideError(f"{origin}: is not valid XML ({error})") from None


def local_name(element: Element) -> str:
    """An element's name without its namespace, whose version differs from product to product."""
    return element.tag.rpartition("}")[2]


def find_all(root: Element, name: str) -> list[Element]:
    """The elements of a local name, in their order."""
    return [element for element in root.iter() if isinstance(element.tag, str) and local_name(element) == name]


def text_of(root: Element, name: str) -> str | None:
    """The text of the first element of a local name; None where there is none."""
    return next(((element.text or "").strip() for element in find_all(root, name)), None)
