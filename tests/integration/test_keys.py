"""Keys of all kinds, their rotation, and limits that a token sets; tokens are made by another implementation too."""
import json
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import PATIENCE_S, SECRET, Caller, V1Client, environment, program, token, wait_until

ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"]
PUBLIC = ALGORITHMS[3:]


def new_key(algorithm):
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("RS"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key({"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]())


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key, algorithm, kid):
    by = {"EdDSA": jwt.algorithms.OKPAlgorithm, "RS": jwt.algorithms.RSAAlgorithm, "ES": jwt.algorithms.ECAlgorithm}
    cls = by.get(algorithm) or by[algorithm[:2]]
    if algorithm.startswith("ES"):  # PyJWT 2.6 writes no EC key
        numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        text = {"kty": "EC", "crv": f"P-{key.key_size}",
                **{n: jwt.utils.base64url_encode(getattr(numbers, n).to_bytes(size, "big")).decode() for n in "xy"}}
    else:
        text = json.loads(cls.to_jwk(key.public_key()))
    text.pop("key_ops", None)
    return {**text, "kid": kid, "use": "sig", "alg": algorithm}


def claims(sub, **more):
    now = int(time.time())
    return {"sub": sub, "iss": "pipegate", "aud": "pipegate", "iat": now, "nbf": now, "exp": now + 600, **more}


def close_of(web, text, path="/"):
    """The close of a tunnel with this token; None: it is open."""
    peer = V1Client(f"ws://127.0.0.1:{web.broker_port}{path}", headers={"Authorization": f"Bearer {text}"})
    assert peer.opened.wait(PATIENCE_S)
    if peer.error is not None:
        return peer.error
    try:
        count = web.metrics()["pipegate_tunnels"]
        wait_until(lambda: peer.closed.is_set() or web.metrics()["pipegate_tunnels"] >= max(count, 1), "open or closed")
        return peer.wait_closed() if peer.closed.is_set() or not count else None
    finally:
        peer.close()
        web.wait_metric("pipegate_tunnels", 0)


@pytest.fixture
def keys(tmp_path):
    directory = tmp_path / "keys"
    directory.mkdir()
    return directory


@pytest.fixture
def make_keyed(make_web, keys):
    """make_keyed(...): a stack whose broker reads the directory `keys`."""
    (keys / "first.pem").write_bytes(public_pem(new_key("EdDSA")))
    return lambda **more: make_web(PIPEGATE_JWT_KEYS=str(keys), PIPEGATE_JWT_ALGORITHMS=json.dumps(ALGORITHMS), **more)


def reload(web):
    count = web.broker.log().count("keys.reload")
    web.broker.signal(1)
    web.broker.wait_log("keys.reload", count + 1)


def test_every_algorithm(make_keyed, keys, tmp_path):
    """Of each: a token of PyJWT and one of pipegate-token, by a PEM file and by a JWK Set."""
    web = make_keyed()
    for algorithm in PUBLIC:
        key = new_key(algorithm)
        signer = tmp_path / f"{algorithm}.pem"
        signer.write_bytes(private_pem(key))
        minted = subprocess.run([program("token"), "-c", "demo", "--key", str(signer), "--json"], check=True,
                                capture_output=True, env=environment(PIPEGATE_JWT_ALGORITHMS=json.dumps([algorithm]),
                                                                     PIPEGATE_JWT_SECRET=None), text=True).stdout
        ours = json.loads(minted)["token"]
        assert jwt.get_unverified_header(ours) == {"typ": "JWT", "alg": algorithm, "kid": algorithm}
        assert jwt.decode(ours, key.public_key(), [algorithm], audience="pipegate")["sub"] == "demo"
        theirs = jwt.encode(claims("demo"), key, algorithm, headers={"kid": algorithm})
        forged = jwt.encode(claims("demo"), new_key(algorithm), algorithm, headers={"kid": algorithm})
        for form in ("pem", "json"):
            for old in keys.iterdir():
                old.unlink()
            if form == "pem":
                (keys / f"{algorithm}.pem").write_bytes(public_pem(key))
            else:
                (keys / "set.json").write_text(json.dumps({"keys": [jwk(key, algorithm, algorithm)]}))
            reload(web)
            assert close_of(web, ours) is None, (algorithm, form)
            assert close_of(web, theirs) is None, (algorithm, form)
            assert close_of(web, forged) == (1008, "Invalid token"), (algorithm, form)
            assert close_of(web, token()) is None, "the secret still is a key"


def test_rotation(make_keyed, keys, make_app):
    """The new key comes, tokens of both are good; the old one leaves, and its open tunnel stays."""
    web = make_keyed()
    old, new = new_key("ES256"), new_key("EdDSA")
    by_old = jwt.encode(claims("demo"), old, "ES256", headers={"kid": "old"})
    by_new = jwt.encode(claims("demo"), new, "EdDSA", headers={"kid": "new"})
    assert close_of(web, by_old) == (1008, "Invalid token")
    (keys / "old.pem").write_bytes(public_pem(old))
    reload(web)
    client = web.client(f"http://127.0.0.1:{make_app().port}", tok=by_old)
    (keys / "new.pem").write_bytes(public_pem(new))
    (keys / "old.pem").unlink()
    reload(web)
    assert web.get("/demo/x").status == 200
    assert "tunnel.closed" not in web.broker.log()
    client.stop()
    web.wait_metric("pipegate_tunnels", 0)
    assert close_of(web, by_old) == (1008, "Invalid token")
    assert close_of(web, by_new) is None


@pytest.mark.parametrize("text, reason", [
    ("{", "line 1"), ('{"keys": [{"kty": "RSA"}]}', "key 1"), ('{"keys": 5}', "no JWK Set"), ("x", "no key in PEM form"),
])
def test_broken_keys(make_keyed, keys, text, reason):
    """At a reload the old keys stay; at a start it is one line and 78."""
    web = make_keyed()
    key = new_key("EdDSA")
    (keys / "good.pem").write_bytes(public_pem(key))
    reload(web)
    good = jwt.encode(claims("demo"), key, "EdDSA", headers={"kid": "good"})
    (keys / "bad.json").write_text(text)
    (keys / "good.pem").unlink()
    reload(web)
    assert reason in web.broker.log() and "keys.reload_failed" in web.broker.log()
    assert close_of(web, good) is None
    for argv in ([program("broker"), "--check"], [program("broker"), "--gate", f"ipc://{web.directory}/other.sock"]):
        run = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S,
                             env=environment(PIPEGATE_JWT_KEYS=str(keys), PIPEGATE_LISTEN="127.0.0.1:0"))
        assert run.returncode == 78 and run.stderr.count("\n") == 1, run
        assert "PIPEGATE_JWT_KEYS" in run.stderr and "bad.json" in run.stderr and reason in run.stderr


def test_no_secret_is_needed(make_web, keys):
    key = new_key("EdDSA")
    (keys / "k.pem").write_bytes(public_pem(key))
    web = make_web(PIPEGATE_JWT_KEYS=str(keys), PIPEGATE_JWT_SECRET=None, PIPEGATE_JWT_ALGORITHMS='["EdDSA", "HS256"]')
    assert close_of(web, jwt.encode(claims("demo"), key, "EdDSA", headers={"kid": "k"})) is None
    assert close_of(web, token()) == (1008, "Invalid token")
    assert close_of(web, token(secret="")) == (1008, "Invalid token")
    assert close_of(web, token(secret=public_pem(key).decode())) == (1008, "Invalid token")


def test_several_ids(web, make_app):
    """A token for a beginning of ids opens the one that the URL names, and no other."""
    app = make_app()
    text = token("team", ids=["other", "team-*"])
    url = f"ws://127.0.0.1:{web.broker_port}/"
    for wanted in ("team-1", "other", "team"):
        peer = V1Client(f"{url}?token={text}&id={wanted}").wait_open()
        wait_until(lambda: web.get(f"/{wanted}/").status == 200, f"{wanted} is there")
        peer.close()
    for wanted in ("team1", "other2", "demo"):
        peer = V1Client(f"{url}?token={text}&id={wanted}")
        assert peer.opened.wait(PATIENCE_S)
        assert "403" in str(peer.error), (wanted, peer.error)
    peer = V1Client(f"{url}?token={text}&id=a%2Fb")
    assert peer.opened.wait(PATIENCE_S)
    assert "400" in str(peer.error)
    client = web.client(f"http://127.0.0.1:{app.port}", "team-2", "--connection-id", "team-2", direct=False, tok=text)
    assert web.get("/team-2/").status == 200
    assert "conn=team-2" in client.log()
    refused = web.client(f"http://127.0.0.1:{app.port}", "nothing", "--connection-id", "x", direct=False, wait=False, tok=text)
    assert refused.wait() == 77
    assert "403" in refused.log()


def test_max_running(web, make_app):
    """The second request waits for the first, although the broker allows 256."""
    release, seen = [], []

    def handler(request, connection):
        seen.append(request.target)
        release.append(connection)

    app = make_app(handler)
    web.client(f"http://127.0.0.1:{app.port}", sub="one-at-a-time", tok=token("one-at-a-time", max_running=1))
    first, second = Caller(web.port), Caller(web.port)
    first.request("GET", "/one-at-a-time/1")
    wait_until(lambda: len(release) == 1, "the first is at the app")
    second.request("GET", "/one-at-a-time/2")
    web.wait_metric("pipegate_exchanges_queued", 1)
    assert len(seen) == 1
    release[0].answer(200, body=b"one")
    assert first.response().body == b"one"
    wait_until(lambda: len(release) == 2, "the second is at the app")
    release[1].answer(200, body=b"two")
    assert second.response().body == b"two"
    first.close()
    second.close()


def test_max_body(web, make_app):
    """413, by the length or by the count, and nothing of it reaches the app where the length says so."""
    app = make_app()
    web.client(f"http://127.0.0.1:{app.port}", sub="small", tok=token("small", max_body=1000))
    assert web.call("POST", "/small/x", body=b"x" * 1000).status == 200
    refused = web.call("POST", "/small/x", body=b"x" * 1001)
    assert refused.status == 413 and refused.error == "body-too-large; delivered=no", refused
    caller = Caller(web.port)
    caller.request("POST", "/small/x", [("Transfer-Encoding", "chunked")])
    for _ in range(3):
        caller.send(b"200\r\n" + b"x" * 512 + b"\r\n")
    caller.send(b"0\r\n\r\n")
    assert caller.response().status == 413
    caller.close()
    assert web.call("POST", "/small/x", body=b"x" * 1000).status == 200


def test_token_options():
    """pipegate-token writes the claims that the broker honours."""
    run = subprocess.run([program("token"), "-c", "a", "--ids", "b,team-*", "--max-running", "3", "--max-body", "1000",
                          "--json"], check=True, capture_output=True, text=True, env=environment())
    got = jwt.decode(json.loads(run.stdout)["token"], SECRET, ["HS256"], audience="pipegate")
    assert (got["sub"], got["ids"], got["max_running"], got["max_body"]) == ("a", ["b", "team-*"], 3, 1000)
    for bad in (["--ids", "a/b"], ["--ids", ""], ["--ids", "a,"], ["--ids", "*"], ["--max-running", "0"],
                ["--max-body", "-1"], ["--key", "/nowhere"]):
        run = subprocess.run([program("token"), "-c", "a", *bad], capture_output=True, text=True, env=environment())
        assert run.returncode in (2, 78) and run.stderr.count("\n") == 1 and not run.stdout, run
