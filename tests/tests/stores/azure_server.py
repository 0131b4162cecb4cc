"""Azure's blob storage: checks signatures with the signer of Azure's own library."""

import base64
import hashlib
import json
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

ACCOUNT = "acme"
TOKEN = "a-token-of-entra-id"
KEY = base64.b64encode(b"a key of an account, of some length").decode()
blobs = {tuple(path): bytes.fromhex(body) for *path, body in json.loads(sys.argv[1])}
signature = generate_account_sas(
    ACCOUNT,
    KEY,
    ResourceTypes(object=True),
    AccountSasPermissions(read=True),
    datetime.now(timezone.utc) + timedelta(hours=1),
)


class Blobs(BaseHTTPRequestHandler):
    def is_signed(self):
        """Whether the request carries what the library itself would send."""
        path, _, query = self.path.partition("?")
        if self.headers["authorization"] == f"Bearer {TOKEN}":
            return True
        if query:
            return query == signature
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        request = HttpRequest("GET", f"http://{self.headers['host']}{path}", headers=headers)
        request = PipelineRequest(request, PipelineContext(None))
        SharedKeyCredentialPolicy(ACCOUNT, KEY).on_request(request)
        return request.http_request.headers["Authorization"] == self.headers["authorization"]

    def do_POST(self):
        """A token of Microsoft Entra ID."""
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        is_application = form.get("client_secret") == ["a+secret/of=it"]
        is_workload = form.get("client_assertion") == ["a.token.of-kubernetes"] and form["client_assertion_type"] == [
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        ]
        is_right = (
            self.path == "/tenant-1/oauth2/v2.0/token"
            and form["grant_type"] == ["client_credentials"]
            and form["client_id"] == ["client-1"]
            and form["scope"] == ["https://storage.azure.com/.default"]
            and (is_application or is_workload)
        )
        refused = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
        issued = {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN}
        body = json.dumps(issued if is_right else refused).encode()
        self.answer(200 if is_right else 401, body, None)

    def do_GET(self):
        if self.path.startswith("/metadata/identity/oauth2/token?"):
            query = parse_qs(self.path.partition("?")[2])
            is_right = self.headers["metadata"] == "true" and query["resource"] == ["https://storage.azure.com/"]
            issued = {"token_type": "Bearer", "expires_in": "3599", "access_token": TOKEN}
            return self.answer(200 if is_right else 400, json.dumps(issued).encode(), None)
        path = unquote(self.path.partition("?")[0])
        _, account, container, blob = path.split("/", 3)
        body = blobs.get((container, blob))
        if not self.is_signed() or account != ACCOUNT or not self.headers["x-ms-version"]:
            return self.answer(403, b"", "AuthenticationFailed")
        if container not in {container for container, _ in blobs}:
            return self.answer(404, b"", "ContainerNotFound")
        if body is None:
            return self.answer(404, b"", "BlobNotFound")
        etag = '"0x' + hashlib.md5(body).hexdigest() + '"'
        if self.headers["if-none-match"] == etag:
            print("unchanged", flush=True)
            return self.answer(304, b"", None)
        self.answer(200, body, None, etag)

    def answer(self, status, body, code, etag=None):
        self.send_response(status)
        if etag:
            self.send_header("etag", etag)
        if code:
            self.send_header("x-ms-error-code", code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Blobs)
url = f"http://127.0.0.1:{server.server_port}/{ACCOUNT}"
ready = {"url": url, "account": ACCOUNT, "key": KEY, "signature": signature}
print("ready " + json.dumps(ready), flush=True)
server.serve_forever()
