"""One seed per purpose, so that the draws of one part never change the draws of another."""

import hashlib
import json


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: the start of the SHA-256 of the JSON list `[seed, *purpose]`."""
    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
