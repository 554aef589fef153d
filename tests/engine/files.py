"""Contents of sled 0.34's files."""

import zlib


def conf(*, segment_size: int = 524_288, use_compression: str = "false", version: str = "0.34") -> bytes:
    """The file conf: a line for each option, then their checksum."""
    lines = f"segment_size: {segment_size}\nuse_compression: {use_compression}\nversion: {version}\n".encode()
    return lines + zlib.crc32(lines).to_bytes(4, "little")
