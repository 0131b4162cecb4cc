"""Records the requests that the providers' own Python packages send, in packages.jsonl.

    pip install openai==3.57.0 ollama==0.6.3 voyageai==0.5.0 cohere==7.3.1 google-genai==3.6.1 botocore==1.44.8
    python tests/golden/providers/record_packages.py

Each line has the config of an embedding, as `ai.embedding_…` makes it, and the request that the package sends for
two texts if it is called as pgai calls it, or as its manual does. Nothing is sent.
"""

import json
import pathlib

import httpx
import httpx2
import requests

TEXTS = ["a text", "another"]
# What says nothing of the request: names of programs and versions, and what every client sets for itself.
LEFT_OUT = {
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent",
    "amz-sdk-invocation-id", "amz-sdk-request", "cohere-version", "x-client-name",
}
LEFT_OUT_BEGINNINGS = ("x-stainless", "x-fern", "x-goog-api-client", "x-goog-user")


class Recorded(Exception):
    pass


seen = []


def record(method, url, headers, body):
    wanted = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in headers.items()
        if name.lower() not in LEFT_OUT and not name.lower().startswith(LEFT_OUT_BEGINNINGS)
    }
    seen.append({"method": method, "url": str(url), "headers": wanted, "body": json.loads(body)})
    raise Recorded


def send(_, request, **__):
    record(request.method, request.url, request.headers, request.read())


httpx.Client.send = httpx2.Client.send = send
requests.Session.send = lambda _, request, **__: record(request.method, request.url, request.headers, request.body)


def openai(model, dimensions, api_key_name, user=None, base_url=None):
    import openai as package

    client = package.OpenAI(api_key="key-of-openai", base_url=base_url, max_retries=0)
    more = {"user": user} if user else {}
    client.embeddings.create(input=TEXTS, model=model, dimensions=dimensions, encoding_format="base64", **more)


def ollama(model, dimensions, base_url="http://localhost:11434", options=None, keep_alive=None):
    import ollama as package

    package.Client(host=base_url).embed(model=model, input=TEXTS, options=options, keep_alive=keep_alive)


def voyageai(model, dimensions, input_type=None, output_dimension=None, output_dtype=None):
    import voyageai as package

    client = package.Client(api_key="key-of-voyage", max_retries=0)
    more = {"output_dimension": output_dimension, "output_dtype": output_dtype}
    client.embed(TEXTS, model=model, input_type=input_type, **{name: value for name, value in more.items() if value})


def cohere(model, extra_options):
    import cohere as package

    client = package.ClientV2(api_key="key-of-cohere")
    client.embed(texts=TEXTS, model=model.removeprefix("cohere/"), **extra_options)


def gemini(model, extra_options):
    from google import genai

    client = genai.Client(api_key="key-of-gemini")
    if dimensions := extra_options.pop("dimensions", None):
        extra_options["output_dimensionality"] = dimensions
    client.models.embed_content(model=model.removeprefix("gemini/"), contents=TEXTS, config=extra_options)


def bedrock(model, extra_options):
    import botocore.httpsession
    import botocore.session

    def send(_, request):
        record(request.method, request.url, dict(request.headers), request.body)

    botocore.httpsession.URLLib3Session.send = send
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    client = session.create_client("bedrock-runtime", region_name=extra_options.pop("aws_region_name"))
    model = model.removeprefix("bedrock/")
    body = {"inputText": TEXTS[0]} if "titan" in model else {"texts": TEXTS, "input_type": "search_document"}
    # As this worker writes it, so that the signature is of the same body.
    body = json.dumps(body | extra_options, separators=(",", ":"), sort_keys=True)
    client.invoke_model(modelId=model, body=body, contentType="application/json", accept="application/json")


CASES = [
    (openai, {"api_key_name": "OPENAI_API_KEY", "model": "text-embedding-3-small", "dimensions": 768}),
    (openai, {"api_key_name": "OPENAI_API_KEY", "model": "text-embedding-3-large", "dimensions": 1024, "user": "u"}),
    (openai, {"api_key_name": "OPENAI_API_KEY", "model": "m", "dimensions": 8,
              "base_url": "http://localhost:8000/v1"}),
    (ollama, {"model": "nomic-embed-text", "dimensions": 768}),
    (ollama, {"model": "all-minilm", "dimensions": 384, "options": {"num_ctx": 512, "seed": 1}, "keep_alive": "10m"}),
    (ollama, {"model": "m", "dimensions": 8, "base_url": "http://ollama:1234"}),
    (voyageai, {"model": "voyage-3", "dimensions": 1024}),
    (voyageai, {"model": "voyage-3", "dimensions": 1024, "input_type": "document"}),
    (voyageai, {"model": "voyage-3.5", "dimensions": 512, "output_dimension": 512, "output_dtype": "float"}),
    (cohere, {"model": "cohere/embed-v4.0", "extra_options": {"input_type": "search_document"}}),
    (cohere, {"model": "cohere/embed-v4.0",
              "extra_options": {"input_type": "clustering", "output_dimension": 512, "truncate": "END"}}),
    (gemini, {"model": "gemini/gemini-embedding-001", "extra_options": {"task_type": "RETRIEVAL_DOCUMENT"}}),
    (gemini, {"model": "gemini/gemini-embedding-001", "extra_options": {"dimensions": 768}}),
    (bedrock, {"model": "bedrock/amazon.titan-embed-text-v2:0", "extra_options": {"aws_region_name": "us-east-1"}}),
    (bedrock, {"model": "bedrock/amazon.titan-embed-text-v2:0",
               "extra_options": {"aws_region_name": "eu-west-1", "dimensions": 512, "normalize": True}}),
    (bedrock, {"model": "bedrock/cohere.embed-english-v3", "extra_options": {"aws_region_name": "us-east-1"}}),
]


def main():
    lines = []
    for package, config in CASES:
        seen.clear()
        arguments = json.loads(json.dumps(config))
        try:
            package(**arguments)
        except Exception as error:
            if not seen:
                raise SystemExit(f"{package.__name__} {config}: {error!r}") from error
        name = package.__name__
        implementation = name if name in ("openai", "ollama", "voyageai") else "litellm"
        made = {"implementation": implementation, "dimensions": 8, **config}
        lines.append(json.dumps({"package": name, "config": made, **seen[0]}))
    path = pathlib.Path(__file__).with_name("packages.jsonl")
    path.write_text("\n".join(lines) + "\n")


main()
