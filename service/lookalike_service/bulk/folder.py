"""The folder of a bulk load: files that appear whole, in any place that fsspec knows."""

from __future__ import annotations

import fsspec

from lookalike_service.errors import StartupError
from lookalike_service.images import write_whole

__all__ = ["Folder"]


class Folder:
    """A folder with subfolders one deep; `url` is a path, or an address such as `s3://bucket/folder`."""

    def __init__(self, url: str) -> None:
        """Raises StartupError when the place cannot be used."""
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
            self._files.makedirs(self._root, exist_ok=True)
        except (OSError, ValueError, ImportError) as error:
            raise StartupError(
                f"the folder {url} cannot be used ({error}); --out names one that can be written, and other places "
                "than this machine need the fsspec package of their kind"
            ) from error
        self.url = str(self._files.unstrip_protocol(self._root))

    def names(self, subfolder: str = "") -> set[str]:
        """The names of what is there, without those that are being written."""
        place = f"{self._root}/{subfolder}".rstrip("/")
        self._files.invalidate_cache()
        try:
            found = self._files.ls(place, detail=False)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._failed(error) from error
        names = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found}
        return {name for name in names if name and not name.endswith(".part")}

    def read(self, name: str) -> bytes | None:
        """A file; None when there is none of that name. Raises StartupError."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole and durably, over one of that name. Raises StartupError."""
        path = f"{self._root}/{name}"
        try:
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            write_whole(self._files, path, content)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StartupError:
        return StartupError(f"the folder {self.url} failed ({error}); what is in it stays, run the command again")
