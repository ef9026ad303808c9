"""Archives of real data, which tests unpack."""

import tarfile
from pathlib import Path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`, through tarfile's filter for data, which Python has from 3.11.4 on."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
