"""JSON files that others wrote or edited, compared with a model of pydantic's before anything is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from ser_nnunet.errors import UserError
from ser_nnunet.utils.files import read_json

LISTED = 10
"""Problems of one file that are named; a file of another kind has hundreds."""

FileEnding = Annotated[str, StringConstraints(pattern=r"^(\.[A-Za-z0-9]+)+$")]
"""An image's file ending, such as `.nii.gz`."""

LabelValue = Annotated[int, Field(strict=True, ge=0, le=65535)]
LabelOrRegion = LabelValue | Annotated[list[LabelValue], Field(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1)]

Model = TypeVar("Model", bound="JsonModel")
Value = TypeVar("Value")


class JsonModel(BaseModel):
    """What is expected of a file; further entries are allowed."""

    model_config = ConfigDict(extra="allow", frozen=True)


def read_validated(file: Path, model: type[Model], expected: str) -> Model:
    """Read a JSON file as a model.

    Args:
        file: to read; a regular file.
        model: what is expected.
        expected: what the file should be, for the message, such as "the data set's dataset.json".

    Raises:
        UserError: it can't be read, is no JSON, or has another shape; names the entries.
    """
    try:
        return model.model_validate(read_json(file))
    except ValidationError as error:
        raise UserError(f"{file}: {expected} expected, but\n{describe_problems(error)}") from None
    except OSError as error:
        raise UserError(f"{file}: {expected} expected, and it can't be read ({error.strerror or error})") from error
    except ValueError as error:
        raise UserError(f"{file}: {expected} expected, and it is no valid JSON ({error})") from error


def validate(value: Any, expected: Any) -> Any:
    """Return a value as a type that pydantic knows, a dataclass for example; `ValueError` names what is wrong."""
    try:
        return TypeAdapter(expected).validate_python(value)
    except ValidationError as error:
        raise ValueError(describe_problems(error)) from None


def describe_problems(error: ValidationError) -> str:
    """Return one indented line per problem: the entry, what is expected, and what was found."""
    found = error.errors(include_url=False, include_context=False)
    lines = []
    for problem in found[:LISTED]:
        place = ".".join(map(str, problem["loc"])) or "the file"
        value = "" if problem["type"] == "missing" else f", found {_shorten(problem['input'])}"
        lines.append(f"  {place[:100]}: {problem['msg']}{value}")
    more = [f"  and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return "\n".join([*lines, *more])


def _shorten(value: Any) -> str:
    if isinstance(value, dict | list):  # which may be huge or nested deeply
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
