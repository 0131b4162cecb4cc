"""Google Cloud Storage and its token endpoint: checks the signed statement of a service account, and the token."""

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

objects = {tuple(path): bytes.fromhex(body) for *path, body in json.loads(sys.argv[1])}
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
tokens = []


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Google(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        fields = parse_qs(body, strict_parsing=True)
        statement, _, signature = fields["assertion"][0].rpartition(".")
        # Raises an exception if it is wrong, and there is no answer.
        key.public_key().verify(decoded(signature), statement.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(decoded(statement.split(".")[1]))
        assert claims["iss"] == "reader@acme" and claims["aud"].endswith("/token"), claims
        tokens.append(f"token-{len(tokens)}")
        answer = {"access_token": tokens[-1], "expires_in": 3600, "token_type": "Bearer"}
        self.answer(200, json.dumps(answer).encode())

    def do_GET(self):
        path, _, query = self.path.partition("?")
        # /storage/v1/b/{bucket}/o/{object}
        parts = path.split("/")
        bucket, name = parts[4], unquote(parts[6])
        if len(parts) != 7 or query != "alt=media":
            return self.answer(400, b"")
        if bucket != "open":
            if self.headers["authorization"] not in [f"Bearer {token}" for token in tokens]:
                return self.answer(401, b"{}")
            if bucket == "denied":
                return self.answer(403, b'{"error": {"message": "reader@acme does not have access"}}')
        body = objects.get((bucket, name))
        if body is None:
            return self.answer(404, b"Not Found")
        etag = '"' + hashlib.md5(body).hexdigest() + '"'
        if self.headers["if-none-match"] == etag:
            print("unchanged", flush=True)
            return self.answer(304, b"")
        self.answer(200, body, etag)

    def answer(self, status, body, etag=None):
        self.send_response(status)
        if etag:
            self.send_header("etag", etag)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
url = f"http://127.0.0.1:{server.server_port}"
account = {"client_email": "reader@acme", "private_key": pem, "private_key_id": "1", "token_uri": f"{url}/token"}
print("ready " + json.dumps({"url": url, "account": json.dumps(account)}), flush=True)
server.serve_forever()
