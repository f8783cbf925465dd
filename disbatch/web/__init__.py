"""The web page of a run: a small server inside the driver, and the page itself under `static/`.

`picture/` is pure: what the page shows, kept small and sent as differences. The rest is the server: `access` decides who
may look and who may act, `hub` brings the picture to those who look, `server` answers requests, `page` is what the
driver knows of all this. aiohttp is imported by `server` only, and that only when a page was asked for.
"""
