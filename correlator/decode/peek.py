"""MAC addresses of frames, read without anything else of them: who is on an interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from correlator.decode.frames import MAX_FRAME
from correlator.decode.peek_kernel import ENDS, peek_blocks, peek_pcap
from correlator.decode.stream import Source

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Records = npt.NDArray[np.void]


class Peek(Source):
    """A file of which only MAC addresses are read (:data:`ENDS`)."""

    dtype = ENDS

    def _scan_pcap(self, out: Records) -> Any:
        return peek_pcap(
            self.buffer, self.position, self.filled, self.big, MAX_FRAME, self.code, out
        )

    def _scan_blocks(self, out: Records) -> Any:
        return peek_blocks(self.buffer, self.position, self.filled, MAX_FRAME, self.codes, out)
