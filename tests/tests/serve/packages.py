"""Asks a server with the packages openai and mcp. Arguments: its URL, a token, the worker, the database's URL."""

import asyncio
import json
import sys

import httpx2
import openai
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

url, token, worker, database = sys.argv[1:]


def of_openai():
    client = openai.OpenAI(base_url=f"{url}v1", api_key=token, max_retries=0)
    models = [model.id for model in client.models.list()]
    # The client asks for base64 unless it is told otherwise.
    answer = client.embeddings.create(model="stub", input=["a text", "another"])
    plain = client.embeddings.create(model="stub", input="a text", encoding_format="float")
    try:
        openai.OpenAI(base_url=f"{url}v1", api_key="wrong", max_retries=0).models.list()
    except openai.AuthenticationError as error:
        refused = error.body["message"]
    return {
        "models": models,
        "vectors": [item.embedding for item in answer.data],
        "plain": plain.data[0].embedding,
        "refused": refused,
    }


async def of_agent(transport):
    async with Client(transport) as client:
        tools = await client.list_tools()
        found = await client.call_tool("search", {"vectorizer": "docs", "query": "knead the dough", "k": 1})
        wrong = await client.call_tool("search", {"vectorizer": "none", "query": "x"})
        listed = await client.call_tool("list", {})
        status = await client.call_tool("status", {})
        return {
            "tools": sorted(tool.name for tool in tools.tools),
            "found": json.loads(found.content[0].text)["results"],
            "wrong": wrong.is_error,
            "listed": json.loads(listed.content[0].text)[0]["name"],
            "status": json.loads(status.content[0].text)["vectorizers"][0]["name"],
        }


async def of_agents():
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        over_http = await of_agent(streamable_http_client(f"{url}mcp", http_client=client))
    server = StdioServerParameters(command=worker, args=["serve", "--mcp", "--db-url", database])
    over_pipes = await of_agent(stdio_client(server))
    return {"http": over_http, "pipes": over_pipes}


print(json.dumps({"openai": of_openai(), "agents": asyncio.run(of_agents())}))
