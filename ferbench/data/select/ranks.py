"""Hash ranks: an order of groups that depends only on names and seed."""

import hashlib
import json


def rank(rule: str, dataset: str, seed: int | str, group: str) -> str:
    """The rank of a group: SHA-256 hex of the UTF-8 JSON `[rule, dataset, seed, group]`."""
    return hashlib.sha256(json.dumps([rule, dataset, seed, group], ensure_ascii=False).encode("utf-8")).hexdigest()
