"""A worker that does what a test says."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence

SCRIPT = "FERBENCH_TEST_SCRIPT"
FINISHED = 'events.write(json.dumps({"kind": "finished", "status": "ok", "message": ""}).encode() + b"\\n")'


def work(arguments: Sequence[str], forks: object = None) -> int:
    """Execute the script, which is given the `job` and the file of its `events`."""
    job, path = arguments
    with open(path, "ab", buffering=0) as events:
        names = {"job": json.loads(job), "events": events, "json": json, "os": os, "signal": signal, "sys": sys}
        exec(os.environ[SCRIPT], {**names, "time": time, "forks": forks})
    return 0


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:3]))
