"""Speaking to a server that others pay for: who, how fast, and what its errors mean."""

from ._client import OpenAIClient, no_api
from ._errors import Advice, advise, body_of, describe, mark, pauses, words
from ._limits import Limiter

__all__ = [
    "Advice",
    "Limiter",
    "OpenAIClient",
    "advise",
    "body_of",
    "describe",
    "mark",
    "no_api",
    "pauses",
    "words",
]
