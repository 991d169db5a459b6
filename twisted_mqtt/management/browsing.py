"""
The page that shows the OpenAPI document in a browser, and makes calls: C{/api-docs/}.

It is a few files of our own, which ask nobody but this broker. Anybody may read them, as anybody may read the document.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.web.resource import Resource

if TYPE_CHECKING:
    from twisted.web.server import Request

_FOLDER: Final = Path(__file__).parent / "static" / "docs"
_FILES: Final = {
    b"": ("index.html", b"text/html; charset=utf-8"),
    b"page.css": ("page.css", b"text/css; charset=utf-8"),
    b"page.js": ("page.js", b"text/javascript; charset=utf-8"),
}
#: What the page may load and call: its own files, and this broker. Nobody may show it within another page.
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none';"
    b" form-action 'none'; frame-ancestors 'none'"
)


class DocumentPage(Resource):
    """
    See the module. The files are read once.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._files = {path: ((_FOLDER / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def render_GET(self, request: Request) -> bytes:
        """
        Answer.
        """
        if not request.postpath:
            # The files are named relative to the folder.
            request.setResponseCode(308)
            request.setHeader(b"location", request.path.rsplit(b"/", 1)[-1] + b"/")
            return b""
        body, kind = self._files.get(b"/".join(request.postpath), (b"", b""))
        if not kind:
            request.setResponseCode(404)
            request.setHeader(b"content-type", b"application/json")
            return b'{"code":404,"message":"Not Found"}'
        for name, value in (
            (b"content-type", kind),
            (b"content-security-policy", _POLICY),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ):
            request.setHeader(name, value)
        return body
