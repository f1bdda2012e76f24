"""XML files of others, read with limits: a document type can hide entities that grow without end or name files."""

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from trigpoint.data.files import open_file
from trigpoint.errors import DataError

_MOST = 1 << 28  # bytes; elements take some ten times as much memory
_DEPTH = 100
ENTITY = re.compile(rb"&(?:#[0-9]+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);")
_BARE = re.compile(rb"&(?!(?:#[0-9]+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")


def read_xml(file: Path, most: int = _MOST) -> Element:
    """The root element of an XML file of at most ``most`` bytes and 100 elements deep.

    The text is UTF-8 where it can be, whatever the declaration says (imglab declares ISO-8859-1 and writes names as the
    system has them), else of the declared coding. A bare & is taken for itself, as dlib writes it. Raises DataError
    with file and line, also for any ``<!DOCTYPE``.
    """
    with open_file(file) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise DataError(f"{file}: expected XML of at most {most} bytes, got more; divide it")
    if b"\0" not in data:  # no UTF-16
        data = _BARE.sub(b"&amp;", data)
    try:
        data.decode("utf-8")
        parser = expat.ParserCreate("utf-8")
    except UnicodeDecodeError:
        parser = expat.ParserCreate()
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise DataError(f"{file}, line {parser.CurrentLineNumber}: expected XML of at most {_DEPTH} levels")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        line = f"{file}, line {parser.CurrentLineNumber}"
        raise DataError(f"{line}: expected plain XML, got a document type (<!DOCTYPE ...>); remove that line")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise DataError(f"{file}, line {error.lineno}: not readable as XML: {reason}") from None
    except (ValueError, LookupError) as error:  # a coding that Python does not have
        raise DataError(f"{file}: not readable as XML: {str(error)[:200]}") from None
    return builder.close()
