"""Arrays as bytes: numpy's own format, compressed. Shape and dtype come back as they went in."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> bytes:
    """``array`` as bytes. Object arrays are a ValueError."""
    import numpy as np

    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return zlib.compress(file.getvalue(), 6)


def unpack(blob: bytes) -> NDArray[Any]:
    """The array that ``pack`` was given. StoreError where the bytes are damaged."""
    import numpy as np

    try:
        array: NDArray[Any] = np.load(io.BytesIO(zlib.decompress(blob)), allow_pickle=False)
    except (zlib.error, ValueError, EOFError) as error:
        raise StoreError(
            f"A stored array is damaged ({error}): put a backup of the store in its place, or import again.",
            zh=f"資料庫中的陣列已損壞（{error}）：請換上資料庫的備份，或重新匯入。",
        ) from error
    return array
