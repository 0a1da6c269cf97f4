"""Compressed files, told by their first bytes: in them no record is reached without the rest."""

# No UTF-8 begins with the first three; any of them could be the length of a TFRecord.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh91AY&SY": "bzip2",
    b"\x78\x01": "zlib",
    b"\x78\x5e": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}


def compression_of(beginning: bytes) -> str | None:
    """What a file that begins so is compressed with; None for anything else.

    Args:
        beginning: its first bytes, ten at least if it has as many.
    """
    return next((name for magic, name in _COMPRESSED.items() if beginning.startswith(magic)), None)
