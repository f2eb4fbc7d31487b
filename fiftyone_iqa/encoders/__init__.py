"""Image-text encoders: one small interface, three implementations."""

from .base import Encoder, EncoderUnavailableError
from .factory import default_encoder, get_encoder
from .hub import hub_reachable

__all__ = [
    "Encoder",
    "EncoderUnavailableError",
    "default_encoder",
    "get_encoder",
    "hub_reachable",
]
