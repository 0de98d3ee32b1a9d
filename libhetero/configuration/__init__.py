"""What a program can be asked for: options, each declared once, and the JSON that keeps them.

A configuration is a frozen dataclass whose fields are made by `option`. Command lines, help, limits, messages and
documentation are all made of these declarations: `libhetero.cli.options` builds the parsers, `check_options` the
one-line refusals. Light, and so are the modules in which configurations are declared: `--help` loads
neither NumPy nor JAX.
"""

from libhetero.configuration.arrays import ArraySchema
from libhetero.configuration.figures import FigureConfig
from libhetero.configuration.files import from_dict, read_document, read_json, read_lines, to_dict, write_json
from libhetero.configuration.options import (
    ABSENT,
    Option,
    asked,
    check_options,
    declared,
    declared_options,
    flags_typed,
    internal,
    named,
    number,
    option,
    option_of,
    parsed_value,
    refusal,
    refused,
    same_as,
    shortened,
    spellings,
    value_of,
    whole_number,
    words_of,
)
from libhetero.configuration.plain_words import WrongValue, wrong_value

__all__ = [
    "ABSENT",
    "ArraySchema",
    "FigureConfig",
    "Option",
    "WrongValue",
    "asked",
    "check_options",
    "declared",
    "declared_options",
    "flags_typed",
    "from_dict",
    "internal",
    "named",
    "number",
    "option",
    "option_of",
    "parsed_value",
    "read_document",
    "read_json",
    "read_lines",
    "refusal",
    "refused",
    "same_as",
    "shortened",
    "spellings",
    "to_dict",
    "value_of",
    "whole_number",
    "words_of",
    "write_json",
    "wrong_value",
]
