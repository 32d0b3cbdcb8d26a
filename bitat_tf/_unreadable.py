"""What Pillow raises for files that are no images, are damaged, or claim to be gigantic."""

import struct

from PIL import Image

BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# RuntimeError: of AVIF; its NotImplementedError: of DDS and BLP.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, *BOMB)
