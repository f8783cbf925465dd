"""The last picture of a run as one file that needs no server: the page, its style and scripts, and the picture as JSON.

The charts are left out: plotly.js is five megabytes, and `disbatch-report --html` has them. Nothing here does IO but reading the
package's own files.
"""

import base64
import json
import re
from pathlib import Path

_POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:"
_IMPORT = re.compile(r'from "\./([a-z_]+\.js)"')
_OUTSIDE = re.compile(r'<(link rel="(?:icon|stylesheet)"[^>]*|script [^>]*src=[^>]*></script)>\n')


def saved_page(static: Path, picture: str) -> str:
    """`static` is the folder of the page's files, `picture` the whole picture as JSON."""
    # modules of a file cannot be loaded by name: a map gives each of them as data
    modules = {
        f"disbatch/{path.name}": _as_data(path.read_text("utf-8")) for path in sorted(static.glob("*.js"))
    }
    parts = [
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<style>{(static / 'style.css').read_text('utf-8')}</style>",
        f"<script>{(static / 'theme.js').read_text('utf-8')}</script>",
        f'<script type="importmap">{json.dumps({"imports": modules})}</script>',
        # `<` ends no script this way
        f'<script type="application/json" id="picture">{picture.replace("<", chr(92) + "u003c")}</script>',
        '<script type="module">import "disbatch/saved.js";</script>',
    ]
    page = _OUTSIDE.sub("", (static / "index.html").read_text("utf-8"))
    return page.replace("</head>", "\n".join([*parts, "</head>"]), 1)


def _as_data(source: str) -> str:
    bare = _IMPORT.sub(r'from "disbatch/\1"', source)
    return "data:text/javascript;base64," + base64.b64encode(bare.encode()).decode()
