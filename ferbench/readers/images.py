"""What looks like an image: by the ending of a name, or by the first bytes."""

from ferbench.readers.paths import IMAGE_SUFFIXES

OTHER_IMAGES = (
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".tga", ".ico", ".pcx", ".sgi", ".rgb", ".bw", ".ras", ".xbm"),
    *(".xpm", ".dds", ".psd", ".eps", ".dib", ".cur", ".icns", ".qoi", ".im", ".msp", ".fits", ".mpo", ".svg"),
)
"""Of formats that are not decoded."""
LOOKED_AT = 16
"""Bytes that tell an image."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


def looks_like_image(content: bytes) -> bool:
    """Whether bytes begin as the file of an image that is decoded does."""
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    bitmap = content[:2] == b"BM" and content[6:10] == bytes(4)
    netpbm = content[:1] == b"P" and content[1:2] in tuple(b"123456Ff"[i : i + 1] for i in range(8))
    return webp or bitmap or (netpbm and content[2:3].isspace()) or content.startswith(_MAGIC)


def unread_image(name: str, content: bytes = b"") -> str:
    """Why a file that gives no sample is one of an image, by its name or first bytes; empty where it is none."""
    if name.lower().endswith(OTHER_IMAGES):
        return "an image of a kind that is not decoded; convert it to PNG"
    if name.lower().endswith(IMAGE_SUFFIXES):
        return "lies where this reader does not look"
    if looks_like_image(content):
        return "an image by its content, and not by the ending of its name; rename it"
    return ""
