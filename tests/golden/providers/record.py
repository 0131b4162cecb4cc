"""Records the requests that the Python library LiteLLM sends, in litellm.jsonl.

    pip install litellm==1.110.2 boto3 google-auth
    python tests/golden/providers/record.py

Each line of the file has a model and extra_options, which are kept, and the request for two texts, which is
recorded anew. Nothing is sent. The environment is that of `ENVIRONMENT`, which core/src/provider/litellm/tests.rs
has, too.
"""

import asyncio
import json
import os
import pathlib

KEYS = """AZURE AZURE_AI COHERE DASHSCOPE DATABRICKS FIREWORKS GEMINI HOSTED_VLLM HUGGINGFACE INFINITY JINA_AI
LM_STUDIO MISTRAL NEBIUS NVIDIA_NIM OPENAI OPENROUTER SAMBANOVA TOGETHER VOYAGE WATSONX XINFERENCE""".split()
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_REGION_NAME": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AZURE_AI_API_BASE": "https://r.services.ai.azure.com",
    "AZURE_API_BASE": "https://r.openai.azure.com",
    "AZURE_API_VERSION": "2024-02-01",
    "DATABRICKS_API_BASE": "https://d.cloud.databricks.com/serving-endpoints",
    "HOSTED_VLLM_API_BASE": "http://localhost:8000/v1",
    "LM_STUDIO_API_BASE": "http://localhost:1234/v1",
    "WATSONX_PROJECT_ID": "p",
    "WATSONX_TOKEN": "tok",
    "WATSONX_URL": "https://us-south.ml.cloud.ibm.com",
}
# What says nothing of the request.
LEFT_OUT = {
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host", "http-referer",
    "request-source", "user-agent", "x-title",
}

os.environ.update({f"{name}_API_KEY": f"key-of-{name.lower()}" for name in KEYS})
os.environ.update(ENVIRONMENT)

import httpx  # noqa: E402
import litellm  # noqa: E402
from litellm.llms.vertex_ai.vertex_llm_base import VertexBase  # noqa: E402

seen = []


def record(request, body):
    url = str(request.url)
    if "raw.githubusercontent.com" not in url:
        headers = {name.lower(): value for name, value in request.headers.items()}
        wanted = {
            name: value
            for name, value in headers.items()
            if name not in LEFT_OUT and not name.startswith("x-stainless")
        }
        seen.append({"method": request.method, "url": url, "headers": wanted, "body": json.loads(body or "null")})
    raise httpx.ConnectError("recorded", request=request)


def send(_, request, **__):
    record(request, request.read())


async def asend(_, request, **__):
    record(request, await request.aread())


async def token(*_, **__):
    return "tok", "p"


httpx.Client.send = send
httpx.AsyncClient.send = asend
VertexBase._ensure_access_token_async = token
VertexBase._ensure_access_token = lambda *_, **__: ("tok", "p")


async def main():
    path = pathlib.Path(__file__).with_name("litellm.jsonl")
    lines = []
    for line in path.read_text().splitlines():
        case = json.loads(line)
        seen.clear()
        try:
            await litellm.aembedding(
                model=case["model"], input=["a text", "another"], num_retries=0, max_retries=0,
                **case["extra_options"],
            )
        except Exception as error:
            if not seen:
                raise SystemExit(f"{case['model']}: {error}") from error
        lines.append(json.dumps({"model": case["model"], "extra_options": case["extra_options"], **seen[0]}))
    path.write_text("\n".join(lines) + "\n")


asyncio.run(main())
