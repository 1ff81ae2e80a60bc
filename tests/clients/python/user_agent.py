"""A headless web browser: just enough of one for a person's part of a sign-in.

It follows redirects by hand, keeps cookies, reads the forms of each page with an HTML parser and
presses one button. Where a browser could refuse what a server does, it refuses too: it obeys
`form-action` of a page's Content-Security-Policy on every hop after the button, and it sends
`Origin`, `Referer` and `Sec-Fetch-*` as a browser does.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2

REDIRECTS = {301, 302, 303, 307, 308}


class UserAgentError(Exception):
    """The pages did not lead back to the client."""


@dataclass
class Form:
    action: str = ""
    method: str = "get"
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """The forms of an HTML page, and its title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.title = ""
        self._form: Form | None = None
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = True
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is not None and tag in ("input", "button") and "name" in given:
            kind = given.get("type", "text" if tag == "input" else "submit").lower()
            pair = (given["name"], given.get("value", ""))
            if kind == "submit":
                self._form.buttons.append(pair)
            elif tag == "input" and (kind not in ("checkbox", "radio") or "checked" in given):
                self._form.fields.append(pair)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data.strip()

    def fill(self, typed: dict[str, str]) -> tuple[Form, tuple[str, str] | None] | None:
        """The first form with a field that a person knows what to type into, filled in."""
        for form in self.forms:
            if any(name in typed for name, _ in form.fields):
                form.fields = [(name, typed.get(name, value)) for name, value in form.fields]
                return form, form.buttons[0] if form.buttons else None
        return None

    def button(self, name: str, value: str | None) -> tuple[Form, tuple[str, str]] | None:
        """The first button of that name; with a value, the one with that value."""
        for form in self.forms:
            for pair in form.buttons:
                if pair[0] == name and value in (None, pair[1]):
                    return form, pair
        return None


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def form_action_allows(policies: list[str], page: str, target: str) -> bool:
    """Whether every policy of the page lets a form of it navigate to `target`."""
    wanted = urlsplit(target)
    for directive in (d.split() for policy in policies for d in policy.replace(",", ";").split(";")):
        if not directive or directive[0].lower() != "form-action":
            continue
        for source in directive[1:]:
            given = urlsplit(source if "://" in source else f"{urlsplit(page).scheme}://{source}")
            if source == "*" and wanted.scheme in ("http", "https"):
                break
            if source == "'self'" and origin_of(page) == origin_of(target):
                break
            if source.endswith(":") and source[:-1].lower() == wanted.scheme:
                break
            if given.scheme == wanted.scheme and given.netloc in (
                wanted.netloc,
                f"{wanted.hostname}:*",
            ):
                break
        else:
            return False
    return True


@dataclass
class Request:
    method: str
    url: str
    body: str | None = None
    origin: str | None = None
    referer: str | None = None


class UserAgent:
    def __init__(
        self, *, decision: str = "approve", user: str | None = None, typed: dict[str, str] | None = None
    ) -> None:
        """`typed` is what the person types into text fields, by the field's name."""
        self.decision = decision
        self.user = user
        self.typed = typed or {}
        self.hops: list[str] = []
        """What was asked and answered: method, path without the query, status."""
        self.pressed: list[str] = []

    async def visit(self, url: str, redirect_uri: str) -> str:
        """Goes from `url` through the pages until a redirect to `redirect_uri`, and returns that address whole."""
        return await self._walk(url, redirect_uri)

    async def visit_to_end(self, url: str) -> str:
        """Goes from `url` through the pages to the first one that has nothing to press, and returns that page's title."""
        return await self._walk(url, None)

    async def _walk(self, url: str, redirect_uri: str | None) -> str:
        request = Request("GET", url)
        page_url, policies = url, []
        async with httpx2.AsyncClient(follow_redirects=False, timeout=30) as http:
            for _ in range(20):
                response = await self._send(http, request, origin_of(page_url))
                if response.status_code in REDIRECTS:
                    location = urljoin(request.url, response.headers.get("location", ""))
                    if not form_action_allows(policies, page_url, location):
                        raise UserAgentError(
                            f"form-action of {urlsplit(page_url).path} forbids going on to {origin_of(location)}"
                        )
                    if location.partition("?")[0] == redirect_uri:
                        return location
                    if response.status_code in (307, 308):
                        request = Request(request.method, location, request.body, "null", request.referer)
                    else:
                        request = Request("GET", location, referer=request.referer)
                    continue
                page_url = request.url
                policies = response.headers.get_list("content-security-policy")
                page, chosen = self._choose(response, page_url, may_be_last=redirect_uri is None)
                if chosen is None:
                    return page.title
                request = self._press(response, page_url, *chosen)
                if not form_action_allows(policies, page_url, request.url):
                    raise UserAgentError(f"form-action of {urlsplit(page_url).path} forbids its own form")
        raise UserAgentError("20 hops and still not back at the client")

    def _choose(
        self, response: httpx2.Response, url: str, *, may_be_last: bool
    ) -> tuple[Page, tuple[Form, tuple[str, str] | None] | None]:
        """What a person would press on this page; on the last page of all, nothing."""
        path = urlsplit(url).path
        kind = response.headers.get("content-type", "")
        page = Page(response.text if kind.startswith("text/html") else "")
        if response.status_code != 200 or not kind.startswith("text/html"):
            raise UserAgentError(f"{path} answered {response.status_code} {kind!r} {page.title!r}")
        found = page.button("decision", self.decision) or page.button("user", self.user) or page.fill(self.typed)
        if found is None and not may_be_last:
            raise UserAgentError(f"{path} {page.title!r} has no button to press: {[f.buttons for f in page.forms]}")
        return page, found

    def _press(self, response: httpx2.Response, url: str, form: Form, pair: tuple[str, str] | None) -> Request:
        path = urlsplit(url).path
        if form.method != "post":
            raise UserAgentError(f"the form of {path} uses {form.method}, not post")
        if pair:
            self.pressed.append("=".join(pair))
        hidden = response.headers.get("referrer-policy", "").lower() == "no-referrer"
        return Request(
            "POST",
            urljoin(url, form.action) if form.action else url,
            urlencode([*form.fields, *([pair] if pair else [])]),
            "null" if hidden else origin_of(url),
            None if hidden else url,
        )

    async def _send(self, http: httpx2.AsyncClient, request: Request, initiator: str) -> httpx2.Response:
        same = origin_of(request.url) == initiator
        headers = {
            "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
            "sec-fetch-site": "none" if not self.hops else "same-origin" if same else "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            "user-agent": "Mozilla/5.0 (headless; sign-in test)",
        }
        if request.referer:
            headers["referer"] = request.referer
        if request.body is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["origin"] = request.origin or "null"
        response = await http.request(request.method, request.url, headers=headers, content=request.body)
        self.hops.append(f"{request.method} {urlsplit(request.url).path} {response.status_code}")
        return response
