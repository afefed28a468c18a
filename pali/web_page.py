# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What pali's web pages share: each is one file that stands alone.

A page has no script, and its content security policy allows nothing but the styles and pictures
inside it. It follows the reader's light or dark scheme, and is as wide as the window.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from PIL import Image

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/{line} system-ui, sans-serif }}
{style}</style>
"""

TAIL = "</html>\n"


def head(title: str, style: str, line: float = 1.5) -> str:
    """The page before its first heading.

    Args:
      title: any text.
      style: CSS, a line break at its end.
      line: height of a line of text.
    """
    return _HEAD.format(title=html.escape(title), style=style, line=line)


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """A picture as the address of itself.

    Args:
      image: the picture.
      kind: "jpeg", "png" or "webp".
      options: of Pillow's writer of that kind.
    """
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
