"""StackOverflow NER: software words in questions and answers, 27 types.

Columns of token, tag, token and tag again. Lines of bookkeeping and placeholders for blocks of code stand
between the sentences:

    Question_ID<tab>O<tab>Question_ID<tab>O

    The<tab>O<tab>The<tab>O
    DataGridView<tab>B-Library_Class<tab>DataGridView<tab>B-Library_Class
    is<tab>O<tab>is<tab>O

The test split stays unread, for whoever wants to measure with it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft
from ucuie.data.readers.columns import ColumnOptions, read_columns

TYPES = types_of("""
    Application | application | A program or service, such as an IDE, server, browser or database system.
    Language | programming language | A programming, query, markup or shell language.
    Library | library or framework | A library, framework or package that programs use.
    Library_Class | library class | A class that a library or language provides.
    Library_Function | library function | A function or method that a library or language provides.
    Library_Variable | library variable | A variable, constant or field that a library or language provides.
    Class_Name | class name | A class that the writer has defined.
    Function_Name | function name | A function or method that the writer has defined.
    Variable_Name | variable name | A variable, parameter or column that the writer has defined.
    Data_Structure | data structure | A way to arrange data, such as an array, list, table or tree.
    Data_Type | data type | A kind of value, such as string, integer or boolean.
    Value | value | A literal value, such as a number, string or setting.
    Algorithm | algorithm | A named algorithm, protocol or design pattern.
    Code_Block | code snippet | A piece of source code or a command within the sentence.
    Output_Block | program output | Output or a message that a program has printed.
    Error_Name | error name | An exception, error or error code.
    File_Name | file name | The name or path of a file or folder.
    File_Type | file type | A file format or extension, such as CSV or .jpg.
    HTML_XML_Tag | html or xml tag | An element or tag of HTML or XML.
    User_Interface_Element | user interface element | A part of a screen, such as a button, form or menu.
    Keyboard_IP | keyboard input | A key or a combination of keys.
    Operating_System | operating system | An operating system, with its version if named.
    Device | device | A piece of hardware, such as a phone, server or camera.
    Version | version | A version number or name of software.
    Website | website | A website by name, not as an address.
    Organization | organization | A company or other organization.
    User_Name | user name | The name of a person or user.
    Licence | licence | A software licence.
""")

_BOOKKEEPING = re.compile(r"(?:Question_ID|Question_URL|Answer_to_Question_ID|CODE_BLOCK|OP_BLOCK) ?:")
_OPTIONS = ColumnOptions(token_column=0, tag_columns=(1,))


def read(folder: Path) -> Examples:
    """The sentences of the splits for training and development."""
    return unified("stackoverflow", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    paths = [next(folder.rglob(f"StackOverflow/{split}.txt")) for split in ("train", "dev")]
    for reading in read_columns(paths, _OPTIONS):
        if isinstance(reading, Draft) and _BOOKKEEPING.match(reading.text):
            yield Fault(reading.place, "bookkeeping or a placeholder for code")
        else:
            yield reading


SOURCES = (
    Source(
        name="stackoverflow",
        title="StackOverflow NER",
        licence="MIT",
        attribution="jeniyat/StackOverflowNER (d1f408d)",
        read=read,
        archive="stackoverflow_ner.tar.xz",
        cap=None,
        absent="schema",
    ),
)
