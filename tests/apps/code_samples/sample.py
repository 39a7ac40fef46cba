"""Module text."""
import os

LIMIT = 3


class Stack:
    """A stack."""

    size = 0

    def push(self, item):
        def inner():
            return item
        return inner()

    # Takes the last one.
    @property
    def top(self):
        return None


@decorated
async def run(stack):
    await stack
