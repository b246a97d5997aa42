"""Colours of classes and methods, which differ with every kind of colour vision."""

from __future__ import annotations

OKABE_ITO = {
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "sky blue": "#56b4e9",
    "orange": "#e69f00",
    "yellow": "#f0e442",
}
"""Okabe and Ito's palette (Color Universal Design, 2008), without black, which grey images hide."""

METHOD_COLOURS = tuple(OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "sky blue", "orange"))
CLASS_COLOURS = tuple(
    OKABE_ITO[name] for name in ("orange", "sky blue", "green", "purple", "vermillion", "blue", "yellow")
)
"""The brightest first, since they are drawn on grey images; from the eighth class on they repeat."""


def class_colour(place: int) -> str:
    """Return the colour of a class by its place in dataset.json's order."""
    return CLASS_COLOURS[place % len(CLASS_COLOURS)]


def method_colour(place: int) -> str:
    """Return the colour of a method by its place; from the seventh on they repeat."""
    return METHOD_COLOURS[place % len(METHOD_COLOURS)]
