"""Open the stream that the `dataset.json` of a folder describes."""

from collections.abc import Mapping
from pathlib import Path

from ferbench.errors import DataError, suggestion
from ferbench.readers.description import DESCRIPTION, ignored, read_description
from ferbench.readers.folders import FolderStream
from ferbench.readers.recordio import RecordIOStream
from ferbench.readers.streams import NamedStream, StreamedDataset
from ferbench.readers.webdataset import WebDatasetStream

STREAMS: Mapping[str, type[NamedStream]] = {
    "webdataset": WebDatasetStream,
    "recordio": RecordIOStream,
    "folder": FolderStream,
}


def is_stream(root: Path) -> bool:
    """Whether the folder's description names a stream."""
    return "stream" in read_description(root)[1]


def open_stream(root: Path) -> StreamedDataset:
    """The streamed dataset that the folder's description names; raises DataError for an unknown kind or option."""
    folder, description, info = read_description(root)
    kind = str(description["stream"])
    if kind not in STREAMS:
        raise DataError(
            f"{folder / DESCRIPTION}: stream '{kind}' must be one of {', '.join(STREAMS)}{suggestion(kind, STREAMS)}"
        )
    asked = str(description.get("on_bad_record", "stop"))
    if asked not in ("stop", "skip"):
        raise DataError(f"{folder / DESCRIPTION}: on_bad_record '{asked}' must be 'stop' or 'skip'")
    dataset = STREAMS[kind](folder, info.name)
    dataset.described = info
    dataset.account.patterns = ignored(description, folder / DESCRIPTION)
    dataset.on_bad_record = "skip" if asked == "skip" else "stop"
    dataset.how_to_skip = f'write "on_bad_record": "skip" into its {DESCRIPTION}'
    return dataset
