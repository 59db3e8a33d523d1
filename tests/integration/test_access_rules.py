"""Access rules of the public site apply to WebSockets as to requests: each kind of rule, each shipped file."""
import pytest

from http2 import HEADERS, STATUS_200, Http2WebSocket
from test_sites import ADA, SITES, app, head_of_websocket  # noqa: F401

from harness import ROOT

SITES = SITES | {"root": ("public.example", "/my-app")}
SPELLINGS = ("/x", "/", "/x?y", "/%78", "/./x", "//x", "/a/../x")  # below the path that a rule protects
UNRULED = ("/open/x", "/openly", "/")


def rules_of_lighttpd(directory, host, prefix):
    (directory / "users").write_text("ada:secret\n")
    return f"""
auth.backend = "plain"
auth.backend.plain.userfile = "{directory}/users"
$HTTP["url"] =~ "^{prefix}/denied(/|$)" {{ url.access-deny = ("") }}
$HTTP["url"] =^ "{prefix}/prefix/" {{ url.access-deny = ("") }}
$HTTP["host"] == "{host}" {{
	auth.require = ( "{prefix}/password" => ( "method" => "basic", "realm" => "x", "require" => "valid-user" ) )
	$HTTP["url"] =~ "^{prefix}/address" {{ $HTTP["remote-ip"] != "192.0.2.1" {{ url.access-deny = ("") }} }}
}}
"""


def rules_of_apache(directory, _, prefix):
    (directory / "users").write_text("ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # of "secret"
    return f"""
<Location "{prefix}/denied">
Require all denied
</Location>
<LocationMatch "^{prefix}/prefix/">
Require all denied
</LocationMatch>
<Location "{prefix}/password">
AuthType Basic
AuthName x
AuthUserFile {directory}/users
Require valid-user
</Location>
<Location "{prefix}/address">
Require expr %{{REMOTE_ADDR}} == '192.0.2.1'
</Location>
"""


GUARDED = {"/denied": 403, "/prefix": 403, "/password": 401, "/address": 403}


RAW_PATHS = 'server.http-parseopts := ( "header-strict" => "enable", "url-normalize" => "disable" )\n'  # conf/lighttpd/pipegate.conf


@pytest.fixture(params=["before", "behind", "raw paths"])
def where(request, server):
    if request.param == "raw paths" and server == "apache":
        pytest.skip("a setting of lighttpd's")
    return request.param


@pytest.fixture(params=SITES)
def site(request, where, make_web, server, app):  # noqa: F811
    """A site with rules before or after the shipped file."""
    host, prefix = SITES[request.param]
    rules = {"lighttpd": rules_of_lighttpd, "apache": rules_of_apache}[server]
    place = "after" if where == "behind" else "settings"
    settings = RAW_PATHS if where == "raw paths" else ""
    text = None if request.param == "root" else (ROOT / f"conf/{server}/examples/{request.param}.conf").read_text()

    def with_rules(directory):
        """Inside the virtual host."""
        include = next(line for line in text.splitlines(True) if "IncludeOptional" in line)
        ours = rules(directory, host, prefix)
        return text.replace(include, ours + include if where == "before" else include + ours, 1)

    if text and server == "apache":
        web = make_web(example=with_rules)
    else:
        web = make_web(example=text, **{place: lambda directory: settings + rules(directory, host, prefix)})
    web.host, web.prefix = host, prefix
    web.client(app.url, "my-app")
    return web


def test_each_rule_holds_for_each_way(site, app, server):  # noqa: F811
    for path, status in GUARDED.items():
        for rest in SPELLINGS:
            target = site.prefix + path + rest
            if rest == "/a/../x":
                target = site.prefix + "/open/.." + path + "/x"
            refused = (status, 400)  # PipeGate's own 400, or the rule's response
            assert site.get(target, host=site.host).status in refused, target
            assert head_of_websocket(site, target, host=site.host) in refused, target
            if server == "lighttpd":
                caller = Http2WebSocket(site.port, target, site.host)
                kind, payload = caller.next()
                caller.close()
                assert kind == HEADERS and payload[0] != STATUS_200, target
    assert app.seen == []


def test_where_no_rule_holds(site, app, server):  # noqa: F811
    """The site works, so the refusals above are due to its rules."""
    for path in UNRULED:
        target = site.prefix + path
        assert site.get(target, host=site.host).json()["target"] == path
        assert head_of_websocket(site, target, host=site.host) == 101
        if server == "lighttpd":
            Http2WebSocket(site.port, target, site.host).opened().close()
    headers = [("Authorization", ADA)]
    assert site.call("GET", site.prefix + "/password/x", headers, host=site.host).status == 200
    assert head_of_websocket(site, site.prefix + "/password/x", headers, site.host) == 101
    assert len(app.seen) == (11 if server == "lighttpd" else 8)
