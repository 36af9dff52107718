"""Text on images: the packaged fonts, and lines that fit a width.

DejaVu Sans lies in the package, because Pillow's own font has no accented letters and a server may
have no font at all.
"""

from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import ImageFont


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans.

    Args:
        size: In pixels.
        bold: Its bold cut.

    Returns:
        A font with the letters of European languages; any other character shows as a box.
    """
    name = "DejaVuSans-Bold-subset.ttf" if bold else "DejaVuSans-subset.ttf"
    content = (files("editgrpo.data.overview") / "fonts" / name).read_bytes()
    return ImageFont.truetype(BytesIO(content), size)


def wrap(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break a text into lines.

    Args:
        text: Its line ends are kept; other white space is tidied.
        face: The font.
        width: In pixels; at least as wide as a letter.

    Returns:
        Lines that are at most so wide; a word that is wider alone is broken.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            wider = f"{line} {word}" if line else word
            if face.getlength(wider) <= width:
                line = wider
                continue
            if line:
                lines.append(line)
            *full, line = _broken(word, face, width)
            lines += full
        lines.append(line)
    return lines


def _broken(word: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Cut a word into parts that fit; one that fits stays whole."""
    parts = [""]
    for letter in word:
        if parts[-1] and face.getlength(parts[-1] + letter) > width:
            parts.append("")
        parts[-1] += letter
    return parts
