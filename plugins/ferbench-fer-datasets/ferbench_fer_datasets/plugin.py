"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_datasets(register: Register) -> None:
    """Readers of official layouts; the data itself comes from its publishers, under their licences."""
    register("raf-db", "ferbench_fer_datasets.raf_db:RafDb", summary="RAF-DB basic: 12,271 + 3,068 aligned faces")
    register(
        "raf-db-original",
        "ferbench_fer_datasets.raf_db:RafDbOriginal",
        summary="RAF-DB basic: the original images, cut to the face box",
    )
