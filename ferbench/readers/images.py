"""Recognize image files by the suffix of the name, or by the first bytes."""

from ferbench.readers.paths import IMAGE_SUFFIXES

OTHER_IMAGES = (
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".tga", ".ico", ".pcx", ".sgi", ".rgb", ".bw", ".ras", ".xbm"),
    *(".xpm", ".dds", ".psd", ".eps", ".dib", ".cur", ".icns", ".qoi", ".im", ".msp", ".fits", ".mpo", ".svg"),
)
"""Suffixes of image formats that are not decoded."""
LOOKED_AT = 16
"""Bytes at the beginning of a file that identify an image."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


def looks_like_image(content: bytes) -> bool:
    """Whether bytes begin like an image file of a supported format."""
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    bitmap = content[:2] == b"BM" and content[6:10] == bytes(4)
    netpbm = content[:1] == b"P" and content[1:2] in tuple(b"123456Ff"[i : i + 1] for i in range(8))
    return webp or bitmap or (netpbm and content[2:3].isspace()) or content.startswith(_MAGIC)


def unread_image(name: str, content: bytes = b"") -> str:
    """Why an image file, by its name or first bytes, gives no sample; empty if it is not an image."""
    if name.lower().endswith(OTHER_IMAGES):
        return "an image in a format that is not supported; convert it to PNG"
    if name.lower().endswith(IMAGE_SUFFIXES):
        return "is in a place that this reader does not read"
    if looks_like_image(content):
        return "an image by its content, but not by its suffix; rename it"
    return ""
