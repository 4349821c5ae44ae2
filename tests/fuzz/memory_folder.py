"""A model directory in memory, for files that are made by the thousand."""

from __future__ import annotations

from collections.abc import Mapping

from modelpress.errors import BadSource


class MemoryFolder:
    """Files by name. It keeps count of the bytes that were asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.asked_bytes = 0

    def names(self) -> list[str]:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return sorted(self._files)

    def size(self, name: str) -> int:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return len(self._files[name])

    def fingerprint(self, name: str) -> str:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return str(hash(self._files[name]))

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """See :class:`modelpress.tensors.folder.Folder`."""
        assert offset >= 0
        self.asked_bytes += len(buffer)
        data = self._files[name][offset : offset + len(buffer)]
        if len(data) < len(buffer):
            raise BadSource(f"{name} ends early")
        buffer[:] = data

    def read_runs(self, name: str, offset: int, buffer: memoryview, *, run_bytes: int, stride_bytes: int) -> None:
        """See :class:`modelpress.tensors.folder.Folder`."""
        for number, start in enumerate(range(0, len(buffer), run_bytes)):
            self.read_into(name, offset + number * stride_bytes, buffer[start : start + run_bytes])
